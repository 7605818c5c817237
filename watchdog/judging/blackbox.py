"""The judge as a black box: JSON messages in, one answer per tick out.

The protocol is that of benchmarks of deploy-keyed detection: a `case` with the history up to a deploy, then
one `tick` after the other, each answered before the next is shown. It runs the daemon's own judge with its
own settings, one judge per deploy, as the daemon has one watch per deploy. Beyond the protocol a case may
hold `past_deploys`, those of the time before, written as `deploys` are: restarts are learned from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detectors.judge import DeployJudge
from detectors.model import (
    Bad,
    DeployInterval,
    Evidence,
    FloatArray,
    History,
    JudgeSettings,
    SeriesKind,
    SeriesSpec,
    Verdict,
)

_KINDS: Mapping[str, SeriesKind] = {
    "latency": "latency",
    "ratio": "ratio",
    "availability": "gauge",
    "rate": "rate",
    "business": "rate",
    "count": "rate",
    "gauge": "gauge",
}
# An estimate of a change that just matters falls short of it half of the time.
_HALF = 0.5
_DIRECTIONS: Mapping[str, tuple[Bad, ...]] = {"up": ("up",), "down": ("down",), "both": ("up", "down")}


class BadMessage(ValueError):
    """A message that does not keep to the protocol; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a case: its series (one per bad direction), and how a value of the protocol is read.

    whole: what an availability is a share of (1 or 100); it is judged by what is missing of it, because 99.9
    to 99.5 % is five times as bad. None for everything else.
    """

    specs: tuple[SeriesSpec, ...]
    whole: float | None

    def row(self, value: Any) -> list[float]:
        """The sample, one or two numbers, NaN = missing."""
        if self.specs[0].width == 2:
            return [_number(value[0]), _number(value[1])] if value is not None else [math.nan, math.nan]
        number = _number(value)
        return [number if self.whole is None else (self.whole - number) / self.whole]


class _Case:
    """A case under way: its samples so far and a judge for each of its deploys."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        step = float(message["step_s"])
        least = message.get("min_effect") or {}
        metrics = message["metrics"]
        first = message["deploys"][0]
        self.id = message["id"]
        self.step_s = step
        # No warm-up: the protocol says nothing of restarts, and the looks outlast a blip by themselves.
        self.settings = JudgeSettings(watch_s=message["horizon"] * step, warm_up_s=0.0)
        self.metrics = [metric_of(i, m, step, least) for i, m in enumerate(metrics)]
        self.past = [
            [m.row(x) for x in rows_of(given)] for m, given in zip(self.metrics, metrics, strict=True)
        ]
        self.controls = [[_numbers(x) for x in rows_of(c)] for c in message.get("controls", [])]
        self.end_at = float(first["t"])
        self.judges: dict[str, DeployJudge] = {}
        self._past_deploys = [_at_once(told) for told in message.get("past_deploys", [])]
        self._deploys: list[DeployInterval] = []
        self.deploy(first)

    def deploy(self, told: Mapping[str, Any]) -> None:
        """Another deploy: a judge of its own on the history there is by now, and a suspect for the others."""
        new = _at_once(told)
        histories, controls = [], {}
        for metric, past in zip(self.metrics, self.past, strict=True):
            for spec in metric.specs:
                values = np.array(past).reshape(len(past), spec.width)
                histories.append(History(spec=spec, values=values, end_at=self.end_at))
                controls[spec.name] = [
                    History(spec=beside, values=np.array(self.controls[i]), end_at=self.end_at)
                    for i, beside in self._beside(spec)
                ]
        for judge in self.judges.values():
            judge.add_deploy(new)
        self.judges[new.id] = DeployJudge(
            new, self._deploys, histories, self.settings, controls, self._past_deploys
        )
        self._deploys.append(new)

    def _beside(self, spec: SeriesSpec) -> list[tuple[int, SeriesSpec]]:
        """The controls of a series: those that are pairs, or single numbers, as it is."""
        return [
            (i, replace(spec, name=f"control{i}/{spec.name}"))
            for i, kept in enumerate(self.controls)
            if kept and len(kept[0]) == spec.width
        ]

    def tick(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one tick."""
        if "deploy" in message:
            self.deploy(message["deploy"])
        # The protocol stamps a sample with the start of its step, the judge a step with its end.
        self.end_at = float(message["t"]) + self.step_s
        values: dict[str, FloatArray] = {}
        controls: dict[str, FloatArray] = {}
        beside = [_numbers(x) for x in message.get("controls", [])]
        for metric, past, value in zip(self.metrics, self.past, message["values"], strict=True):
            past.append(metric.row(value))
            for spec in metric.specs:
                values[spec.name] = np.array(past[-1])
                controls |= {other.name: np.array(beside[i]) for i, other in self._beside(spec)}
        for kept, row in zip(self.controls, beside, strict=True):
            kept.append(row)
        return _reply({d: judge.tick(self.end_at, values, controls) for d, judge in self.judges.items()})


class BlackBox:
    """Judges one case after the other."""

    def __init__(self) -> None:
        self._case: _Case | None = None

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """The reply to a tick, None to a case. Raises BadMessage for what does not keep to the protocol."""
        try:
            match message.get("type"):
                case "case":
                    self._case = _Case(message)
                    return None
                case "tick":
                    if self._case is None or message["id"] != self._case.id:
                        raise BadMessage(f"id: tick of {message['id']!r} without its case")
                    return self._case.tick(message)
        except KeyError as error:
            raise BadMessage(f"{message.get('type')}: no {error}") from error
        except (TypeError, ValueError, IndexError) as error:
            raise BadMessage(f"{message.get('type')}: {error}") from error
        raise BadMessage(f"type: {message.get('type')!r} is neither case nor tick")


def _at_once(told: Mapping[str, Any]) -> DeployInterval:
    """The deploy of a message, which knows one moment of it."""
    at = float(told["t"])
    return DeployInterval(id=str(told["id"]), started_at=at, finished_at=at)


def _reply(said: Mapping[str, Verdict]) -> dict[str, Any]:
    """The surest deploy speaks: one that is confirmed, else the one with the largest statistic."""
    deploy = max(said, key=lambda d: (said[d].state == "regressed", _worst(said[d]).statistic))
    verdict, worst = said[deploy], _worst(said[deploy])
    return {
        "score": worst.statistic,
        "confirm": verdict.state == "regressed",
        "cp_t": worst.onset_at,
        "blame": verdict.blamed_deploy or deploy,
    }


def _worst(verdict: Verdict) -> Evidence:
    return max(verdict.evidence, key=lambda e: e.statistic)


def metric_of(place: int, given: Mapping[str, Any], step_s: float, least: Mapping[str, float]) -> Metric:
    """How a metric of a case is read, `place` being its place in the case; least: its `min_effect`."""
    kind = _KINDS[given["kind"]]
    whole: float | None = None
    directions = _DIRECTIONS[given["bad"]]
    if given["kind"] == "availability":
        seen = [x for x in given["history"] if x is not None]
        whole = 100.0 if seen and max(seen) > 1.5 else 1.0
        directions = tuple("down" if bad == "up" else "up" for bad in directions)
    is_share = kind == "ratio" or whole is not None
    specs = tuple(
        SeriesSpec(
            name=f"{place}.{given['name']}.{bad}",
            kind=kind,
            unit="ratio" if is_share else "",
            bad=bad,
            step_s=step_s,
            ignore_below_rel=0.0 if is_share else float(least.get("rel", 0.0)),
            ignore_below_abs=_HALF * float(least.get("abs_ratio", 0.0)) if is_share else 0.0,
        )
        for bad in directions
    )
    return Metric(specs, whole)


def rows_of(given: Mapping[str, Any]) -> list[Any]:
    """The samples of the history of a metric or control, one value or one pair each."""
    return list(zip(given["num"], given["den"], strict=True)) if "num" in given else list(given["history"])


def _numbers(value: Any) -> list[float]:
    """A sample of a control, one number or a pair."""
    return [_number(x) for x in value] if isinstance(value, (list, tuple)) else [_number(value)]


def _number(value: Any) -> float:
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else math.nan
