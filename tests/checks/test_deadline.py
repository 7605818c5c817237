"""A deadline that one timer keeps for all: as asyncio's own, but a little late."""

from __future__ import annotations

import asyncio
import time

import pytest

from checks.deadline import EVERY_S, Deadlines


async def test_what_takes_too_long_ends_a_little_later() -> None:
    began_s = time.monotonic()
    with pytest.raises(TimeoutError), Deadlines().within(0.02):
        await asyncio.Event().wait()
    assert time.monotonic() - began_s >= 0.02
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_each_of_many_ends_at_its_own_time() -> None:
    deadlines, ended = Deadlines(), []

    async def wait(seconds: float) -> None:
        with pytest.raises(TimeoutError), deadlines.within(seconds):
            await asyncio.Event().wait()
        ended.append(seconds)

    await asyncio.gather(*(wait(n * 2 * EVERY_S) for n in (3, 1, 2, 0)))
    assert ended == [n * 2 * EVERY_S for n in range(4)]


async def test_what_ends_in_time_is_left_alone() -> None:
    deadlines = Deadlines()
    with deadlines.within(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(2 * EVERY_S)


async def nested(outer_s: float, inner_s: float) -> list[str]:
    """Which of two told that the time was over, in order."""
    deadlines, seen = Deadlines(), []
    try:
        with deadlines.within(outer_s):
            try:
                with deadlines.within(inner_s):
                    await asyncio.Event().wait()
            except TimeoutError:
                seen.append("inner")
            await asyncio.Event().wait()
    except TimeoutError:
        seen.append("outer")
    return seen


async def test_the_inner_one_says_so_and_the_outer_goes_on() -> None:
    seen = await nested(outer_s=4 * EVERY_S, inner_s=0.0)
    assert seen == ["inner", "outer"]


async def test_the_outer_one_passes_through_the_inner() -> None:
    assert await nested(outer_s=0.0, inner_s=60.0) == ["outer"]


async def test_a_cancellation_from_elsewhere_is_not_a_deadline() -> None:
    deadlines, is_waiting = Deadlines(), asyncio.Event()

    async def wait() -> None:
        with deadlines.within(60.0):
            is_waiting.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(wait())
    await is_waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_both_at_once_are_a_cancellation() -> None:
    deadlines, is_waiting = Deadlines(), asyncio.Event()

    async def wait() -> None:
        deadline = deadlines.within(60.0)
        with deadline:
            is_waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                deadline.end()

    task = asyncio.ensure_future(wait())
    await is_waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_another_error_is_itself() -> None:
    deadlines = Deadlines()
    with pytest.raises(ValueError, match="mine"), deadlines.within(60.0):
        raise ValueError("mine")
