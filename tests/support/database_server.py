"""What database servers for tests have in common: they do not run as root, and hand out databases."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.servers import binary

_NOBODY = 65534


@dataclass(slots=True, kw_only=True)
class DatabaseServer(ABC):
    """A running server on loopback."""

    port: int
    _numbers: Iterator[int] = field(init=False, repr=False, default_factory=lambda: itertools.count(1))

    def create(self) -> str:
        """A new empty database; returns its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    @abstractmethod
    def execute(self, sql: str, database: str = "") -> str:
        """Run statements with the server's own client; returns what it prints, stripped."""


def as_nobody() -> tuple[str, ...]:
    """What to put before a command that must not run as root; empty for other users."""
    if os.geteuid() != 0:
        return ()
    setpriv = binary("setpriv", "util-linux")
    return (setpriv, f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")


@contextmanager
def home_of_server() -> Iterator[Path]:
    """A temporary folder of the user that `as_nobody` stands for, where that user may go.

    Not one of pytest's: those of root are private, and every pytest that root starts makes them so again.
    """
    with tempfile.TemporaryDirectory(prefix="server-") as name:
        home = Path(name)
        give_to_nobody(home)
        yield home


def give_to_nobody(home: Path) -> None:
    """Make a folder and the files in it those of the user that `as_nobody` stands for."""
    if os.geteuid() == 0:
        for path in (home, *home.iterdir()):
            shutil.chown(path, _NOBODY, _NOBODY)
