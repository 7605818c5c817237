"""Reads an answer of Prometheus' query_range, believing nothing: it becomes streams on the grid or one miss.

A correct server answers on the grid it was asked for, in order, with text numbers. Whatever else comes is
not repaired: an answer that is wrong in one place is not trusted in the others.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from watchdog.sources.protocol import Grid
from watchdog.sources.streams import Stream
from watchdog.sources.unreadable import TooLarge, Unreadable

_STREAMS_MAX = 10_000
_LABELS_MAX = 64
# Prometheus 2.48 to 2.54 files remarks on style under `warnings`; they do not mean a partial answer.
_REMARK = "PromQL info:"


def read_range(body: bytes, grid: Grid) -> list[Stream]:
    """The streams of a query_range answer over `grid`. Raises Unreadable, TooLarge if too many."""
    answer = read_json(body)
    if answer.get("status") != "success":
        raise Unreadable(f"Prometheus could not answer: {refusal(answer)}")
    warnings = answer.get("warnings")
    if warnings is not None and not isinstance(warnings, list):
        raise Unreadable("the answer is not Prometheus': its warnings are not a list")
    partial = [text for text in warnings or () if not str(text).startswith(_REMARK)]
    if partial:
        raise Unreadable(f"the answer may be partial, Prometheus warns: {str(partial[0])[:200]}")
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(data, dict) or data.get("resultType") != "matrix" or not isinstance(result, list):
        raise Unreadable("the answer is not a range of samples")
    if len(result) > _STREAMS_MAX:
        raise TooLarge(f"the answer has {len(result)} series, {_STREAMS_MAX} is the most")
    streams = [_stream(item, grid) for item in result]
    if len({tuple(sorted(stream.labels.items())) for stream in streams}) < len(streams):
        raise Unreadable("the answer has the same series twice")
    return streams


def read_json(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises Unreadable for anything else."""
    if not body.strip():
        raise Unreadable("the answer is empty")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable("the answer is not JSON: is this the address of a Prometheus?") from error
    if not isinstance(answer, dict):
        raise Unreadable("the answer is not Prometheus': it is JSON, but not an object")
    return answer


def refusal(answer: dict[str, Any]) -> str:
    """Why Prometheus says it did not answer, at most 300 characters."""
    return f"{answer.get('errorType', 'no reason')}: {answer.get('error', 'none given')}"[:300]


def _stream(item: object, grid: Grid) -> Stream:
    if not isinstance(item, dict):
        raise Unreadable("the answer holds something that is not a series")
    labels, points = item.get("metric"), item.get("values")
    if not isinstance(labels, dict) or len(labels) > _LABELS_MAX or not isinstance(points, list):
        raise Unreadable("the answer holds a series without labels and values")
    if not all(type(text) is str for text in labels.values()):
        raise Unreadable("the answer holds a label that is not text")
    try:
        at = np.array([_time(t) for t, _ in points])
        values = np.array([_number(text) for _, text in points])
    except (TypeError, ValueError) as error:
        raise Unreadable("the answer holds a sample that is not a time and a number") from error
    out = np.full(grid.n, np.nan)
    if len(at):
        steps = (at - grid.first_at) / grid.step_s
        rows = np.rint(steps).astype(np.int64)
        if rows.min() < 0 or rows.max() >= grid.n:
            raise Unreadable("the answer holds samples of another time than was asked for")
        if np.abs(steps - rows).max() > 0.01 or (np.diff(rows) <= 0).any():
            raise Unreadable("the answer holds samples off the grid, out of order or twice")
        out[rows] = np.where(np.isfinite(values), values, np.nan)
    return Stream(labels, out)


def _time(value: object) -> float:
    # bool is an int to Python; 1e12 s is the year 33658 and keeps the arithmetic in the range of int64.
    if type(value) not in (int, float) or not abs(float(value)) < 1e12:  # type: ignore[arg-type]  # checked
        raise TypeError
    return float(value)  # type: ignore[arg-type]  # checked above


def _number(value: object) -> float:
    if type(value) is not str:
        raise TypeError
    return float(value)
