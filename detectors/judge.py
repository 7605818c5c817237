"""The judge of one deploy: takes what the series did, tick by tick, and says what it makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from detectors.calibrate import calibrate
from detectors.door import SLACK, aligned, checked
from detectors.histogram import usual_band
from detectors.model import DeployInterval, FloatArray, History, JudgeSettings, SeriesSpec, Verdict
from detectors.packet import SCHEMA, encode_array, encode_deploys, encode_spec
from detectors.panel import LIMIT, Panel
from detectors.parts import parts_of
from detectors.plan import plan_watch
from detectors.subject import Subject
from detectors.verdict import conclude, for_all, rank
from detectors.warmup import learned_warm_up
from detectors.witness import testify

VERSION = "11"
_SETTLED = 0.25  # of the watch: what has not settled by then is judged


class DeployJudge:
    """Judges one deploy of one service. Pure: the same calls give the same answers.

    deploy: the one judged; finished_at may be moved later by `finish`. others: deploys that may be to blame
    instead. histories: one per series, all with one step. controls: series name to histories of services not
    deployed, `spec.name` being "service/series". past_deploys: not used as placebos.

    Raises ValueError for unequal steps, repeated names, infinite values, shapes that do not fit a kind, a
    history that runs beyond the start of the deploy, and when there is no series at all.
    """

    def __init__(
        self,
        deploy: DeployInterval,
        others: Sequence[DeployInterval],
        histories: Sequence[History],
        settings: JudgeSettings,
        controls: Mapping[str, Sequence[History]] | None = None,
        past_deploys: Sequence[DeployInterval] = (),
    ) -> None:
        self._deploy, self._settings = deploy, settings
        self._others = [o for o in others if o.id != deploy.id]
        self._past = list(past_deploys)
        self._changes: list[dict[str, Any]] = [
            {"tick": 0, "finished_at": deploy.finished_at, "others": encode_deploys(self._others)}
        ]
        # By name, so that the order in which series are listed changes nothing, not even a last digit.
        ordered = sorted(histories, key=lambda h: h.spec.name)
        controls = controls or {}
        self._specs = [h.spec for h in ordered]
        self._control_specs = [
            [c.spec for c in sorted(controls.get(s.name, ()), key=lambda c: c.spec.name)] for s in self._specs
        ]
        flat = [c for s in self._specs for c in sorted(controls.get(s.name, ()), key=lambda c: c.spec.name)]
        self._check(ordered, flat, controls)
        self._step_s = ordered[0].spec.step_s
        self._end_at, arrays = aligned([*ordered, *flat], deploy.started_at, self._step_s)
        self._histories = arrays[: len(ordered)]
        rest = iter(arrays[len(ordered) :])
        self._control_histories = [[next(rest) for _ in specs] for specs in self._control_specs]
        self._ticks: list[tuple[list[FloatArray], list[list[FloatArray]]]] = []
        self._encodings: dict[int, list[dict[str, Any]]] = {}
        self._confirmed: Verdict | None = None
        self._is_closed = False
        self._build()
        self._verdict = self._conclude()

    def _check(
        self,
        histories: Sequence[History],
        controls: Sequence[History],
        wanted: Mapping[str, Sequence[History]],
    ) -> None:
        names = [h.spec.name for h in histories]
        if not names:
            raise ValueError("histories: no series to judge; pass at least one")
        if len(set(names)) != len(names):
            raise ValueError(
                f"histories: two series are named {next(n for n in names if names.count(n) > 1)}"
            )
        strange = sorted(set(wanted) - set(names))
        if strange:
            raise ValueError(f"controls: {strange[0]} is not a series of this judge")
        for spec in (h.spec for h in histories):
            if spec.kind == "histogram" and spec.bad == "down":
                raise ValueError(f"{spec.name}: of a histogram only large values are worse; use another kind")
            if any(_is_unlike(spec, c.spec) for c in wanted.get(spec.name, ())):
                raise ValueError(f"controls: those of {spec.name} must be of its kind and unit")
        steps = {h.spec.step_s for h in (*histories, *controls)}
        if len(steps) != 1 or not min(steps) > 0.0:
            raise ValueError(
                f"step_s: one judge has one positive step, got {sorted(steps)}; use one judge per step"
            )
        if self._deploy.finished_at < self._deploy.started_at:
            raise ValueError(f"deploy {self._deploy.id}: finished_at lies before started_at")

    def _build(self) -> None:
        settings, n = self._settings, len(self._histories[0])
        learned_s = max(
            (
                learned_warm_up(spec, past, self._end_at, self._past, _SETTLED * settings.watch_s)
                for spec, past in zip(self._specs, self._histories, strict=True)
                # What informs must not decide how long the others are waited for.
                if spec.acts
            ),
            default=0.0,
        )
        self._plan = plan_watch(self._deploy, settings, self._step_s, self._end_at, n, learned_s)
        parts = [parts_of(spec, past) for spec, past in zip(self._specs, self._histories, strict=True)]
        # Which series each subject is a part of.
        self._of = [i for i, some in enumerate(parts) for _ in some]
        self._subjects = [
            Subject(
                part.spec,
                part.of(self._histories[i]),
                self._plan,
                part.of_controls(self._control_specs[i], self._control_histories[i]),
                part,
            )
            for i, some in enumerate(parts)
            for part in some
        ]
        calibrate(
            self._subjects,
            self._plan,
            [*self._past, *self._others],
            settings.false_rollbacks,
            settings.watch_s,
        )
        self._panel = Panel([s.measured() for s in self._subjects], self._plan)
        for i, subject in enumerate(self._subjects):
            subject.join(self._panel, i)

    @property
    def verdict(self) -> Verdict:
        """The newest verdict."""
        return self._verdict

    def tick(
        self, at: float, values: Mapping[str, FloatArray], controls: Mapping[str, FloatArray] | None = None
    ) -> Verdict:
        """Judge the step that ends at `at` (epoch seconds): the next one on the grid.

        values: series name to shape (width,), NaN = missing; a name left out is missing. controls: the same
        for the control series. Once `regressed`, the state and its reason stay. Raises ValueError for a step
        out of order, an unknown name or an infinite value; the judge is then unchanged.
        """
        if self._is_closed:
            raise ValueError("tick: this watch is closed")
        if abs(at - self._plan.tick_end(len(self._ticks))) > SLACK * self._step_s:
            due = self._plan.tick_end(len(self._ticks))
            raise ValueError(f"at: {at} is not the next step of this watch, which ends at {due}")
        rows = [self._row(spec, values) for spec in self._specs]
        parts = [[self._row(spec, controls or {}) for spec in specs] for specs in self._control_specs]
        known = {s.name for s in self._specs}, {s.name for specs in self._control_specs for s in specs}
        for given, names in ((values, known[0]), (controls or {}, known[1])):
            strange = sorted(set(given) - names)
            if strange:
                raise ValueError(f"values: {strange[0]} is not a series of this judge")
        self._ticks.append((rows, parts))
        self._feed(rows, parts)
        self._verdict = self._conclude()
        return self._verdict

    def _row(self, spec: SeriesSpec, values: Mapping[str, FloatArray]) -> FloatArray:
        given = values.get(spec.name)
        if given is None:
            return np.full(spec.width, np.nan)
        one = np.asarray(given, dtype=np.float64).reshape(1, -1)
        row: FloatArray = checked(spec, one, "a tick")[0]
        return row

    def _feed(self, rows: Sequence[FloatArray], parts: Sequence[Sequence[FloatArray]]) -> None:
        samples = np.full((len(self._subjects), 2), np.nan)
        beside = np.full((len(self._subjects), self._panel.widest), np.nan)
        kept = [
            (s.part.of(rows[i]), [s.part.of(row) for row in parts[i]])
            for s, i in zip(self._subjects, self._of, strict=True)
        ]
        for i, (subject, (row, part)) in enumerate(zip(self._subjects, kept, strict=True)):
            samples[i, : len(row)] = row
            if subject.is_accompanied:
                beside[i, : len(subject.places)] = [part[place][0] for place in subject.places]
        self._panel.advance(samples, beside)
        for subject, (row, part) in zip(self._subjects, kept, strict=True):
            subject.advance(row, part)

    def _conclude(self) -> Verdict:
        said = [
            testify(s, self._deploy, self._others, self._settings, self._is_closed) for s in self._subjects
        ]
        groups = [[j for j, of in enumerate(self._of) if of == i] for i in range(len(self._specs))]
        spoken = [min(group, key=lambda j: rank(said[j])) for group in groups]
        verdict = conclude(
            [self._subjects[j] for j in spoken],
            [for_all(said[j], self._subjects[j].part) for j in spoken],
            self._plan,
            self._deploy,
            self._settings,
            len(self._ticks),
            self._is_closed,
        )
        if self._confirmed is not None:
            first = self._confirmed
            return replace(first, at=verdict.at, evidence=verdict.evidence, coverage=verdict.coverage)
        if verdict.state == "regressed":
            self._confirmed = verdict
        return verdict

    def add_deploy(self, other: DeployInterval) -> None:
        """Another deploy may be to blame from now on; one with a known id replaces what was known of it."""
        if other.id == self._deploy.id:
            raise ValueError(f"add_deploy: {other.id} is the deploy judged; use finish")
        self._others = [o for o in self._others if o.id != other.id] + [other]
        self._changes.append({"tick": len(self._ticks), "other": asdict(other)})

    def finish(self, finished_at: float) -> None:
        """The deploy finished at `finished_at`: warm-up and watch are counted from there, from now on.

        The ticks so far are judged again under the new plan; a regression already confirmed stays. Raises
        ValueError when finished_at lies before the start.
        """
        if not math.isfinite(finished_at) or finished_at < self._deploy.started_at:
            raise ValueError(f"finish: {finished_at} lies before the start of deploy {self._deploy.id}")
        if finished_at == self._deploy.finished_at:
            return
        self._deploy = replace(self._deploy, finished_at=finished_at)
        self._changes.append({"tick": len(self._ticks), "finished_at": finished_at})
        self._build()
        for rows, parts in self._ticks:
            self._feed(rows, parts)
        self._verdict = self._conclude()

    def close(self) -> Verdict:
        """The final verdict: regressed, healthy, inconclusive or blind. May be called again."""
        self._is_closed = True
        self._verdict = self._conclude()
        return self._verdict

    def packet(self, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Everything needed to judge again, as JSON (schema 1); `replay` turns it into the same verdict.

        without: names of series to leave out. Those that do not act and are nowhere told of in the verdict
        can be: the others are judged the same without them.
        """
        verdict = asdict(self._verdict)
        evidence = [said for said in verdict.pop("evidence") if said["series"] not in without]
        return {
            "schema": SCHEMA,
            "judge": VERSION,
            "settings": asdict(self._settings),
            "deploy": asdict(self._deploy),
            "others": encode_deploys(self._others),
            "past_deploys": encode_deploys(self._past),
            "changes": [*self._changes],
            "is_closed": self._is_closed,
            "series": [
                self._series_packet(i) for i, spec in enumerate(self._specs) if spec.name not in without
            ],
            "evidence": evidence,
            "verdict": verdict,
        }

    def _series_packet(self, i: int) -> dict[str, Any]:
        subjects = [s for s, of in zip(self._subjects, self._of, strict=True) if of == i]
        step, first = self._step_s, self._plan.tick_end(0)
        ticks = range(len(self._ticks))
        bands = self._bands(i, subjects[0])

        def since(rows: list[FloatArray], spec: SeriesSpec) -> dict[str, Any]:
            return encode_array(np.array(rows).reshape(len(rows), spec.width), step, first_at=first)

        return {
            "spec": encode_spec(self._specs[i]),
            "history": self._encoded(i)[0],
            "ticks": since([rows[i] for rows, _ in self._ticks], self._specs[i]),
            "controls": [
                {
                    "name": spec.name,
                    "spec": encode_spec(spec),
                    "history": self._encoded(i)[1 + j],
                    "ticks": since([parts[i][j] for _, parts in self._ticks], spec),
                }
                for j, spec in enumerate(self._control_specs[i])
            ],
            "trace": {
                "at": [self._plan.tick_end(t) for t in ticks],
                "statistic": [max(each) for each in zip(*(s.statistics for s in subjects), strict=True)],
                "threshold": LIMIT,
                "expected_low": [low for low, _ in bands],
                "expected_high": [high for _, high in bands],
            },
        }

    def _encoded(self, i: int) -> list[dict[str, Any]]:
        """Of one series its history and those of its controls, which no tick changes."""
        if i not in self._encodings:
            arrays = (self._histories[i], *self._control_histories[i])
            self._encodings[i] = [encode_array(a, self._step_s, end_at=self._end_at) for a in arrays]
        return self._encodings[i]

    def _bands(self, i: int, subject: Subject) -> list[tuple[float | None, float | None]]:
        """Where the shown value of each tick was expected."""
        if subject.error:
            return [(None, None)] * len(self._ticks)
        if subject.part.cut is None:
            return [subject.band(t) for t in range(len(self._ticks))]
        # What is shown of a distribution is a quantile, and none is judged: what it used to be has to do.
        day = self._histories[i][-max(round(86400.0 / self._step_s), 1) :]
        band = usual_band(day, self._specs[i].unit, self._specs[i].quantile)
        return [band or (None, None)] * len(self._ticks)


def _is_unlike(spec: SeriesSpec, control: SeriesSpec) -> bool:
    """Not to be compared: one of them is a distribution, and the other is none or in other units."""
    kinds = {spec.kind, control.kind}
    return "histogram" in kinds and (len(kinds) > 1 or spec.unit != control.unit)
