"""Reading what a caller sent, within limits that hold after decompression and before any parser runs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from watchdog.api.answers import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one caller may cost (reliability.md S-11).

    body_bytes_max counts decompressed bytes. header_s: from the first byte, or from the end of the answer
    before, to the end of the headers. body_s: for the whole body.
    """

    body_bytes_max: int = 1024 * 1024
    header_bytes_max: int = 16 * 1024
    headers_max: int = 100
    header_s: float = 10.0
    body_s: float = 30.0
    connections_max: int = 500
    json_depth_max: int = 64


async def read_body(request: web.Request, bounds: Bounds) -> bytes:
    """The raw (decompressed) body. Raises Problem 413 when too large, 408 when too slow, 400 when broken.

    Reads chunk by chunk, so a compressed bomb is left after at most one chunk over the limit.
    """
    too_large = Problem(
        413,
        f"The body is larger than {bounds.body_bytes_max} bytes (counted after decompression). Send less.",
        headers={"Connection": "close"},
    )
    if request.content_length is not None and request.content_length > bounds.body_bytes_max:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(bounds.body_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > bounds.body_bytes_max:
                    raise too_large
    except TimeoutError:
        raise Problem(
            408,
            f"The body did not arrive within {bounds.body_s:g} s. Send it at once.",
            headers={"Connection": "close"},
        ) from None
    except web.RequestPayloadError as error:
        raise Problem(
            400,
            "The body does not fit its Content-Encoding or Content-Length header. Send it again, unchanged.",
            headers={"Connection": "close"},
        ) from error
    return bytes(body)


def depth(text: str) -> int:
    """How deeply arrays and objects are nested in JSON text; braces inside strings do not count."""
    deepest = level = 0
    is_string = is_escaped = False
    for char in text:
        if is_string:
            if is_escaped:
                is_escaped = False
            elif char == "\\":
                is_escaped = True
            elif char == '"':
                is_string = False
        elif char == '"':
            is_string = True
        elif char in "[{":
            level += 1
            deepest = max(deepest, level)
        elif char in "]}":
            level -= 1
    return deepest


def read_object(body: bytes, bounds: Bounds) -> dict[str, Any]:
    """The JSON object in a body. Raises Problem 400: not UTF-8, not JSON, too deep, twice the same key."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"The body is not UTF-8 (byte {error.start}). Send JSON in UTF-8.") from error
    # Before the parser: its own limit is Python's recursion limit, which is not ours to spend.
    if depth(text) > bounds.json_depth_max:
        raise Problem(400, f"The JSON is nested deeper than {bounds.json_depth_max} levels. Send it flatter.")

    def refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twin = next(name for name in names if names.count(name) > 1)
            raise Problem(400, "A key is given twice; the second would hide the first.", at=twin)
        return found

    def refuse_constant(name: str) -> float:
        raise Problem(400, f"The JSON holds {name}, which is not a number. Leave the key out instead.")

    try:
        found = json.loads(text, object_pairs_hook=refuse_twins, parse_constant=refuse_constant)
    except json.JSONDecodeError as error:
        raise Problem(
            400, f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except ValueError as error:
        # Python refuses integers of more than 4,300 digits with a ValueError of its own.
        raise Problem(400, "The JSON holds a number with too many digits.") from error
    if not isinstance(found, dict):
        raise Problem(400, "The body must be a JSON object, like {}.")
    return found
