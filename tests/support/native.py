"""Native histograms for a real Prometheus, by remote write: no client library of Python makes them yet.

Protocol buffers and snappy are written by hand, as far as one message needs them: the schema is prompb's
remote.proto and types.proto of Prometheus 2.40 and later, and a snappy block may be one literal.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.request import Request, urlopen

_VARINT, _FIXED64, _BYTES = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A counter histogram at one time. buckets: index to count; bucket i holds (b^(i-1), b^i] with
    b = 2^(2^-schema). zeros: observations of at most 1e-9."""

    schema: int
    buckets: Mapping[int, int] = field(default_factory=dict)
    zeros: int = 0

    def and_these(self, values: Iterable[float]) -> Native:
        """The histogram once it observed these values too, none of them exactly on a bound."""
        buckets, zeros = dict(self.buckets), self.zeros
        for value in values:
            if value <= 1e-9:
                zeros += 1
            else:
                index = math.ceil(math.log2(value) * 2.0**self.schema)
                buckets[index] = buckets.get(index, 0) + 1
        return replace(self, buckets=buckets, zeros=zeros)


def remote_write(
    url: str,
    series: Mapping[str, Mapping[float, Native]],
    label: str = "pod",
    metric: str = "latency_seconds",
) -> None:
    """Send to Prometheus at `url`, which must accept remote writes: a metric with one label, its value to
    (epoch seconds to histogram), ascending."""
    body = b"".join(
        _bytes(1, _series({"__name__": metric, label: name}, points)) for name, points in series.items()
    )
    request = Request(
        f"{url}/api/v1/write",
        data=_varint(len(body)) + b"\xfc" + struct.pack("<I", len(body) - 1) + body,
        headers={
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        },
    )
    with urlopen(request, timeout=20) as answer:  # loopback
        assert answer.status in (200, 204)


def _series(labels: Mapping[str, str], points: Mapping[float, Native]) -> bytes:
    named = b"".join(
        _bytes(1, _bytes(1, name.encode()) + _bytes(2, value.encode()))
        for name, value in sorted(labels.items())
    )
    return named + b"".join(_bytes(4, _histogram(at, one)) for at, one in points.items())


def _histogram(at: float, one: Native) -> bytes:
    spans, deltas, previous = b"", b"", 0
    expected = 0
    for index in sorted(one.buckets):
        spans += _bytes(11, _number(1, _zigzag(index - expected)) + _number(2, 1))
        deltas += _varint(_zigzag(one.buckets[index] - previous))
        previous, expected = one.buckets[index], index + 1
    return b"".join(
        [
            _number(1, sum(one.buckets.values()) + one.zeros),
            _double(3, 1.0),
            _number(4, _zigzag(one.schema)),
            _double(5, 1e-9),
            _number(6, one.zeros),
            spans,
            _bytes(12, deltas),
            _number(15, round(at * 1000)),
        ]
    )


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _zigzag(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def _number(tag: int, value: int) -> bytes:
    return _varint(tag << 3 | _VARINT) + _varint(value)


def _double(tag: int, value: float) -> bytes:
    return _varint(tag << 3 | _FIXED64) + struct.pack("<d", value)


def _bytes(tag: int, value: bytes) -> bytes:
    return _varint(tag << 3 | _BYTES) + _varint(len(value)) + value
