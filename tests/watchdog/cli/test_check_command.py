"""`deploy-watchdog check run`: one check, now, with everything it saw."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from watchdog.cli import exits, main

CONFIGURATION = """
databases: {{shop: {{kind: sqlite, path: "{folder}/shop.db"}}}}
services:
  checkout:
    checks:
      named: {{kind: rows, every: 1m, database: shop, table: orders, not_null: [sku]}}
      gone: {{kind: rows, every: 1m, database: shop, table: orders, not_null: [colour]}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.executescript("CREATE TABLE orders (id, sku); INSERT INTO orders VALUES (1, 'tea'), (2, NULL);")
    path = tmp_path / "watchdog.yaml"
    path.write_text(CONFIGURATION.format(folder=tmp_path))
    return path


def test_what_it_saw_its_readings_and_the_outcome(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "run", "checkout/named", "-c", str(file)]) == exits.REGRESSED
    seen, readings, outcome = capsys.readouterr().out.splitlines()
    assert seen == "  FAIL not_null sku: 1 of 2 rows"
    assert readings.startswith("  readings  rows 2, violations 1, violations_per_million 5e+05, total_s 0.0")
    assert outcome.startswith("fail in 0.")
    assert outcome.endswith("s: orders: 1 violation in 2 rows (500000 per million): not_null sku: 1")


def test_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "run", "checkout/named", "-c", str(file), "--json"]) == exits.REGRESSED
    said = json.loads(capsys.readouterr().out)
    assert (said["outcome"], said["readings"]["violations_per_million"]) == ("fail", 500_000.0)


def test_what_it_cannot_tell_is_no_failure(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "run", "checkout/gone", "-c", str(file)]) == exits.BLIND
    assert "error in 0." in capsys.readouterr().out


def test_an_unknown_name_lists_those_there_are(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "run", "checkout/nmed", "-c", str(file)]) == exits.USAGE
    assert "help: checks: checkout/gone, checkout/named" in capsys.readouterr().err
