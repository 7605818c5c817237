"""Kind `schema`: what changed in the live schema, and can the previous version still run on it?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from checks.blame import Problem
from checks.catalogue import Change, Snapshot, compare, read, worst
from checks.model import CheckResult, World
from checks.text import finish

UNSAFE_SHOWN_MAX = 3


@dataclass(slots=True, kw_only=True)
class SchemaCheck:
    """Compare the schema with what it was before it last changed: can the version before still run on it?

    The first run takes the schema as it is. From then on every difference gets a verdict: `safe`, `unsafe` or
    `unknown`. One that is unsafe fails the check, one that is unknown is told in the details. To fail is to
    warn that a rollback would break, so this kind never causes one, whatever `acts` says.
    schemas: only these; all of a PostgreSQL database without it, in MySQL the one connected to.
    tables: only tables and views whose name matches one of these patterns: `orders`, `shop.order_*`. Types,
    functions and sequences of the schemas always count.
    accept_after_s: a schema that has stayed as it is for so long is what the next change is compared with.
    rows_max: more columns, constraints and so on than that are an `error`.
    Readings: changes, unsafe, unknown, total_s.
    """

    may_act: ClassVar[bool] = False

    database: str
    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    accept_after_s: float = 86_400.0
    rows_max: int = 20_000
    _baseline: Snapshot | None = field(init=False, repr=False, compare=False)
    _latest: Snapshot | None = field(init=False, repr=False, compare=False)
    _changed_s: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._baseline, self._latest, self._changed_s = None, None, 0.0
        for key, names in (("schemas", self.schemas), ("tables", self.tables)):
            if not all(names):
                raise ValueError(f"{key}: an empty name matches nothing; leave it out")
        if self.accept_after_s <= 0:
            raise ValueError("accept_after: write a duration above 0")
        if not 1 <= self.rows_max <= 200_000:
            raise ValueError("rows_max: write a number from 1 to 200000")

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        began_s = world.mono_s()
        found = await read(
            world,
            self.database,
            schemas=self.schemas,
            tables=self.tables,
            rows_max=self.rows_max,
            has_succeeded=self._latest is not None,
        )
        if isinstance(found, Problem):
            return finish(found.outcome, found.because, readings={})
        if self._baseline is None and not found.relations:
            because = (
                f"{self.database}: there is no table or view to see; look at schemas, tables and the role"
            )
            return finish("error", because, readings={})
        is_first = self._latest is None
        baseline = self._compared_with(found, world.mono_s())
        changes = await asyncio.to_thread(compare, baseline, found)
        seen = f"{len(found.relations)} tables and views, "
        seen += "with which the next runs compare" if is_first else _counted(changes)
        return _told(changes, seen, world.mono_s() - began_s)

    def _compared_with(self, found: Snapshot, now_s: float) -> Snapshot:
        """The schema before the last change; it gives way when nothing changed for `accept_after_s`."""
        if self._latest is None or now_s - self._changed_s >= self.accept_after_s:
            self._baseline = self._latest or found
        if found != self._latest:
            self._latest, self._changed_s = found, now_s
        return self._baseline or found


def _counted(changes: Sequence[Change]) -> str:
    counts = Counter(change.verdict for change in changes)
    by_verdict = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("unsafe", "unknown", "safe"))
    return f"{len(changes)} changes: {by_verdict} for the previous version"


def _told(changes: Sequence[Change], seen: str, total_s: float) -> CheckResult:
    counts = Counter(change.verdict for change in changes)
    readings = {
        "changes": float(len(changes)),
        "unsafe": float(counts["unsafe"]),
        "unknown": float(counts["unknown"]),
    }
    details = [seen, *(f"{change.verdict:7} {change}" for change in changes)]
    if worst(changes) != "unsafe":
        return finish("pass", readings={**readings, "total_s": total_s}, details=details)
    unsafe = [str(change) for change in changes if change.verdict == "unsafe"]
    more = f"; and {len(unsafe) - UNSAFE_SHOWN_MAX} more" if len(unsafe) > UNSAFE_SHOWN_MAX else ""
    because = "the previous version cannot run on this schema: " + "; ".join(unsafe[:UNSAFE_SHOWN_MAX]) + more
    return finish("fail", because, readings=readings, details=details)
