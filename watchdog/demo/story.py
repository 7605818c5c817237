"""The deploys of the scenario, one after the other, told line by line, and what the daemon made of each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from watchdog.demo.narrator import Narrator, Outcome
from watchdog.demo.receivers import Receivers
from watchdog.demo.scenario import PlannedDeploy, Scenario, Surge
from watchdog.demo.stage import DemoFailed, Stage
from watchdog.demo.theatre import WATCH_S
from watchdog.model import ENDED_ACTION_STATES, OPEN_WATCH_STATES

# Beyond its watch a deploy may take a roll-out, a rollback and the verification of that.
_PATIENCE_S = WATCH_S + 80.0
_POLL_S = 0.25
# Nobody is there to approve: an action that waits for a person has come to its end here.
_ENDED = ENDED_ACTION_STATES | {"awaiting_approval"}


async def tell(scenario: Scenario, stage: Stage, receivers: Receivers, narrator: Narrator) -> list[Outcome]:
    """Perform every deploy; outcomes in their order. Raises DemoFailed if a part falls silent."""
    return [await _perform(planned, stage, receivers, narrator) for planned in scenario.deploys]


async def problems(outcomes: list[Outcome], stage: Stage) -> list[str]:
    """What is not as the scenario expects, one sentence each; none is success.

    Beside the daemon's word this looks at the shop itself: rollbacks carried out, and versions that run.
    """
    found = [
        f"{outcome.planned.service} {outcome.planned.version} did not end as expected"
        for outcome in outcomes
        if not outcome.is_as_expected
    ]
    undone = [o.planned for o in outcomes if o.planned.expect.action == "confirmed"]
    effects = [(effect["service"], effect["from"]) for effect in await stage.effects()]
    if effects != [(planned.service, planned.version) for planned in undone]:
        found.append(f"the deployer carried out these rollbacks: {effects or 'none'}")
    running = await stage.versions()
    found += [
        f"{planned.service} still runs {planned.version}"
        for planned in undone
        if running[planned.service] == planned.version
    ]
    return found


async def save_packets(outcomes: Sequence[Outcome], stage: Stage, folder: Path, seed: int) -> None:
    """Write the evidence packets of the surprising outcomes as JSON: each replays to the same verdict."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    for outcome in outcomes:
        if not outcome.is_as_expected:
            answer = await stage.ask(f"/api/v1/watches/{outcome.watch_id}/packet")
            path = folder / f"seed-{seed}-{outcome.planned.name}.json"
            await asyncio.to_thread(path.write_text, json.dumps(answer["packet"]), encoding="utf-8")


async def _perform(planned: PlannedDeploy, stage: Stage, receivers: Receivers, narrator: Narrator) -> Outcome:
    narrator.title(f"{planned.service} {planned.version}: {planned.story}")
    async with _weather(planned, stage, narrator):
        deploy_id = await stage.deploy(planned.service, planned.version)
        narrator.say(f"the deployer rolled it out and told the daemon: deploy {deploy_id}")
        answer = await _follow(deploy_id, planned.meanwhile.surge, stage, narrator)
    watch, actions = answer["watch"], answer["actions"]
    return Outcome(
        planned=planned,
        watch_id=watch["id"],
        verdict=watch["state"],
        action=actions[0]["state"] if actions else "none",
        because=(answer["verdict"] or watch)["because"],
        alerted=receivers.told_of(planned.version),
    )


@asynccontextmanager
async def _weather(planned: PlannedDeploy, stage: Stage, narrator: Narrator) -> AsyncIterator[None]:
    """Darkness begins before the deploy; whatever hit the shop is over after the block."""
    if planned.meanwhile.dark:
        await stage.darken(planned.service, True)
        narrator.say(f"/metrics of {planned.service} answers 503 from now on")
    try:
        yield
    finally:
        await stage.surge(None)
        await stage.darken(planned.service, False)


async def _follow(deploy_id: str, surge: Surge | None, stage: Stage, narrator: Narrator) -> dict[str, Any]:
    """The daemon's last word on the deploy: its watch is closed, and a rollback, if any, has ended."""
    told: set[tuple[str, str]] = set()
    started_s = time.monotonic()
    while time.monotonic() - started_s < _PATIENCE_S:
        if surge is not None and time.monotonic() - started_s >= surge.after_s:
            await stage.surge(surge)
            narrator.say(
                f"a surge hits every service: {surge.arrivals:g} times the customers, "
                f"{100 * surge.errors:g} % more errors, {surge.slowness:g} times slower"
            )
            surge = None
        answer = await stage.ask(f"/api/v1/deploys/{deploy_id}")
        watch, actions = answer["watch"], answer["actions"]
        for what, item in [("verdict", watch), *(("rollback", action) for action in actions)]:
            if (what, item["state"]) not in told:
                told.add((what, item["state"]))
                narrator.say(f"{what}: {narrator.painted(item['state'], item['state'])}  {item['because']}")
        is_closed = watch["state"] not in OPEN_WATCH_STATES
        if is_closed and all(action["state"] in _ENDED for action in actions):
            return answer
        await asyncio.sleep(_POLL_S)
    raise DemoFailed(f"deploy {deploy_id} had no verdict after {_PATIENCE_S:.0f} s")
