"""Kind `replication`: does a replica of PostgreSQL, MySQL or MariaDB receive, and how far is it behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from checks.blame import Problem
from checks.data.tables import refuse_unless_span, span
from checks.databases.asking import ask
from checks.databases.postgres import POSTGRES_LAG_S
from checks.dialect import MYSQL, POSTGRES, Dialect
from checks.model import CheckResult, Row, World
from checks.text import finish, sign

CHANNELS_MAX = 64

# PostgreSQL manual, 9.27.4 "Recovery Control Functions" and 28.2.6 "pg_stat_wal_receiver".
_POSTGRES = f"""
SELECT pg_is_in_recovery() AS is_replica,
       (SELECT count(*) FROM pg_stat_wal_receiver) AS receivers,
       CASE WHEN pg_is_in_recovery() THEN {POSTGRES_LAG_S} ELSE 0 END AS lag_s,
       CASE WHEN pg_is_in_recovery()
            THEN pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END AS pending_bytes
"""  # noqa: S608 our own text
_MYSQL = "SHOW REPLICA STATUS"


@dataclass(slots=True, kw_only=True)
class ReplicationCheck:
    """The replica that `database` is receives from its primary and is no more than `max_lag` behind.

    database: its name under `databases`; the address must lead to the replica itself. A MySQL or MariaDB role
    needs REPLICATION CLIENT or REPLICA MONITOR. max_lag_s: in seconds of the primary's time, whole ones in
    MySQL and MariaDB. Readings: lag_s, total_s; PostgreSQL also pending_bytes (received, not yet replayed).
    """

    database: str
    max_lag_s: float
    _has_succeeded: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._has_succeeded = False
        refuse_unless_span("max_lag", self.max_lag_s)

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        began_s = world.mono_s()
        readings = await self._observe(world)
        if isinstance(readings, Problem):
            details = (f"{sign(readings.outcome)} {readings.because}",)
            return finish(readings.outcome, readings.because, readings={}, details=details)
        self._has_succeeded = True
        told = f"{self.database}: {span(readings['lag_s'])} behind its primary"
        is_late = readings["lag_s"] > self.max_lag_s
        return finish(
            "fail" if is_late else "pass",
            f"{told}, more than {span(self.max_lag_s)}" if is_late else "",
            readings={**readings, "total_s": world.mono_s() - began_s},
            details=(f"{sign('fail' if is_late else 'pass')} {told}",),
        )

    async def _observe(self, world: World) -> Mapping[str, float] | Problem:
        database = world.databases.get(self.database)
        sql, read = (_MYSQL, _mysql) if database is None else _STATUS.get(database.dialect, ("", _mysql))
        if not sql:
            return Problem("error", f"{self.database}: a database of this kind has no replicas")
        rows = await ask(
            world,
            self.database,
            sql,
            {},
            timeout_s=world.timeout_s,
            rows_max=CHANNELS_MAX,
            has_succeeded=self._has_succeeded,
        )
        if isinstance(rows, Problem):
            return rows
        found = read(rows)
        if isinstance(found, str):
            # That it is a replica no more is what happens when it was promoted, or reset.
            is_ours = found == _NO_REPLICA and not self._has_succeeded
            return Problem("error" if is_ours else "fail", f"{self.database}: {found}")
        return found


_NO_REPLICA = "this server is not a replica"


def _postgres(rows: Sequence[Row]) -> Mapping[str, float] | str:
    (row,) = rows
    if not row["is_replica"]:
        return _NO_REPLICA
    if not row["receivers"]:
        return "the replica does not receive from its primary"
    if row["lag_s"] is None or row["pending_bytes"] is None:
        return "the replica has not yet replayed a transaction of its primary"
    return {"lag_s": max(0.0, float(row["lag_s"])), "pending_bytes": float(row["pending_bytes"])}


def _mysql(rows: Sequence[Row]) -> Mapping[str, float] | str:
    """The worst of all channels. Columns are called Slave and Master in MariaDB."""
    if not rows:
        return _NO_REPLICA
    lags: list[float] = []
    for row in rows:
        for thread in ("IO", "SQL"):
            state = row.get(f"Replica_{thread}_Running", row.get(f"Slave_{thread}_Running"))
            if state != "Yes":
                number = row[f"Last_{thread}_Errno"]
                return f"the replica's {thread} thread does not run (state {state}, error {number})"
        lag_s = row.get("Seconds_Behind_Source", row.get("Seconds_Behind_Master"))
        if lag_s is None:
            return "the replica does not know how far it is behind"
        lags.append(float(lag_s))
    return {"lag_s": max(lags)}


_STATUS: Mapping[Dialect, tuple[str, Callable[[Sequence[Row]], Mapping[str, float] | str]]] = {
    POSTGRES: (_POSTGRES, _postgres),
    MYSQL: (_MYSQL, _mysql),
}
