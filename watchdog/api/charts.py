"""From an evidence packet to what a chart draws: one time axis, missing as null, thinned without lying.

Works on the packet alone, so that an open watch and one closed a year ago are drawn by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detectors.histogram import quantile
from detectors.model import FloatArray, SeriesSpec
from detectors.packet import decode_array, decode_spec
from watchdog.api.answers import plain
from watchdog.model import Watch

# Two points per pixel of the widest chart; a series keeps its extremes and its gaps whatever is left out.
POINTS_MAX = 1200
GAPS_MAX = 200
# Of the watch, this share is shown before the deploy: 30 min before a watch of 45; less where it ended early.
BEFORE_SHARE = 2 / 3
STEPS_BEFORE_MIN = 20


def level(values: FloatArray, spec: SeriesSpec) -> FloatArray:
    """The shown value of each row: shape (n, width) to (n,), in the unit of the series.

    Of a distribution its quantile; of two columns their quotient, NaN without a denominator.
    """
    if spec.kind == "histogram":
        return quantile(values, spec.unit, spec.quantile)
    if values.shape[1] == 1:
        return values[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = values[:, 0] / values[:, 1]
    return np.where(values[:, 1] > 0.0, quotient, np.nan)


def thin(
    columns: Mapping[str, FloatArray], points_max: int = POINTS_MAX
) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Indices to keep, ascending: per bucket the least and greatest of every column and one missing row.

    columns: equally long, the first is the drawn one whose missing rows must stay visible. Answers every
    index when there are at most `points_max` rows.
    """
    first = next(iter(columns.values()))
    n = len(first)
    if n <= points_max:
        return np.arange(n)
    buckets = max(1, points_max // (2 * len(columns) + 1))
    kept = {0, n - 1}
    for chunk in np.array_split(np.arange(n), buckets):
        for values in columns.values():
            present = chunk[np.isfinite(values[chunk])]
            if present.size:
                kept.add(int(present[np.argmin(values[present])]))
                kept.add(int(present[np.argmax(values[present])]))
        missing = chunk[~np.isfinite(first[chunk])]
        if missing.size:
            kept.add(int(missing[0]))
    return np.array(sorted(kept), dtype=np.intp)


def gaps(at: FloatArray, values: FloatArray, step_s: float) -> list[list[float]]:
    """Spans without data: [from, to] in epoch seconds, at most GAPS_MAX, the longest ones first kept."""
    is_missing = ~np.isfinite(values)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_missing, [False])).astype(np.int8)))
    spans = [[float(at[i] - step_s), float(at[j - 1])] for i, j in edges.reshape(-1, 2)]
    spans.sort(key=lambda span: span[0] - span[1])
    return sorted(spans[:GAPS_MAX])


def chart(packet: Mapping[str, Any], watch: Watch, *, points_max: int = POINTS_MAX) -> dict[str, Any]:
    """Everything the charts of one watch need, worst series first.

    The window ends with the watch, or where it was closed. Per series: `at` (step ends), `value`,
    `expected_low`, `expected_high`, `statistic` (null = missing), `threshold`, `crossed_at`, `gaps`, the
    evidence, and `problem` where its samples cannot be read.
    """
    deploy = packet["deploy"]
    started_at, finished_at = (
        float(deploy["started_at"]),
        float(deploy["finished_at"] or deploy["started_at"]),
    )
    to_at = max(watch.closed_at or watch.ends_at, started_at + 1.0)
    step_s = max((float(one["spec"]["step_s"]) for one in packet["series"]), default=1.0)
    judged_s = max(2.0 * (to_at - started_at), STEPS_BEFORE_MIN * step_s)
    from_at = started_at - min(BEFORE_SHARE * max(watch.ends_at - started_at, step_s), judged_s)
    evidence = {item["series"]: item for item in packet.get("evidence") or ()}
    order = {name: n for n, name in enumerate(evidence)}
    series = sorted(packet["series"], key=lambda one: order.get(one["spec"]["name"], len(order)))
    return {
        "from_at": from_at,
        "to_at": to_at,
        "started_at": started_at,
        "finished_at": finished_at,
        "others": plain(packet.get("others") or []),
        "series": [
            _series_chart(one, evidence.get(one["spec"]["name"]), from_at, points_max) for one in series
        ],
    }


def _series_chart(
    one: Mapping[str, Any], evidence: Mapping[str, Any] | None, from_at: float, points_max: int
) -> dict[str, Any]:
    spec, trace = one["spec"], one.get("trace") or {}
    step_s = float(spec["step_s"])
    problem = None
    try:
        at, values = samples(one, step_s, from_at)
    except ValueError:
        # One damaged series stays in its own frame.
        at, values, problem = np.empty(0), np.empty(0), "The stored samples of this series are damaged."
    columns = {"value": values}
    for name in ("expected_low", "expected_high", "statistic"):
        columns[name] = _on_grid(at, trace.get("at") or (), trace.get(name) or (), step_s)
    threshold = trace.get("threshold")
    with np.errstate(invalid="ignore"):
        over = np.flatnonzero(columns["statistic"] > (np.inf if threshold is None else float(threshold)))
    kept = thin(columns, points_max)
    return {
        "spec": plain(spec),
        "evidence": plain(evidence) if evidence else None,
        "problem": problem,
        "at": at[kept].tolist(),
        **{name: [_short(value) for value in column[kept]] for name, column in columns.items()},
        "threshold": plain(threshold),
        "crossed_at": float(at[over[0]]) if over.size else None,
        "gaps": gaps(at, values, step_s),
    }


def samples(one: Mapping[str, Any], step_s: float, from_at: float) -> tuple[FloatArray, FloatArray]:
    """(at, value) on one unbroken grid from `from_at` to the newest tick: rows nobody sent are missing.

    one: a series of a packet, or a control. Raises ValueError when it is damaged.
    """
    spec = decode_spec(one["spec"])
    pieces: list[tuple[FloatArray, FloatArray]] = []
    history = one.get("history")
    if history and history["shape"][0]:
        values = level(decode_array(history), spec)
        end_at = float(history["end_at"])
        pieces.append((np.asarray(end_at - step_s * np.arange(len(values) - 1, -1, -1), float), values))
    ticks = one.get("ticks")
    if ticks and ticks["shape"][0]:
        values = level(decode_array(ticks), spec)
        pieces.append((np.asarray(ticks["first_at"] + step_s * np.arange(len(values)), float), values))
    if not pieces:
        return np.empty(0), np.empty(0)
    first_at = max(
        pieces[0][0][0], pieces[-1][0][0] - step_s * np.ceil((pieces[-1][0][0] - from_at) / step_s)
    )
    n = round((pieces[-1][0][-1] - first_at) / step_s) + 1
    at = first_at + step_s * np.arange(n)
    grid = np.full(n, np.nan)
    for piece_at, values in pieces:
        index = np.rint((piece_at - first_at) / step_s).astype(np.intp)
        inside = (index >= 0) & (index < n)
        grid[index[inside]] = values[inside]
    return at, grid


def _on_grid(
    at: FloatArray, trace_at: Sequence[float], values: Sequence[float | None], step_s: float
) -> FloatArray:
    grid = np.full(len(at), np.nan)
    for when, value in zip(trace_at, values, strict=False):
        index = round((when - at[0]) / step_s) if len(at) else -1
        if value is not None and 0 <= index < len(at):
            grid[index] = value
    return grid


def _short(value: float) -> float | None:
    """Six significant digits are more than a pixel can show; null is missing."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
