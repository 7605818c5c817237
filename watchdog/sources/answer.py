"""Reads an answer of Prometheus' query_range, believing nothing: it becomes streams on the grid or one miss.

A correct server answers on the grid it was asked for, in order, with text numbers. Whatever else comes is
not repaired: an answer that is wrong in one place is not trusted in the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detectors.model import FloatArray, IntArray
from watchdog.sources.protocol import Grid
from watchdog.sources.streams import Stream
from watchdog.sources.unreadable import TooLarge, Unreadable

_STREAMS_MAX = 10_000
_LABELS_MAX = 64
# What Prometheus files under `warnings` without a partial answer: remarks on style (2.48 to 2.54), and sums
# of native histograms of which one was reset (3.x): resets are worked out here, from the counts.
_REMARKS = ("PromQL info:", "PromQL warning: conflicting counter resets")


def read_range(body: bytes, grid: Grid) -> list[Stream]:
    """The streams of a query_range answer over `grid`. Raises Unreadable, TooLarge if too many."""
    streams = [_stream(item, grid) for item in read_matrix(body)]
    require_different(streams)
    return streams


def read_matrix(body: bytes) -> list[dict[str, Any]]:
    """The series of a query_range answer, their points unread. Raises Unreadable, TooLarge if too many."""
    answer = read_json(body)
    if answer.get("status") != "success":
        raise Unreadable(f"Prometheus could not answer: {refusal(answer)}")
    warnings = answer.get("warnings")
    if warnings is not None and not isinstance(warnings, list):
        raise Unreadable("the answer is not Prometheus': its warnings are not a list")
    partial = [text for text in warnings or () if not str(text).startswith(_REMARKS)]
    if partial:
        raise Unreadable(f"the answer may be partial, Prometheus warns: {str(partial[0])[:200]}")
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(data, dict) or data.get("resultType") != "matrix" or not isinstance(result, list):
        raise Unreadable("the answer is not a range of samples")
    if len(result) > _STREAMS_MAX:
        raise TooLarge(f"the answer has {len(result)} series, {_STREAMS_MAX} is the most")
    if not all(isinstance(item, dict) for item in result):
        raise Unreadable("the answer holds something that is not a series")
    return result


def require_different(streams: Sequence[Stream]) -> None:
    """Raise Unreadable if two streams have the same labels."""
    if len({tuple(sorted(stream.labels.items())) for stream in streams}) < len(streams):
        raise Unreadable("the answer has the same series twice")


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


def labelled(item: Mapping[str, Any], points: object) -> tuple[dict[str, str], list[Any]]:
    """Labels and points of one series of an answer. Raises Unreadable where they are none."""
    labels = item.get("metric")
    if not isinstance(labels, dict) or len(labels) > _LABELS_MAX or not isinstance(points, list):
        raise Unreadable("the answer holds a series without labels and values")
    if not all(type(text) is str for text in labels.values()):
        raise Unreadable("the answer holds a label that is not text")
    return labels, points


def rows_of(at: FloatArray, grid: Grid) -> IntArray:
    """The row of `grid` that each time stands for. Raises Unreadable for a time that is not asked for."""
    steps = (at - grid.first_at) / grid.step_s
    rows = np.rint(steps).astype(np.intp)
    if len(rows):
        if rows.min() < 0 or rows.max() >= grid.n:
            raise Unreadable("the answer holds samples of another time than was asked for")
        if np.abs(steps - rows).max() > 0.01 or (np.diff(rows) <= 0).any():
            raise Unreadable("the answer holds samples off the grid, out of order or twice")
    return rows


def _stream(item: Mapping[str, Any], grid: Grid) -> Stream:
    labels, points = labelled(item, item.get("values"))
    try:
        at = np.array([time_of(t) for t, _ in points])
        values = np.array([number(text) for _, text in points])
    except (TypeError, ValueError) as error:
        raise Unreadable("the answer holds a sample that is not a time and a number") from error
    out = np.full(grid.n, np.nan)
    rows = rows_of(at, grid)
    out[rows] = np.where(np.isfinite(values), values, np.nan)
    return Stream(labels, out)


def time_of(value: object) -> float:
    """A time as Prometheus writes it, epoch seconds. Raises TypeError for anything else."""
    # bool is an int to Python; 1e12 s is the year 33658 and keeps the arithmetic in the range of int64.
    if type(value) not in (int, float) or not abs(float(value)) < 1e12:  # type: ignore[arg-type]  # checked
        raise TypeError
    return float(value)  # type: ignore[arg-type]  # checked above


def number(value: object) -> float:
    """A number as Prometheus writes it: as text. Raises TypeError or ValueError for anything else."""
    if type(value) is not str:
        raise TypeError
    return float(value)
