"""Everything with a calendar, by APScheduler: it only puts names on the same queue as the schedule does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from config.cron import Cron


async def run_calendar(times: Mapping[str, tuple[Cron, str]], put: Callable[[str], object]) -> None:
    """Put each name whenever its time comes in its time zone, until cancelled."""
    # Memory store, one run for many missed, late rather than never: APScheduler's own default skips a job
    # that is a second late.
    scheduler = AsyncIOScheduler(
        timezone="UTC",
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    for name, (cron, zone) in times.items():
        scheduler.add_job(put, cron.trigger(zone), args=(name,), id=name)
    scheduler.start()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        scheduler.shutdown(wait=False)
