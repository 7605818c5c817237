"""Kind `rows`: what is true of every row of a table; all rules counted in one query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from checks.blame import Problem
from checks.data.tables import Look, Since, TableCheck, Told, counted, refuse, select
from checks.dialect import refuse_unless_name
from checks.model import Row
from checks.text import hidden, sign

RULES_MAX = 50
VALUES_MAX = 200
SAMPLES_MAX = 5


@dataclass(frozen=True, slots=True)
class _EachRow:
    """A rule on one column of each row.

    name: as it is told. wrong: the condition of a violation, in which `{column}` is the column, `{table}` and
    `{other}` are the `parent`. values: of its places.
    """

    name: str
    column: str
    wrong: str
    parent: tuple[str, str] = ("", "")
    values: Mapping[str, Any] = field(default_factory=dict)

    def _condition(self, look: Look) -> str:
        table, column = self.parent
        names = {"column": look.column(self.column)}
        if table:
            names |= {"table": look.dialect.name(table), "other": look.dialect.name(column)}
        return self.wrong.format_map(names)

    def count(self, look: Look, since: Since | None) -> str:
        """The number of violations, as one column of the counting query."""
        return f"coalesce(sum(CASE WHEN {self._condition(look)} THEN 1 ELSE 0 END), 0)"

    def sample(self, look: Look, since: Since | None, key: str | None) -> str:
        """A statement that gives a few keys of wrong rows."""
        conditions = [*look.conditions(since), self._condition(look)]
        column = look.column(key or self.column)
        return select(f"{column} AS k0", look.table, conditions, then=f"ORDER BY 1 LIMIT {SAMPLES_MAX}")


@dataclass(frozen=True, slots=True)
class _Unique:
    """No two rows have the same values there; a violation is a row beyond the first. NULL equals nothing."""

    name: str
    columns: tuple[str, ...]
    values: ClassVar[Mapping[str, Any]] = {}

    def _groups(self, look: Look, since: Since | None, what: str) -> str:
        source, conditions = look.related(self.columns, since)
        columns = ", ".join(look.column(column) for column in self.columns)
        return select(what, source, conditions, then=f"GROUP BY {columns} HAVING count(*) > 1")

    def count(self, look: Look, since: Since | None) -> str:
        """See `_EachRow.count`."""
        groups = self._groups(look, since, "count(*) AS n")
        return f"({select('coalesce(sum(d.n - 1), 0)', f'({groups}) AS d')})"

    def sample(self, look: Look, since: Since | None, key: str | None) -> str:
        """The repeated values; the rows that have them are as many as they like."""
        keys = ", ".join(f"{look.column(column)} AS k{n}" for n, column in enumerate(self.columns))
        return f"{self._groups(look, since, keys)} ORDER BY 1 LIMIT {SAMPLES_MAX}"


_Rule = _EachRow | _Unique


@dataclass(slots=True, kw_only=True)
class RowsCheck(TableCheck):
    """Every row keeps the rules, all counted in one query; a failure names each broken rule and a few keys.

    not_null: columns that always have a value. unique: columns, or lists of columns, whose values occur once;
    rows with NULL there do not count. accepted_values: column -> the only values it may have, besides NULL.
    orphans: column -> `table.column` in which its values must exist, besides NULL.
    since: only the rows of the last while; a new row that repeats an old one is still found.
    key: the column by which wrong rows are named, as the beginning of its SHA-256 (without it: the value).
    violations_max: so many are let pass.
    Readings: rows, violations, violations_per_million (none for no rows), total_s.
    """

    not_null: tuple[str, ...] = ()
    unique: tuple[str | tuple[str, ...], ...] = ()
    accepted_values: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    orphans: Mapping[str, str] = field(default_factory=dict)
    since: Since | None = None
    key: str | None = None
    violations_max: int = 0
    _rules: tuple[_Rule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        TableCheck.__post_init__(self)
        if self.key is not None:
            refuse("key", refuse_unless_name, self.key)
        if self.violations_max < 0:
            raise ValueError("violations_max: write a number from 0")
        self._rules = (
            *(_not_null(column) for column in self.not_null),
            *(_unique(columns) for columns in self.unique),
            *(_accepted(n, *rule) for n, rule in enumerate(self.accepted_values.items())),
            *(_orphans(*rule) for rule in self.orphans.items()),
        )
        if not 1 <= len(self._rules) <= RULES_MAX:
            raise ValueError(
                f"not_null: write 1 to {RULES_MAX} rules under not_null, unique, accepted_values or orphans"
            )

    async def observe(self, look: Look) -> Told | Problem:
        """See `TableCheck.observe`."""
        row = await self._count(look)
        if isinstance(row, Problem):
            return row
        if self.since is not None:
            newest_s = await look.last_s(row["newest"], self.since.column, self.since.epoch)
            if isinstance(newest_s, Problem):
                return newest_s
        total = int(row["total"])
        counts = [(rule, int(row[f"rule{n}"])) for n, rule in enumerate(self._rules)]
        violations = sum(n for _, n in counts)
        readings = {"rows": float(total), "violations": float(violations)}
        if total:
            readings["violations_per_million"] = violations / total * 1e6
        rows = counted(total, "row")
        details = [f"{sign('fail' if n else 'pass')} {rule.name}: {n} of {rows}" for rule, n in counts]
        if violations <= self.violations_max:
            return Told("pass", readings=readings, details=details)
        broken = [f"{rule.name}: {n}{await self._keys(look, rule)}" for rule, n in counts if n]
        share = f" ({readings['violations_per_million']:.0f} per million)" if total else ""
        told = f"{self.table}: {counted(violations, 'violation')} in {rows}{share}: {'; '.join(broken)}"
        return Told("fail", told, readings, details)

    async def _count(self, look: Look) -> Row | Problem:
        columns = ["count(*) AS total"]
        columns += [f"{rule.count(look, self.since)} AS rule{n}" for n, rule in enumerate(self._rules)]
        if self.since is not None:
            columns.append(f"max({look.column(self.since.column)}) AS newest")
        sql = select(", ".join(columns), look.table, look.conditions(self.since))
        params = {name: value for rule in self._rules for name, value in rule.values.items()}
        return await look.row(sql, {**params, **look.since(self.since)})

    async def _keys(self, look: Look, rule: _Rule) -> str:
        """A few keys of wrong rows; none where that takes longer than there is time."""
        params = {**rule.values, **look.since(self.since)}
        rows = await look.rows(rule.sample(look, self.since, self.key), params, rows_max=SAMPLES_MAX)
        if isinstance(rows, Problem):
            return ""
        keys = [hidden(", ".join(map(str, row.values()))) for row in rows if None not in row.values()]
        return f" ({', '.join(keys)})" if keys else ""


def _not_null(column: str) -> _EachRow:
    refuse("not_null", refuse_unless_name, column)
    return _EachRow(f"not_null {column}", column, "{column} IS NULL")


def _unique(written: str | Sequence[str]) -> _Unique:
    columns = (written,) if isinstance(written, str) else tuple(written)
    for column in columns:
        refuse("unique", refuse_unless_name, column)
    if not columns or len(set(columns)) < len(columns):
        raise ValueError("unique: write a column, or a list of different columns")
    return _Unique(f"unique {', '.join(columns)}", columns)


def _accepted(n: int, column: str, values: Sequence[str | int]) -> _EachRow:
    refuse("accepted_values", refuse_unless_name, column)
    if not 1 <= len(values) <= VALUES_MAX:
        raise ValueError(f"accepted_values: write 1 to {VALUES_MAX} values for {column}")
    places = {f"value{n}_{i}": value for i, value in enumerate(values)}
    listed = ", ".join(f":{place}" for place in places)
    wrong = f"{{column}} NOT IN ({listed})"
    return _EachRow(f"accepted_values {column}", column, wrong, values=places)


def _orphans(column: str, target: str) -> _EachRow:
    refuse("orphans", refuse_unless_name, column)
    table, _, other = target.rpartition(".")
    if not table:
        raise ValueError(f"orphans: {target!r} names no column; write {column}: table.column")
    refuse("orphans", refuse_unless_name, table, parts_max=2)
    refuse("orphans", refuse_unless_name, other)
    wrong = (
        "{column} IS NOT NULL AND NOT EXISTS (" + select("1", "{table} AS p", ["p.{other} = {column}"]) + ")"
    )
    return _EachRow(f"orphans {column}", column, wrong, parent=(table, other))
