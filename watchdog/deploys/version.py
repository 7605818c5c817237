"""The version signal: which version runs now, told by the service itself.

Anything but one clear answer is None: nobody may go back to, or call recovered, a version that was guessed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jsonpath

from config.schema import VersionSignal
from watchdog.sources.protocol import Source

BODY_BYTES_MAX = 1 << 20
VERSION_MAX = 200


@dataclass(slots=True)
class VersionReader:
    """Reads one service's signal. sources: by name; the signal's `series` is asked for at one of them.

    Raises ValueError at construction for a signal with neither or both of `http` and `series`, with a `path`
    that is no JSONPath, or with a `series` and no such source.
    """

    signal: VersionSignal
    sources: Mapping[str, Source] = field(default_factory=dict)
    _source: Source | None = field(init=False, default=None, repr=False)
    _path: jsonpath.CompoundJSONPath | jsonpath.JSONPath = field(init=False, repr=False)
    _session: aiohttp.ClientSession | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.signal.http is None) == (self.signal.series is None):
            raise ValueError("version: name either http (a URL) or series (a selector), one of the two")
        try:
            self._path = jsonpath.compile(self.signal.path)
        except jsonpath.JSONPathError as error:
            raise ValueError(f"path: {self.signal.path} is no JSONPath ({error}); write $.version") from error
        if self.signal.series is not None:
            name = self.signal.source or next(iter(self.sources), "")
            if name not in self.sources:
                raise ValueError(f"source: there is no `{name}`. Sources: {', '.join(self.sources)}")
            self._source = self.sources[name]

    async def read(self, now: float, timeout_s: float) -> str | None:
        """The version that runs, None when it cannot be told, or when two run at once (a roll-out)."""
        if self.signal.http is not None:
            return await self._read_http(self.signal.http, timeout_s)
        if self.signal.series is None or self._source is None:
            return None
        found = await self._source.label_sets(self.signal.series, now=now, timeout_s=timeout_s)
        return _only([labels.get(self.signal.label) for labels in found])

    async def close(self) -> None:
        """Release connections; may be called twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read_http(self, url: str, timeout_s: float) -> str | None:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        answer = await _fetch_json(self._session, url, timeout_s)
        try:
            return _only(self._path.findall(answer)) if isinstance(answer, dict | list) else None
        except (jsonpath.JSONPathError, RecursionError):
            return None


async def _fetch_json(session: aiohttp.ClientSession, url: str, timeout_s: float) -> Any:
    """The JSON of a 200 answer within `timeout_s` and BODY_BYTES_MAX, else None. Follows no redirect."""
    try:
        async with (
            asyncio.timeout(timeout_s),
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                return None
            body = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    return None
            return json.loads(bytes(body))
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
        # Unreachable, too slow, no JSON, nested too deep: all the same here, the version is not known.
        return None


def _only(found: Sequence[object]) -> str | None:
    """The one version that all agree on; a number is taken as it is written."""
    told = {
        str(each).strip() if isinstance(each, str | int | float) and not isinstance(each, bool) else ""
        for each in found
    }
    if len(told) != 1:
        return None
    version = told.pop()
    return version if 0 < len(version) <= VERSION_MAX and version.isprintable() else None
