"""Times of day, week and month in the five fields of crontab(5)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# A leap year begins here, so that 29 February is found at once.
_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cron:
    """When something is due: minute, hour, day of month, month, day of week, as in `30 2 * * 1-5`.

    Sunday is 0 or 7, as in crontab(5). A day of the month and a day of the week together are refused: cron
    takes either, other programs both.
    """

    text: str

    def after(self, at: float, zone: str) -> float:
        """The first time it is due after `at` (epoch seconds), by the clocks of the time zone.

        A time that the clocks skip is due when they have gone forward.
        """
        # APScheduler looks from a whole second on, that second included.
        begin = datetime.fromtimestamp(at + 0.001, ZoneInfo(zone))
        found = self.trigger(zone).get_next_fire_time(None, begin)
        if found is None:
            raise AssertionError(f"{self.text!r} was not refused when it was read")
        due_at: float = found.timestamp()
        return due_at

    def trigger(self, zone: str) -> CronTrigger:
        """The same for APScheduler."""
        return _trigger(self.text, zone)

    @classmethod
    def parse(cls, text: Any) -> Cron:
        """Read it; raises PydanticCustomError (a ValueError) `bad-cron` with what to write."""
        if isinstance(text, cls):
            return text
        try:
            if not isinstance(text, str):
                raise ValueError("it is not text")
            if _trigger(text, "UTC").get_next_fire_time(None, _EPOCH) is None:
                raise ValueError("no such day ever comes")
        except ValueError as error:
            raise PydanticCustomError(
                "bad-cron",
                "{text}",
                {
                    "text": f"`{text}` is no time in cron's five fields ({error}). Write minute, hour, day, "
                    "month and day of week: `30 2 * * 1-5` is 2:30 on working days."
                },
            ) from None
        return cls(" ".join(text.split()))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "examples": ["30 2 * * 1-5", "*/15 * * * *"]}


@functools.lru_cache(maxsize=1000)
def _trigger(text: str, zone: str) -> CronTrigger:
    fields = text.lower().split()
    if len(fields) != 5:
        raise ValueError(f"5 fields are needed, not {len(fields)}")
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise ValueError("a day of the month and a day of the week at once")
    return CronTrigger(
        minute=minute, hour=hour, day=day, month=month, day_of_week=_named(weekday), timezone=zone
    )


def _named(weekdays: str) -> str:
    """The same days by name: APScheduler counts from Monday, cron from Sunday."""
    if weekdays == "*":
        return weekdays
    found = {number % 7 for part in weekdays.split(",") for number in _span(part)}
    return ",".join(_DAYS[number] for number in sorted(found))


def _span(part: str) -> range:
    """Numbers of the days of `2`, `mon-fri`, `*/2` or `1-5/2`; a span over the week's end goes beyond 6."""
    days, slash, step = part.partition("/")
    if slash and (not step.isdecimal() or int(step) < 1):
        raise ValueError(f"`{part}` has no step")
    first, dash, last = ("0", "-", "6") if days == "*" else days.partition("-")
    start = _number(first)
    end = _number(last) if dash else 6 if slash else start
    return range(start, end + 1 if end >= start else end + 8, int(step or 1))


def _number(day: str) -> int:
    if day in _DAYS:
        return _DAYS.index(day)
    if not day.isdecimal() or int(day) > 7:
        raise ValueError(f"`{day}` is no day of the week")
    return int(day)
