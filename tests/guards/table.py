"""The table of guards: what each one prevents, the text that is the guard, and the tests that miss it.

One TOML file per part of the product, because an entry is data: a literal of TOML holds source text as it
stands, without an escape.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_REMOVALS = Path(__file__).with_name("removals")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One guard and its removal.

    part: title of the file it is listed in. prevents: what happens without it, in a few words. file: path
    from the root. old, new: `old` stands exactly once in `file`; with `new` in its place the guard is gone.
    tests: node ids without parameters; every one of them must fail without the guard.
    """

    part: str
    name: str
    prevents: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def removed_from(self, source: str) -> str:
        """The source without the guard. Raises ValueError when the old text is not there exactly once."""
        found = source.count(self.old)
        if found != 1:
            raise ValueError(
                f"{self.name}: its text stands {found} times in {self.file}, once is needed. "
                "Update the entry: the guard was moved, changed or lost"
            )
        return source.replace(self.old, self.new)


def guards() -> list[Guard]:
    """Every entry, in the order of the files. Raises ValueError for an entry that is not one."""
    found: list[Guard] = []
    for path in sorted(_REMOVALS.glob("*.toml")):
        listed = tomllib.loads(path.read_text())
        found += [_guard(path.name, listed["title"], entry) for entry in listed["guard"]]
    names = [guard.name for guard in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]}: two guards have this name")
    return found


def _guard(where: str, title: str, entry: dict[str, object]) -> Guard:
    keys = {field.name for field in fields(Guard)} - {"part"}
    if odd := sorted(keys ^ entry.keys()):
        raise ValueError(f"{where}, {entry.get('name')}: {odd[0]} is missing or not known")
    if entry["old"] == entry["new"] or not entry["tests"]:
        raise ValueError(f"{where}, {entry['name']}: it removes nothing or names no test")
    given = {**entry, "tests": tuple(str(test) for test in entry["tests"])}  # type: ignore[attr-defined]  # a list
    return Guard(part=title, **given)  # type: ignore[arg-type]  # the keys were compared above
