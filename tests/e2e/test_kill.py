"""kill -9 at every recorded step between the verdict and the acknowledged rollback, each time restarted."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from pathlib import Path

import pytest

from tests.e2e import kill_point
from tests.support.receivers import RollbackReceiver, SlackReceiver, in_thread
from watchdog.model import Action
from watchdog.store.sqlite import SqliteStore

# A chain with fewer steps has lost one, and these tests would prove less than they say: two rulings, the
# moves to sending and acked, the request, and at least one alert, each with a before and an after.
STEPS_MIN = 12


# Some sixty chains, each a process of its own: forked from one that has imported the product already.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["__main__", kill_point.__name__])


def run_chain(folder: Path, rollback: str, slack: str, *, idempotent: bool, kill_at: int) -> int:
    """One process of the chain; its exit code, -9 when it killed itself."""
    folder.mkdir(parents=True, exist_ok=True)
    chain = _PROCESSES.Process(
        target=kill_point.run, args=(folder / "state", rollback, slack, idempotent, kill_at)
    )
    chain.start()
    chain.join(timeout=60)
    if chain.exitcode is None:
        chain.kill()
    assert chain.exitcode in (0, -signal.SIGKILL), "its traceback went to stderr"
    return chain.exitcode


def stored(folder: Path) -> tuple[list[Action], str | None]:
    """The actions of a state folder, and what is wrong with its audit chain."""

    async def read() -> tuple[list[Action], str | None]:
        store = SqliteStore(folder / "state" / "state.db")
        await store.open(0.0)
        try:
            return await store.actions(), await store.verify_audit()
        finally:
            await store.close()

    return asyncio.run(read())


@pytest.mark.parametrize("idempotent", [True, False])
def test_killed_at_every_step_it_rolls_back_once(tmp_path: Path, idempotent: bool) -> None:
    calm = RollbackReceiver(honours_key=idempotent)
    slack = SlackReceiver()
    with in_thread(calm, slack):
        assert run_chain(tmp_path / "calm", calm.url, slack.url, idempotent=idempotent, kill_at=0) == 0
    steps = (tmp_path / "calm" / "steps").read_text().splitlines()
    assert len(steps) >= STEPS_MIN
    assert sum(calm.effects.values()) == 1
    for number, step in enumerate(steps, start=1):
        folder = tmp_path / f"killed-{number}"
        receiver = RollbackReceiver(honours_key=idempotent)
        with in_thread(receiver, slack):
            first = run_chain(folder, receiver.url, slack.url, idempotent=idempotent, kill_at=number)
            assert first == -signal.SIGKILL, step
            assert run_chain(folder, receiver.url, slack.url, idempotent=idempotent, kill_at=0) == 0, step
        actions, broken = stored(folder)
        assert broken is None, step
        assert len(actions) == 1, step
        assert len({request.body for request in receiver.received}) <= 1, step
        assert receiver.conflicts == [], step
        if idempotent:
            assert actions[0].state == "acked", step
            assert dict(receiver.effects) == {actions[0].key: 1}, step
        else:
            assert len(receiver.received) <= 1, step
            assert actions[0].state in ("acked", "unknown"), step
            # It may say acked only of what it has seen acknowledged.
            assert actions[0].state == "unknown" or len(receiver.received) == 1, step
