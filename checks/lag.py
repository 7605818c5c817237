"""Kind `lag`: how many rows of an outbox or queue wait, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from checks.blame import Problem
from checks.data.tables import Look, TableCheck, Told, counted, refuse, refuse_unless_span, select, span
from checks.dialect import Epoch, refuse_unless_name
from checks.text import sign


@dataclass(slots=True, kw_only=True)
class LagCheck(TableCheck):
    """No row of an outbox or a queue waits for longer than `max_lag`; an empty one is well.

    where: SQL condition on the rows that still wait, as in `sent_at is null`, with plain column names.
    column: since when a row waits; a time (UTC where it has no zone) or a number with `epoch`.
    epoch: the column holds numbers: seconds (s) or milliseconds (ms) since 1970.
    max_lag_s: of the oldest row that waits. max_pending: so many may wait at once.
    Readings: lag_s (of the oldest row that waits; 0 for none), pending, total_s.
    """

    column: str
    max_lag_s: float
    max_pending: int | None = None
    epoch: Epoch | None = None

    def __post_init__(self) -> None:
        TableCheck.__post_init__(self)
        refuse("column", refuse_unless_name, self.column)
        refuse_unless_span("max_lag", self.max_lag_s)
        if self.max_pending is not None and self.max_pending < 0:
            raise ValueError("max_pending: write a number from 0")

    async def observe(self, look: Look) -> Told | Problem:
        """See `TableCheck.observe`."""
        what = f"count(*) AS n, min({look.column(self.column)}) AS oldest"
        row = await look.row(select(what, look.table, look.conditions()))
        if isinstance(row, Problem):
            return row
        oldest_s = look.read_time(row["oldest"], self.column, self.epoch)
        if isinstance(oldest_s, Problem):
            return oldest_s
        pending, readings = int(row["n"]), {"pending": float(row["n"])}
        if oldest_s is not None or not pending:
            now_s = look.world.now_s()
            readings["lag_s"] = 0.0 if oldest_s is None else max(0.0, now_s - oldest_s)
        since = f"the oldest for {span(readings['lag_s'])}" if oldest_s is not None else "none with a time"
        told = f"{self.table}: {counted(pending, 'row')} waiting" + (f", {since}" if pending else "")
        wrong = self._wrong(pending, readings.get("lag_s", 0.0))
        return Told(
            "fail" if wrong else "pass",
            f"{told}, {wrong}" if wrong else "",
            readings,
            [f"{sign('fail' if wrong else 'pass')} {told}"],
        )

    def _wrong(self, pending: int, lag_s: float) -> str:
        if lag_s > self.max_lag_s:
            return f"longer than {span(self.max_lag_s)}"
        if self.max_pending is not None and pending > self.max_pending:
            return f"more than {self.max_pending}"
        return ""
