"""Five fields as crontab(5) reads them, by the clocks of a time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from config.cron import Cron

BERLIN = ZoneInfo("Europe/Berlin")


def due(text: str, after: str) -> str:
    """When it is due next, as the clocks of Berlin show it."""
    at = datetime.fromisoformat(after).replace(tzinfo=BERLIN).timestamp()
    found = Cron.parse(text).after(at, "Europe/Berlin")
    return datetime.fromtimestamp(found, BERLIN).strftime("%a %Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("30 2 * * *", "2026-11-22T02:29:59", "Sun 2026-11-22 02:30:00"),
        ("30 2 * * *", "2026-11-22T02:30:00", "Mon 2026-11-23 02:30:00"),
        ("*/15 * * * *", "2026-11-22T10:00:00.5", "Sun 2026-11-22 10:15:00"),
        ("0 0 29 2 *", "2026-11-22T00:00:00", "Tue 2028-02-29 00:00:00"),
        # Sunday is 0 and 7; a span may go over the end of the week.
        ("0 0 * * 0", "2026-11-23T12:00:00", "Sun 2026-11-29 00:00:00"),
        ("0 0 * * 7", "2026-11-23T12:00:00", "Sun 2026-11-29 00:00:00"),
        ("0 0 * * 1", "2026-11-23T12:00:00", "Mon 2026-11-30 00:00:00"),
        ("0 0 * * MON-FRI", "2026-11-27T12:00:00", "Mon 2026-11-30 00:00:00"),
        ("0 0 * * fri-mon", "2026-11-23T12:00:00", "Fri 2026-11-27 00:00:00"),
        ("0 0 * * 5-7", "2026-11-28T12:00:00", "Sun 2026-11-29 00:00:00"),
        ("0 0 * * */3", "2026-11-22T12:00:00", "Wed 2026-11-25 00:00:00"),
        ("0 0 * * 1,3", "2026-11-23T12:00:00", "Wed 2026-11-25 00:00:00"),
        ("0 0 * * 2/2", "2026-11-24T12:00:00", "Thu 2026-11-26 00:00:00"),
        # On 28 March 2027 there is no 2:30; on 25 October 2026 there are two.
        ("30 2 * * *", "2027-03-27T12:00:00", "Sun 2027-03-28 03:30:00"),
        ("30 2 * * *", "2026-10-24T12:00:00", "Sun 2026-10-25 02:30:00"),
    ],
)
def test_the_next_time(text: str, after: str, expected: str) -> None:
    assert due(text, after) == expected


def test_it_is_due_by_the_clocks_of_the_zone() -> None:
    at = datetime(2026, 7, 1, tzinfo=ZoneInfo("UTC")).timestamp()
    cron = Cron.parse("0 12 * * *")
    assert cron.after(at, "UTC") - cron.after(at, "Europe/Berlin") == 2 * 3600.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("30 2 * *", "5 fields are needed, not 4"),
        ("61 * * * *", "61"),
        ("* * 30 2 *", "no such day ever comes"),
        ("* * 1 * 1", "a day of the month and a day of the week at once"),
        ("* * * * 8", "`8` is no day of the week"),
        ("* * * * x-y", "`x` is no day of the week"),
        ("* * * * 1/0", "`1/0` has no step"),
        ("* * * * 1/x", "`1/x` has no step"),
        (5, "it is not text"),
    ],
)
def test_what_is_no_time_is_refused_with_what_to_write(text: object, said: str) -> None:
    with pytest.raises(ValueError, match="working days") as caught:
        Cron.parse(text)
    assert said in str(caught.value)
