"""A process that uses a store and tells on stdout what was answered, to be killed or starved by a test.

Run as `python -m tests.watchdog.store.store_worker WHAT FOLDER` from the repository's folder.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.watchdog.store.store_material import NOW, STORES, alert, roll_back, with_watch
from watchdog.store.protocol import Store, StoreDead, StoreUnavailable


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def roll_back_for_ever(store: Store) -> None:
    """Deploys and rollbacks, eight at a time, each named once it was answered."""

    async def one(number: int) -> None:
        watch = await with_watch(store, number, service=f"s{number}")
        say(f"watched {number}")
        alerts = [alert(number, id=f"alert-{number}")]
        await store.transact(watch.id, lambda facts: roll_back(facts, alerts), NOW)
        say(f"intended {number}")

    for first in range(1, 100_000, 8):
        await asyncio.gather(*(one(number) for number in range(first, first + 8)))


async def hold(store: Store) -> None:
    """Keep the store open until the end of the input."""
    say("open")
    await asyncio.to_thread(sys.stdin.read)


async def fill_the_disk(store: Store) -> None:
    """Write until the file may not grow, then let it grow again."""
    await store.note("me", "before", "", NOW)
    free = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, free[1]))
    written = 0
    try:
        for _ in range(10_000):
            await asyncio.gather(*(store.note("me", "x" * 1000, "", NOW) for _ in range(5)))
            written += 5
    except StoreUnavailable as error:
        say(f"{type(error).__name__}: {error}")
    watch_refused = await refused(lambda: with_watch(store))
    say(f"refused {watch_refused}; read {len(await store.audit(limit=10_000)) >= written > 0}")
    resource.setrlimit(resource.RLIMIT_FSIZE, free)
    watch = await with_watch(store)
    await store.transact(watch.id, roll_back, NOW)
    say(f"recovered {len(await store.actions())} {await store.verify_audit()}")


async def meet_a_dying_disk(store: Store) -> None:
    """Write until fsync fails (a shim fails it from the 2nd on), then try again."""
    for attempt in range(3):
        say(f"{attempt} {await refused(lambda: store.note('me', 'x', '', NOW))}")


async def refused(write: Callable[[], Awaitable[object]]) -> str:
    try:
        await write()
    except StoreUnavailable as error:
        return "StoreDead" if isinstance(error, StoreDead) else "StoreUnavailable"
    return "written"


TASKS: dict[str, Callable[[Store], Awaitable[None]]] = {
    "roll_back_for_ever": roll_back_for_ever,
    "hold": hold,
    "fill_the_disk": fill_the_disk,
    "meet_a_dying_disk": meet_a_dying_disk,
}


async def main(what: str, folder: Path) -> None:
    store = STORES["sqlite"](folder)
    await store.open(NOW)
    try:
        await TASKS[what](store)
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
