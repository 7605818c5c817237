"""Readings of checks that only inform: next to nothing between deploys, rings while a deploy is judged.

A check tells many numbers of which few matter, so one that nobody named in `judge` must cost little. Only its
newest steps are in memory, until they are on disk; its past is read back when a watch opens. Pure.
"""

from __future__ import annotations

import math
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from checks.readings import meaning
from detectors.model import Bad, FloatArray, SeriesSpec
from watchdog.plan import ServicePlan, reading_spec, ring_steps
from watchdog.series import SeriesRing

READINGS_MAX = 20  # of one check
SERIES_MAX = 100_000  # of the daemon
# Of a service: each costs a watch 20 ms at its start, 0.3 ms a tick and half a megabyte.
JUDGED_MAX = 20
# Steps that are written at a time. The disk is asked less often; a crash loses as many.
FLUSH_STEPS = 15
_LATE_STEPS = 3  # by which a tick may come late before results are lost
# Whole numbers are exact up to here; squares of far larger ones no float can hold. Below the least it is 0.
_VALUE_MAX, _VALUE_MIN = 1e15, 1e-15
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")

Part = tuple[str, float, float, FloatArray]


class Recent:
    """The newest steps of one check's readings: the mean of the runs in each step, missing as NaN."""

    __slots__ = ("_counts", "_newest", "_steps", "_sums", "closed", "flushed", "names", "others")

    def __init__(self, steps: int, others: frozenset[str] = frozenset()) -> None:
        """steps: how many are held. Steps are numbered: end / step_s. others: readings kept elsewhere."""
        self.names: tuple[str, ...] = ()
        self.others = others
        # Numbers of the newest step that takes nothing more, and of the newest one on disk.
        self.closed = self.flushed = -1
        self._steps = steps
        self._newest = -1
        # One stretch of `steps` per name: 10,000 checks have one of these each, so no array of numpy's.
        self._sums = array("d")
        self._counts = array("I")

    def know(self, name: str) -> None:
        """Hold that reading from now on."""
        self.names = (*self.names, name)
        self._sums.extend([0.0] * self._steps)
        self._counts.extend([0] * self._steps)

    def add(self, number: int, name: str, value: float) -> bool:
        """Take a known reading of a run in that step; False if the step is closed or the value unusable."""
        is_closed = number <= self.closed or number <= self._newest - self._steps
        # NaN compares False with everything.
        if is_closed or not -_VALUE_MAX <= value <= _VALUE_MAX:
            return False
        if number > self._newest:
            self._advance(number)
        slot = self.names.index(name) * self._steps + number % self._steps
        self._sums[slot] += value if abs(value) >= _VALUE_MIN else 0.0
        self._counts[slot] += 1
        return True

    def rows(self, first: int, last: int) -> FloatArray:
        """Means of the steps from first to last inclusive, shape (names, n); NaN where nothing is held."""
        numbers = np.arange(first, last + 1)
        slots, shape = numbers % self._steps, (len(self.names), self._steps)
        counts = np.frombuffer(self._counts, dtype=np.uintc).reshape(shape)[:, slots].astype(np.float64)
        sums = np.frombuffer(self._sums, dtype=np.float64).reshape(shape)[:, slots]
        counts[:, (numbers > self._newest) | (numbers <= self._newest - self._steps)] = 0.0
        means = np.full(sums.shape, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0.0)
        return means

    def _advance(self, number: int) -> None:
        """Make `number` the newest step; those between it and the newest before hold nothing."""
        for skipped in range(max(self._newest, number - self._steps) + 1, number + 1):
            for slot in range(skipped % self._steps, len(self._sums), self._steps):
                self._sums[slot] = 0.0
                self._counts[slot] = 0
        self._newest = number


class ReadingBook:
    """The readings of every check that are not series of the plan.

    dropped: how many were told and not taken: too many of one check or in all, a name that cannot be one of
    a series, no number or one beyond 1e15, or a step that was closed.
    """

    def __init__(self, plans: Mapping[str, ServicePlan], *, series_max: int = SERIES_MAX) -> None:
        self._series_max = series_max
        self.dropped = 0
        self.count = 0
        self._plans = plans
        self._recent: dict[str, dict[str, Recent]] = {name: {} for name in plans}
        # Equal tuples of names are one: most checks of a kind tell the same.
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._rings: dict[str, dict[tuple[str, str], SeriesRing]] = {}

    def know(self, series_ids: Iterable[str]) -> None:
        """Series that are on disk: those that a configured check can have told are known again."""
        checks = {(plan.name, check.name) for plan in self._plans.values() for check in plan.checks}
        for series_id in series_ids:
            service, _, rest = series_id.partition("/")
            check, _, name = rest.partition(".")
            if not name or (service, check) not in checks:
                continue
            recent = self._of(service, check)
            if name not in recent.names and name not in recent.others:
                self._admits(recent, name)

    def known(self, service: str) -> Mapping[str, tuple[str, ...]]:
        """Names of the readings of each check of that service, in the order in which they were first seen."""
        return {check: recent.names for check, recent in self._recent[service].items() if recent.names}

    def told(self, service: str) -> list[dict[str, Any]]:
        """Every reading of the checks of that service as JSON: those that may act first.

        bad: null where no direction is worse; unless somebody said so in `judge`, it is not judged then.
        """
        plan = self._plans[service]
        told = [_told(item.spec, item.spec.bad) for item in plan.series if item.reading is not None]
        for check, names in self.known(service).items():
            for name in names:
                spec = reading_spec(check, name, plan.step_s, acts=False)
                told.append(_told(spec, meaning(name).bad))
        return told

    def add(self, service: str, check: str, at: float, readings: Mapping[str, float]) -> None:
        """Take what a run at that time (epoch seconds) told."""
        recent = self._of(service, check)
        number = math.ceil(at / self._plans[service].step_s)
        for name, value in readings.items():
            if name in recent.others:
                continue
            is_known = name in recent.names or self._admits(recent, name)
            if not is_known or not recent.add(number, name, value):
                self.dropped += 1

    def close(self, service: str, grid_at: float) -> None:
        """End the steps up to `grid_at`: they take nothing more, and a watch that is open gets them."""
        plan = self._plans[service]
        number = round(grid_at / plan.step_s)
        for (check, name), ring in self._rings.get(service, {}).items():
            recent = self._recent[service][check]
            first = max(recent.closed + 1, number - _held_steps(plan))
            for i, mean in enumerate(recent.rows(first, number)[recent.names.index(name)]):
                ring.write((first + i) * plan.step_s, [mean])
        for check, recent in self._recent[service].items():
            if recent.closed < 0:
                # Checks are written in turns, or the disk would have nothing to do and then everything.
                recent.flushed = number - 1 - zlib.crc32(f"{service}/{check}".encode()) % FLUSH_STEPS
            recent.closed = max(recent.closed, number)

    def due(self, service: str, *, at_once: bool = False) -> Iterator[Part]:
        """Ended steps that are to go to disk now, as `SampleStore.append_all` takes them; each told once."""
        plan = self._plans[service]
        for check, recent in self._recent[service].items():
            first, last = recent.flushed + 1, recent.closed
            if last < first or not (at_once or last - first + 1 >= FLUSH_STEPS):
                continue
            recent.flushed = last
            for name, means in zip(recent.names, recent.rows(first, last), strict=True):
                if not np.isnan(means).all():
                    yield f"{service}/{check}.{name}", plan.step_s, first * plan.step_s, means[:, None]

    def open(self, service: str) -> Sequence[SeriesRing]:
        """Rings of what a watch of that service judges beside its series, at most JUDGED_MAX.

        From now on they get every step that ends; what ended before is for the caller (`fill`). Those of an
        open watch are handed out again.
        """
        plan = self._plans[service]
        if service not in self._rings:
            self._rings[service] = {
                (check, name): SeriesRing(
                    reading_spec(check, name, plan.step_s, acts=False), ring_steps(plan)
                )
                for check, name in _chosen(self.known(service))
            }
        return tuple(self._rings[service].values())

    def fill(self, service: str) -> None:
        """Give the open rings of that service the ended steps that are still in memory."""
        step_s = self._plans[service].step_s
        for (check, name), ring in self._rings.get(service, {}).items():
            recent = self._recent[service][check]
            first = max(0, recent.closed - _held_steps(self._plans[service]))
            means = recent.rows(first, recent.closed)[recent.names.index(name)]
            ring.backfill(first * step_s, means[:, None])

    def kept(self, now: float) -> Iterator[tuple[str, float, float]]:
        """(series id, step in seconds, since when) of all that is on disk only for watches to come."""
        for service, recents in self._recent.items():
            plan = self._plans[service]
            since_at = now - ring_steps(plan) * plan.step_s
            for check, recent in recents.items():
                for name in recent.names:
                    yield f"{service}/{check}.{name}", plan.step_s, since_at

    def keep_open(self, services: frozenset[str]) -> None:
        """Let go of the rings of all other services. Who still holds one reads on, and gets no new step."""
        for service in self._rings.keys() - services:
            del self._rings[service]

    def _of(self, service: str, check: str) -> Recent:
        recent = self._recent[service].get(check)
        if recent is None:
            plan = self._plans[service]
            planned = [series.reading for series in plan.series if series.check == check]
            others = frozenset(name for name in planned if name is not None)
            recent = self._recent[service][check] = Recent(_held_steps(plan), others)
        return recent

    def _admits(self, recent: Recent, name: str) -> bool:
        is_full = len(recent.names) >= READINGS_MAX or self.count >= self._series_max
        if is_full or not _NAME.fullmatch(name):
            return False
        recent.know(name)
        recent.names = self._names.setdefault(recent.names, recent.names)
        self.count += 1
        return True


def _held_steps(plan: ServicePlan) -> int:
    """Steps of a `Recent`: those that wait for the disk, and those that are open when one is closed."""
    return FLUSH_STEPS + math.ceil(plan.lag_s / plan.step_s) + _LATE_STEPS


def _told(spec: SeriesSpec, bad: Bad | None) -> dict[str, Any]:
    return {"name": spec.name, "kind": spec.kind, "unit": spec.unit, "bad": bad, "acts": spec.acts}


def _chosen(known: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """(check, reading) of at most JUDGED_MAX: what has a bad direction, by turns, the whole time first.

    By name and not as they were first seen, so that a watch judges the same after a restart. Without a
    direction there is no worse, and a judge that answered "it moved" would name every new page.
    """
    judged = [
        [
            (check, name)
            for name in sorted(names, key=lambda name: (name != "total_s", name))
            if meaning(name).bad is not None
        ]
        for check, names in sorted(known.items())
    ]
    by_turns = [one for turn in zip_longest(*judged) for one in turn if one is not None]
    return by_turns[:JUDGED_MAX]
