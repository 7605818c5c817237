"""What is judged of one series: the series itself, or a distribution as one share of requests per cut.

A share of requests above a bound is a ratio like any other, so a distribution needs no judge of its own: its
cuts are series of events that enter the one limit of the watch together, and the one that moved most speaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors import say
from detectors.histogram import above, bounds, choose_cuts
from detectors.model import HISTOGRAM_BINS, FloatArray, SeriesSpec

_TAIL = 0.05  # of the requests


@dataclass(frozen=True, slots=True)
class Part:
    """One thing judged of a series. whole: the series. spec: of the part. cut: place of the bound above which
    requests count, or None where the part is the whole. error: why nothing can be judged, or ""."""

    whole: SeriesSpec
    spec: SeriesSpec
    cut: int | None = None
    error: str = ""

    @property
    def bound(self) -> float | None:
        """That bound, in the unit of the series."""
        return None if self.cut is None else float(bounds(self.whole.unit)[self.cut])

    def of(self, values: FloatArray) -> FloatArray:
        """The samples of this part, shape (..., spec.width), from those of a series of its kind."""
        return values if self.cut is None else above(values, self.cut)

    def of_controls(
        self, specs: Sequence[SeriesSpec], values: Sequence[FloatArray]
    ) -> list[tuple[SeriesSpec, FloatArray]]:
        """The same part of control series, given their specs and samples."""
        own = specs if self.cut is None else [replace(self.spec, name=spec.name) for spec in specs]
        return [(spec, self.of(each)) for spec, each in zip(own, values, strict=True)]


def parts_of(spec: SeriesSpec, history: FloatArray) -> tuple[Part, ...]:
    """All that is judged of a series with that history, shape (n, spec.width); at least one part.

    A distribution that cannot be cut has one part too, with the reason.
    """
    if spec.kind != "histogram":
        return (Part(spec, spec),)
    cuts = choose_cuts(history)
    if cuts:
        return tuple(_at(spec, cut) for cut in cuts)
    last = _at(spec, HISTOGRAM_BINS - 2)
    why = "no requests before the deploy"
    if np.nansum(history) > 0.0:
        top = say.value(float(bounds(spec.unit)[-1]), spec.unit)
        why = f"every request before the deploy lies above {top}, where nothing is told apart; check its unit"
    return (replace(last, error=why),)


def tail_of(spec: SeriesSpec, history: FloatArray) -> Part:
    """The one part that stands for a series where one has to do: of a distribution the cut that about one
    request in twenty exceeds; else the series itself. history: as for `parts_of`."""

    def off(part: Part) -> float:
        seen = part.of(history[np.isfinite(history).all(axis=1)])
        return abs(float(seen[:, 0].sum()) / max(float(seen[:, 1].sum()), 1.0) - _TAIL)

    parts = parts_of(spec, history)
    return parts[0] if len(parts) == 1 else min(parts, key=off)


def part_at(spec: SeriesSpec, bound: float | None) -> Part:
    """The part with that bound; the series itself when it is no distribution.

    Raises ValueError for a distribution and what is no bound of its grid.
    """
    if spec.kind != "histogram":
        return Part(spec, spec)
    found = np.flatnonzero(np.isclose(bounds(spec.unit), np.nan if bound is None else bound))
    if not found.size:
        raise ValueError(f"{spec.name}: {bound} is no bound of a distribution in {spec.unit}")
    return _at(spec, int(found[0]))


def _at(spec: SeriesSpec, cut: int) -> Part:
    bound = say.value(float(bounds(spec.unit)[cut]), spec.unit)
    name = f"{spec.name}: requests above {bound}"
    return Part(spec, replace(spec, name=name, kind="ratio", unit="ratio"), cut)
