"""Everything with a calendar, by APScheduler: it only puts names on the same queue as the schedule does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger


async def run_calendar(times: Mapping[str, tuple[int, int]], put: Callable[[str], bool]) -> None:
    """Put each name at its (hour, minute) UTC, every day, until cancelled."""
    # Memory store, one run for many missed, late rather than never: APScheduler's own default skips a job
    # that is a second late.
    scheduler = AsyncIOScheduler(
        timezone="UTC",
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    for name, (hour, minute) in times.items():
        trigger = CronTrigger(hour=hour, minute=minute, timezone="UTC")
        scheduler.add_job(put, trigger, args=(name,), id=name)
    scheduler.start()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        scheduler.shutdown(wait=False)
