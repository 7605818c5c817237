"""What rows and checksums of two tables say. Pure, because a run calls it in a thread."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from checks.data.agreeing import Found
from checks.databases.canonical import NULL, SEPARATOR
from checks.model import Row

Both = tuple[Sequence[Row], Sequence[Row]]


@dataclass(slots=True)
class _Group:
    """The rows of one key. bucket: the fine one. updated_s: the latest; None where none is known."""

    bucket: int
    hashes: list[int] = field(default_factory=list)
    updated_s: float | None = None


@dataclass(frozen=True, slots=True)
class Keyed:
    """The rows of both sides by key. until_s: what was changed later has not had its time."""

    left: Mapping[str, _Group]
    right: Mapping[str, _Group]
    until_s: float

    def differing(self) -> Iterator[str]:
        """The keys that have other rows on the other side, but for those changed too lately to tell."""
        for key in self.left.keys() | self.right.keys():
            if self.is_later(key, self.until_s):
                continue
            left, right = self.left.get(key), self.right.get(key)
            if left is None or right is None or left.hashes != right.hashes:
                yield key

    def updated_s(self, key: str) -> float | None:
        """When the key was last changed on either side, epoch seconds."""
        times = [side[key].updated_s for side in (self.left, self.right) if key in side]
        return max((at for at in times if at is not None), default=None)

    def is_later(self, key: str, at_s: float) -> bool:
        """True if the key was changed after that."""
        latest_s = self.updated_s(key)
        return latest_s is not None and latest_s > at_s

    def bucket(self, key: str) -> int:
        """The fine bucket of a key of either side."""
        return (self.left.get(key) or self.right[key]).bucket

    def found(self, keys: Collection[str]) -> tuple[Found, Found]:
        """The row hashes of these keys on each side."""
        left, right = (
            {key: tuple((each,) for each in side[key].hashes) for key in keys if key in side}
            for side in (self.left, self.right)
        )
        return left, right


def keyed(rows: Both, until_s: float) -> Keyed:
    """Rows of `Statements.rows` by key."""
    left, right = map(_grouped, rows)
    return Keyed(left, right, until_s)


def unequal(rows: Both) -> tuple[dict[int, int], int]:
    """The buckets of `Statements.scan` that differ, each with its rows, and all rows; of the larger side."""
    left, right = map(_summed, rows)
    nothing = (0, 0)
    differing = {
        bucket: max(left.get(bucket, nothing)[0], right.get(bucket, nothing)[0])
        for bucket in sorted(left.keys() | right.keys())
        if left.get(bucket) != right.get(bucket)
    }
    return differing, max(sum(n for n, _ in side.values()) for side in (left, right))


def _summed(rows: Sequence[Row]) -> dict[int, tuple[int, int]]:
    """Each bucket's rows and the sum of their hashes, over all parts in which the table was read."""
    sums: dict[int, tuple[int, int]] = {}
    for row in rows:
        n, total = sums.get(row["bucket"], (0, 0))
        sums[row["bucket"]] = (n + row["n"], total + int(row["total"]))
    return sums


def fitting(rows_of: Mapping[int, int], rows_max: int) -> frozenset[int]:
    """As many of the buckets as have no more rows than that together, but at least one."""
    chosen: set[int] = set()
    rows = 0
    for bucket, n in rows_of.items():
        rows += n
        if chosen and rows > rows_max:
            break
        chosen.add(bucket)
    return frozenset(chosen)


def _grouped(rows: Sequence[Row]) -> dict[str, _Group]:
    names = [name for name in (rows[0] if rows else ()) if name not in ("bucket", "hash", "updated")]
    groups: dict[str, _Group] = {}
    for row in rows:
        texts = (row[name] for name in names)
        key = SEPARATOR.join(NULL if text is None else text for text in texts)
        group = groups.setdefault(key, _Group(row["bucket"]))
        group.hashes.append(row["hash"])
        if row["updated"] is not None:
            at = float(row["updated"])
            group.updated_s = at if group.updated_s is None else max(group.updated_s, at)
    for group in groups.values():
        group.hashes.sort()
    return groups
