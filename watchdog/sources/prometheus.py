"""Kind `prometheus`: reads series through the HTTP API of Prometheus, or of anything that speaks it.

Counters are asked for as `sum by (<target labels>) (last_over_time(selector[step]))`: the raw value of every
target's counter at the end of every step, only where it was scraped within the step. Differences, restarts
and roll-outs are worked out here (`counters.increases`), for history and live alike. Why not `increase()` or
raw samples: docs/decisions/0004-prometheus-counters.md.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import aiohttp
import numpy as np
from pydantic import SecretStr

from detectors.histogram import bounds
from detectors.model import WIDTHS, FloatArray
from watchdog.sources.answer import read_json, read_range, refusal
from watchdog.sources.fetch import check_url, fetch, open_session
from watchdog.sources.native import read_native
from watchdog.sources.protocol import Grid, Query, SourceReading
from watchdog.sources.selector import parse_selector
from watchdog.sources.streams import Assembly, Stream, subject
from watchdog.sources.unreadable import TooLarge, Unreadable


@dataclass(slots=True, kw_only=True)
class PrometheusSource:
    """A Prometheus server.

    url: without /api/v1, e.g. http://prometheus:9090. bearer_token, basic_auth ("user:password"): at most
    one. headers: sent with every request, e.g. X-Scope-OrgID. target_labels: those that tell scraped
    processes apart; counters are summed within a process before, and over processes after, differences.
    """

    url: str
    bearer_token: SecretStr | None = None
    basic_auth: SecretStr | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    target_labels: tuple[str, ...] = (
        "job",
        "instance",
        "namespace",
        "pod",
        "container",
        "task",
        "host",
        "node",
        "k8s_pod_name",
        "service_instance_id",
    )

    BODY_BYTES_MAX: ClassVar[int] = 8_000_000
    # Decoding 1 MB keeps the event loop for about 10 ms.
    CHUNK_BYTES: ClassVar[int] = 1_000_000
    # Assembling a row takes about 15 us of the event loop. Prometheus itself would take 11,000.
    CHUNK_STEPS_MAX: ClassVar[int] = 1_000
    CHUNK_STEPS_MIN: ClassVar[int] = 32
    CHUNK_STEPS_FIRST: ClassVar[int] = 240
    REQUESTS_MAX: ClassVar[int] = 4

    _session: aiohttp.ClientSession | None = field(init=False, repr=False, default=None)
    _slots: asyncio.Semaphore = field(init=False, repr=False)
    _assembly: Assembly = field(init=False, repr=False)
    _not_before: float = field(init=False, repr=False, default=0.0)

    def __post_init__(self) -> None:
        check_url("url", self.url)
        if self.bearer_token is not None and self.basic_auth is not None:
            raise ValueError("basic_auth: give it or `bearer_token`, not both")
        if not self.target_labels:
            raise ValueError("target_labels: name at least one label, such as instance")
        self._slots = asyncio.Semaphore(self.REQUESTS_MAX)
        self._assembly = Assembly(self.target_labels)

    async def read(
        self, queries: Sequence[Query], grid: Grid, *, now: float, timeout_s: float
    ) -> list[SourceReading]:
        """One reading per query, in order; see `Source.read`. Long grids are read in chunks, oldest first."""
        late = f"no answer within {timeout_s:g} s"
        readings = [_missing(query, grid, late) for query in queries]
        if now < self._not_before:
            asked = f"Prometheus asked to be left alone for {self._not_before - now:.0f} s more"
            return [replace(reading, problem=asked) for reading in readings]

        async def read_one(i: int) -> None:
            try:
                await self._read_chunks(queries[i], grid, readings[i].values)
                is_blind = bool(np.isnan(readings[i].values).all())
                problem = self._assembly.remark(queries[i], grid.last_at)
                if is_blind and problem is None:
                    problem = f"no usable sample of {subject(queries[i])}"
            except Unreadable as error:
                problem = str(error)
                self._rest(error, now)
            readings[i] = replace(readings[i], problem=problem)

        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                for i in range(len(queries)):
                    group.create_task(read_one(i))
        except TimeoutError:
            # What was not answered keeps its missing values and says so.
            pass
        return readings

    async def label_sets(self, selector: str, *, now: float, timeout_s: float) -> list[Mapping[str, str]]:
        """See `Source.label_sets`. A series ends when Prometheus says so, at the latest after 5 minutes."""
        if now < self._not_before:
            return []
        # A range of one point is an instant query whose answer is read as strictly as every other.
        at = Grid(first_at=round(now, 3), last_at=round(now, 3), step_s=1.0)
        try:
            async with asyncio.timeout(timeout_s):
                streams, _ = await self._ask(str(parse_selector(selector)), at)
        except Unreadable as error:
            self._rest(error, now)
            return []
        except (TimeoutError, ValueError):
            return []
        return [stream.labels for stream in streams if np.isfinite(stream.values).all()]

    async def close(self) -> None:
        """Release connections; may be called twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def expressions(self, query: Query, step_s: float) -> tuple[str, ...]:
        """The PromQL asked for `query`: one expression, or numerator and denominator.

        Raises ValueError for a query this source cannot ask, with the remedy.
        """
        window = f"[{round(step_s * 1000) - 1}ms]"

        def by_target(selector: str, *more: str) -> str:
            labels = ", ".join(dict.fromkeys((*self.target_labels, *query.by, *more)))
            return f"sum by ({labels}) (last_over_time({parse_selector(selector)}{window}))"

        if query.kind == "ratio":
            if query.numerator is None or query.denominator is None:
                raise ValueError("a ratio needs `numerator` and `denominator`, so that its counts are known")
            return by_target(query.numerator), by_target(query.denominator)
        if query.is_native and query.histogram is not None:
            selector = parse_selector(query.histogram)
            labels = ", ".join(dict.fromkeys((*self.target_labels, *query.by)))
            # Not last_over_time: Prometheus 2.42 makes of a histogram the number 0.
            return (f"sum by ({labels}) ({selector} and present_over_time({selector}{window}))",)
        if query.histogram is not None:
            return (by_target(query.histogram, "le"),)
        if query.counter is not None:
            return (by_target(query.counter),)
        if query.gauge is not None:
            return (f"last_over_time({parse_selector(query.gauge)}{window})",)
        if query.query is not None:
            return (query.query,)
        raise ValueError(f"a {query.kind} needs one of `counter`, `histogram`, `gauge` and `query`")

    async def _read_chunks(self, query: Query, grid: Grid, into: FloatArray) -> None:
        """Fill `into` chunk by chunk; a chunk that cannot be read raises, the ones before it stay."""
        try:
            expressions = self.expressions(query, grid.step_s)
        except ValueError as error:
            raise Unreadable(str(error)) from error
        # Native histograms are the longest answers; their first one tells how long.
        done, size = 0, self.CHUNK_STEPS_MIN if query.is_native else self.CHUNK_STEPS_FIRST
        edges = bounds(query.unit) if query.is_native else None
        while done < grid.n:
            first_at = grid.first_at + done * grid.step_s
            back = self._assembly.look_back(query, first_at, grid.step_s)
            n = min(size, grid.n - done, self.CHUNK_STEPS_MAX - back)
            asked = Grid(
                first_at=first_at - back * grid.step_s,
                last_at=first_at + (n - 1) * grid.step_s,
                step_s=grid.step_s,
            )
            try:
                parts = [await self._ask(expression, asked, edges) for expression in expressions]
                values = self._assembly.rows(query, [streams for streams, _ in parts], asked)
            except TooLarge as error:
                if n <= self.CHUNK_STEPS_MIN:
                    raise Unreadable(f"{error}: narrow or aggregate {subject(query)}") from error
                size = max(self.CHUNK_STEPS_MIN, n // 2)
                continue
            into[done : done + n] = values[back:]
            done += n
            bytes_per_step = max(1, max(length for _, length in parts)) / asked.n
            size = int(min(8 * size, max(self.CHUNK_STEPS_MIN, self.CHUNK_BYTES / bytes_per_step)))

    async def _ask(
        self, expression: str, grid: Grid, edges: FloatArray | None = None
    ) -> tuple[list[Stream], int]:
        """The streams of one range query, and the length of the answer in bytes.

        edges: bounds on which native histograms are wanted; None for plain samples.
        """
        form = {
            "query": expression,
            "start": f"{grid.first_at:.3f}",
            "end": f"{grid.last_at:.3f}",
            "step": f"{grid.step_s:.3f}",
        }
        if self._session is None:
            self._session = open_session({**self.headers, **self._authorization()}, self.REQUESTS_MAX)
        async with self._slots:
            status, _, body = await fetch(
                self._session,
                "POST",
                f"{self.url.rstrip('/')}/api/v1/query_range",
                form=form,
                body_bytes_max=self.BODY_BYTES_MAX,
            )
        if status >= 300:
            raise Unreadable(f"Prometheus refuses the query ({status}): {refusal(read_json(body))}")
        if edges is not None:
            # 1 MB of native histograms keeps the event loop for some 50 ms.
            return await asyncio.to_thread(read_native, body, grid, edges), len(body)
        return read_range(body, grid), len(body)

    def _rest(self, error: Unreadable, now: float) -> None:
        if error.retry_after_s:
            self._not_before = now + error.retry_after_s

    def _authorization(self) -> dict[str, str]:
        if self.bearer_token is not None:
            return {"Authorization": f"Bearer {self.bearer_token.get_secret_value()}"}
        if self.basic_auth is not None:
            encoded = base64.b64encode(self.basic_auth.get_secret_value().encode()).decode()
            return {"Authorization": f"Basic {encoded}"}
        return {}


def _missing(query: Query, grid: Grid, problem: str) -> SourceReading:
    values = np.full((grid.n, WIDTHS[query.kind]), np.nan)
    return SourceReading(series_id=query.series_id, values=values, problem=problem)
