"""Judging again from a packet: the answer to "would you say so again?"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectors.judge import DeployJudge
from detectors.model import DeployInterval, Verdict
from detectors.packet import SCHEMA, decode_array, decode_history, decode_settings


def replay(packet: Mapping[str, Any]) -> Verdict:
    """The verdict of a packet, worked out again from its samples: same state, reason and onset.

    Later deploys and later ends come in at the tick at which they came then. Raises ValueError for another
    schema.
    """
    if packet.get("schema") != SCHEMA:
        raise ValueError(f"schema: {packet.get('schema')!r} cannot be replayed; expected {SCHEMA}")
    changes = list(packet["changes"])
    deploy = {**packet["deploy"], "finished_at": changes[0]["finished_at"]}
    others = [DeployInterval(**o) for o in changes[0]["others"]]
    series = packet["series"]
    judge = DeployJudge(
        DeployInterval(**deploy),
        others,
        [decode_history(s) for s in series],
        decode_settings(packet["settings"]),
        {s["spec"]["name"]: [decode_history(c) for c in s["controls"]] for s in series},
        [DeployInterval(**d) for d in packet["past_deploys"]],
    )
    ticks = {s["spec"]["name"]: decode_array(s["ticks"]) for s in series}
    parts = {c["name"]: decode_array(c["ticks"]) for s in series for c in s["controls"]}
    first, step = series[0]["ticks"]["first_at"], series[0]["ticks"]["step_s"]
    count = series[0]["ticks"]["shape"][0]
    for i in range(count + 1):
        for change in changes[1:]:
            if change["tick"] == i and "other" in change:
                judge.add_deploy(DeployInterval(**change["other"]))
            elif change["tick"] == i:
                judge.finish(change["finished_at"])
        if i < count:
            rows = {name: a[i] for name, a in ticks.items()}
            judge.tick(first + i * step, rows, {name: a[i] for name, a in parts.items()})
    return judge.close() if packet["is_closed"] else judge.verdict
