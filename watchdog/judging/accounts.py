"""What an evidence packet has to say for itself: judged again, and told step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from detectors import say
from detectors.packet import decode_spec
from detectors.replay import replay
from watchdog.opinion.remarks import remarks

_DIGITS = 1e-6  # relative: what different processors may round differently


def differences(packet: Mapping[str, Any]) -> list[str]:
    """How the verdict of a packet, judged again, differs from the one in it; empty when it is the same.

    State, reason and onset must be equal, every number to six digits. Raises ValueError for another schema,
    and KeyError or TypeError for a packet that is not whole.
    """
    again = asdict(replay(packet))
    told = {**packet["verdict"], "evidence": packet["evidence"]}
    return list(_compare("verdict", told, again))


def _compare(place: str, told: Any, again: Any) -> list[str]:
    if isinstance(told, Mapping) and isinstance(again, Mapping):
        keys = sorted({*told, *again})
        return [d for k in keys for d in _compare(f"{place}.{k}", told.get(k), again.get(k))]
    if isinstance(told, list | tuple) and isinstance(again, list | tuple) and len(told) == len(again):
        pairs = zip(told, again, strict=True)
        return [d for i, (a, b) in enumerate(pairs) for d in _compare(f"{place}[{i}]", a, b)]
    if isinstance(told, float | int) and isinstance(again, float | int):
        same = math.isclose(told, again, rel_tol=_DIGITS, abs_tol=1e-12)
    else:
        same = told == again
    return [] if same else [f"{place}: {told!r} in the packet, {again!r} judged again"]


def sentences(packet: Mapping[str, Any]) -> list[str]:
    """The chain from the samples to the verdict, one sentence a line."""
    deploy, settings, verdict = packet["deploy"], packet["settings"], packet["verdict"]
    series = {one["spec"]["name"]: one for one in packet["series"]}
    acting = [name for name, one in series.items() if one["spec"]["acts"]]
    added = remarks(packet)
    roll_out = deploy["finished_at"] - deploy["started_at"]
    began, took = say.clock(deploy["started_at"]), say.span(roll_out)
    warm_up, watch = say.span(settings["warm_up_s"]), say.span(settings["watch_s"])
    one_in = round(1.0 / settings["false_rollbacks"])
    lines = [
        (
            f"Deploy {deploy['id']} began at {began} UTC and took {took}; the watch lasts {watch}, of which "
            f"{warm_up} of warm-up are not judged."
        ),
        f"The budget is one false rollback in {one_in} healthy deploys, spent once over {_list(acting)}.",
    ]
    for evidence in packet["evidence"]:
        lines += _series(series[evidence["series"]], evidence, deploy["id"])
        lines += [f"  {remark}" for remark in added.get(evidence["series"], ())]
    reason = f" ({verdict['reason']})" if verdict["reason"] else ""
    return [*lines, f"Verdict: {verdict['state']}{reason}. {verdict['because']}"]


def _series(one: Mapping[str, Any], evidence: Mapping[str, Any], deploy_id: str) -> list[str]:
    spec, history, trace = decode_spec(one["spec"]), one["history"], one["trace"]
    name = say.title(spec.name)
    kinds = {"own": "a limit of its own", "model": "a wide limit, because that is short"}
    limit = kinds[evidence["calibration"]]
    beside = _list([c["name"] for c in one["controls"]]) if one["controls"] else "no controls"
    informs = "" if spec.acts else " It informs and never acts."
    past, until = say.span(history["shape"][0] * history["step_s"]), say.clock(history["end_at"])
    lines = [
        f"{name}: compared with {past} of history up to {until} UTC, which gives {limit}; {beside}.{informs}"
    ]
    over = [(at, s) for at, s in zip(trace["at"], trace["statistic"], strict=True) if s > trace["threshold"]]
    most = max(trace["statistic"], default=0.0)
    if over:
        at = say.clock(over[0][0])
        lines.append(
            f"  It passed what chance is allowed at {at} UTC; at its largest it was {most:.1f} times that."
        )
    else:
        lines.append(f"  It never passed what chance is allowed: {most:.1f} times that at its largest.")
    lines.append(f"  {evidence['because']}")
    if evidence["onset_at"] is not None:
        blame = ", ".join(
            f"{'this deploy' if k == deploy_id else k} {say.percent(p)}"
            for k, p in evidence["shares"].items()
        )
        at, low, high = (say.clock(evidence[k]) for k in ("onset_at", "onset_low_at", "onset_high_at"))
        lines.append(f"  Onset {at} UTC, between {low} and {high}; {blame}.")
    lines.append(f"  Data in {100 * evidence['coverage']:.0f} % of the steps that were expected to hold any.")
    return lines


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "no series"
