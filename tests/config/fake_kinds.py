"""A small registry with every feature of the loader and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

import config
from config.schema import Kinds

ENVIRON: Mapping[str, str] = {"HOOK": "https://hooks.example/SECRETCANARY-env"}


@dataclass(slots=True, kw_only=True)
class Metrics:
    """Fake metrics.

    url: where it listens. timeout_s: of one request; headers: sent with it.
    """

    url: str
    timeout_s: float = 10.0
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    calls: list[str] = field(init=False, repr=False, default_factory=list)


@dataclass(slots=True, kw_only=True)
class Rows:
    """A fake database."""

    dsn: SecretStr


@dataclass(slots=True, kw_only=True)
class Poll:
    """Where to ask."""

    url: str
    pause_s: float = 5.0


@dataclass(slots=True, kw_only=True)
class Hook:
    """A fake target."""

    url: str
    secrets: tuple[SecretStr, ...] = ()
    tries: int = 3
    body: Mapping[str, Any] = field(default_factory=dict)
    status: Poll | None = None


@dataclass(slots=True, kw_only=True)
class Chat:
    """A fake channel."""

    webhook: SecretStr


@dataclass(slots=True, kw_only=True)
class Step:
    """One step."""

    get: str
    expect: str = "status == 200"

    def __post_init__(self) -> None:
        if self.expect.count("=") == 1:
            raise ValueError(f"expect: {self.expect}: `=` is not an operator. Write `==`.")


@dataclass(slots=True, kw_only=True)
class Web:
    """A fake check."""

    get: str
    expect: str = "status == 200"
    json: dict[str, Any] | str | None = None
    from_: str | None = field(default=None, metadata={"yaml": "from"})
    steps: tuple[Step, ...] = ()
    settle_s: float | None = None

    def __post_init__(self) -> None:
        if self.expect.count("=") == 1:
            raise ValueError(f"expect: {self.expect}: `=` is not an operator. Write `==`.")
        if self.settle_s == 0:
            raise ValueError("settle_s: must be above 0s")


@dataclass(slots=True, kw_only=True)
class Query:
    """A fake check of rows."""

    database: str
    query: str


KINDS: Kinds = {
    "sources": {"metrics": Metrics},
    "databases": {"rows": Rows},
    "targets": {"hook": Hook},
    "channels": {"chat": Chat},
    "checks": {"web": Web, "query": Query},
}

VALID = """\
sources: {m: {kind: metrics, url: "http://m"}}
databases: {db: {kind: rows, dsn: "${HOOK}"}}
targets: {t: {kind: hook, url: "http://t"}}
channels: {c: {kind: chat, webhook: "${HOOK}"}}
services:
  shop:
    series:
      errors: {kind: ratio, numerator: 'x_total{a="b"}', denominator: x_total}
    checks:
      home: {kind: web, get: "http://shop/"}
"""


def write(folder: Path, text: str, name: str = "watchdog.yaml") -> Path:
    """A configuration file."""
    path = folder / name
    path.write_text(text)
    return path


def load(folder: Path, text: str, environ: Mapping[str, str] = ENVIRON) -> config.Loaded:
    """The configuration of that text."""
    return config.load([write(folder, text)], KINDS, environ)
