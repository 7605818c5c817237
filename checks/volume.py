"""Kind `volume`: did about as many rows come in as should."""

from __future__ import annotations

from dataclasses import dataclass

from checks.blame import Problem
from checks.data.tables import Look, Since, TableCheck, Told, counted, select, span
from checks.dialect import Epoch
from checks.text import sign


@dataclass(slots=True, kw_only=True)
class VolumeCheck(TableCheck):
    """The rows of the last `window` are at least, and at most, so many.

    column: when a row came to be; a time (UTC where it has no zone) or a number with `epoch`.
    epoch: the column holds numbers: seconds (s) or milliseconds (ms) since 1970.
    window_s: how far to look back. at_least: fewer rows are a failure. at_most: more rows are a failure.
    Readings: rows, rows_per_minute, total_s.
    """

    column: str
    window_s: float
    at_least: int | None = None
    at_most: int | None = None
    epoch: Epoch | None = None

    def __post_init__(self) -> None:
        TableCheck.__post_init__(self)
        self._since()
        if self.at_least is None and self.at_most is None:
            raise ValueError("at_least: write at_least, at_most or both")
        if not 0 <= (self.at_least or 0) <= (self.at_most if self.at_most is not None else 10**15):
            raise ValueError("at_least: write a number from 0 up to at_most")

    def _since(self) -> Since:
        return Since(column=self.column, window_s=self.window_s, epoch=self.epoch)

    async def observe(self, look: Look) -> Told | Problem:
        """See `TableCheck.observe`."""
        since = self._since()
        what = f"count(*) AS n, max({look.column(self.column)}) AS newest"
        row = await look.row(select(what, look.table, look.conditions(since)), look.since(since))
        if isinstance(row, Problem):
            return row
        count = int(row["n"])
        newest_s = await look.last_s(row["newest"], self.column, self.epoch)
        if isinstance(newest_s, Problem):
            return newest_s
        told = f"{self.table}: {counted(count, 'row')} in {span(self.window_s)}"
        if not count:
            told += " (the table is empty)" if newest_s is None else f" ({_last(look, newest_s)})"
        wrong = self._wrong(count)
        return Told(
            "fail" if wrong else "pass",
            f"{told}, {wrong}" if wrong else "",
            {"rows": float(count), "rows_per_minute": count / self.window_s * 60.0},
            [f"{sign('fail' if wrong else 'pass')} {told}"],
        )

    def _wrong(self, count: int) -> str:
        if self.at_least is not None and count < self.at_least:
            return f"expected at least {self.at_least}"
        if self.at_most is not None and count > self.at_most:
            return f"expected at most {self.at_most}"
        return ""


def _last(look: Look, newest_s: float) -> str:
    return f"the last one {span(max(0.0, look.world.now_s() - newest_s))} ago"
