"""Kind `freshness`: is the newest row of a table young enough."""

from __future__ import annotations

from dataclasses import dataclass

from checks.blame import Problem
from checks.data.tables import FUTURE_S, Look, TableCheck, Told, refuse, refuse_unless_span, select, span
from checks.dialect import Epoch, as_stored, refuse_unless_name
from checks.text import sign


@dataclass(slots=True, kw_only=True)
class FreshnessCheck(TableCheck):
    """The newest row is no older than `max_age`; no row at all is a failure.

    A row more than one minute in the future does not count: one wrong clock would keep the table fresh for
    years. With an index on the column the check costs one look-up.
    column: when a row came to be, or was changed; a time (UTC where it has no zone) or a number with `epoch`.
    epoch: the column holds numbers: seconds (s) or milliseconds (ms) since 1970.
    max_age_s: of the newest row. Readings: age_s, total_s.
    """

    column: str
    max_age_s: float
    epoch: Epoch | None = None

    def __post_init__(self) -> None:
        TableCheck.__post_init__(self)
        refuse("column", refuse_unless_name, self.column)
        refuse_unless_span("max_age", self.max_age_s)

    async def observe(self, look: Look) -> Told | Problem:
        """See `TableCheck.observe`."""
        now_s, details = look.world.now_s(), []
        newest_s = await look.newest_s(self.column, self.epoch)
        if isinstance(newest_s, float) and newest_s > now_s + FUTURE_S:
            details.append(f"note: there are rows of {span(newest_s - now_s)} in the future")
            newest_s = await self._newest_until(look, now_s + FUTURE_S)
        if isinstance(newest_s, Problem):
            return newest_s
        place = f"{self.table}.{self.column}"
        if newest_s is None:
            return Told("fail", f"{place}: there is no row with a time", details=details)
        age_s = max(0.0, now_s - newest_s)
        told = f"{place}: the newest row is {span(age_s)} old"
        is_fresh = age_s <= self.max_age_s
        return Told(
            "pass" if is_fresh else "fail",
            "" if is_fresh else f"{told}, more than {span(self.max_age_s)}",
            {"age_s": age_s},
            [f"{sign('pass' if is_fresh else 'fail')} {told}", *details],
        )

    async def _newest_until(self, look: Look, until_s: float) -> float | Problem | None:
        column = look.column(self.column)
        known = look.dialect.compared(column, "<=", ":until", self.epoch)
        sql = select(f"max({column}) AS newest", look.table, [*look.conditions(), known])
        row = await look.row(sql, {"until": as_stored(until_s, self.epoch)})
        return row if isinstance(row, Problem) else look.read_time(row["newest"], self.column, self.epoch)
