"""`deploy-watchdog backtest`: every option's error, its exit codes, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.watchdog.backtest.shop_past import FIRST_AT, HOUR_S, Shop, ShopPast
from watchdog.cli import exits, main

DAYS = 0.25


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> ShopPast:
    shop = Shop(days=DAYS)
    shop.ship(4 * HOUR_S, "1")
    return shop.write(tmp_path_factory.mktemp("shop"), history="3h")


def run(past: ShopPast, *more: str) -> int:
    """A backtest without placebos from the file; later options win over these."""
    usual = [*past.options, "--openmetrics", str(past.file), "--placebos", "0"]
    return main(["backtest", "-c", str(past.config), *usual, *more])


def test_it_prints_a_table_and_ends_with_0(past: ShopPast, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(past) == exits.HEALTHY
    out, err = capsys.readouterr()
    assert out.startswith("Backtest of prod, 2026-09-22 00:00 to 2026-09-22 06:00 UTC")
    assert "? -> 1" in out
    # No bar where there is no terminal.
    assert err == ""


def test_json_on_standard_output_is_all_there_is(past: ShopPast, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(past, "--json", "-") == exits.HEALTHY
    report = json.loads(capsys.readouterr().out)
    assert (report["since_at"], report["deploy_log"]) == (FIRST_AT + 55, str(past.deploys))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--since", "yesterday"], "--since: `yesterday` is no time; write"),
        (["--since", "2026-09-22T00:00:00"], "--since: `2026-09-22T00:00:00` has no time zone"),
        (["--since", "3x"], "--since: `3x` is no time"),
        (["--since", "0d"], "--since: "),
        (["--since", "20m"], "too short for checkout, whose watch takes 1800 s: go back at least 3600 s"),
        (["--until", "-5"], "--until: `-5` is no time"),
        (["--until", "nan"], "--until: `nan` is no time"),
        (["--service", "search"], "--service: there is no `search`. Services: checkout"),
        (["--placebos", "many"], "--placebos: `many` is not a whole number from 0 to 5000"),
        (["--placebos", "5001"], "--placebos: `5001` is not a whole number from 0 to 5000"),
        (["--jobs", "0"], "--jobs: `0` is not a whole number from 1 to 1024"),
        (["--jobs", "²"], "--jobs: `²` is not a whole number"),
        (["--deploys", "/nowhere.jsonl"], "/nowhere.jsonl: No such file"),
        (["--openmetrics", "/nowhere.om"], "/nowhere.om: No such file"),
        (["--json", "/nowhere/report.json"], "/nowhere/report.json: cannot be written"),
        (["--html", "/"], "/: cannot be written"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_with_its_remedy(
    past: ShopPast, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert run(past, *options) == exits.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert said in err


def test_the_future_is_refused(past: ShopPast, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", "-c", str(past.config), "--until", "9999-01-01T00:00:00Z"]) == exits.USAGE
    assert "lies in the future" in capsys.readouterr().err


def test_a_bad_configuration_ends_with_78(past: ShopPast, tmp_path: Path) -> None:
    assert main(["backtest", "-c", str(tmp_path / "none.yaml")]) == exits.CONFIGURATION


def test_a_source_that_cannot_be_reached_ends_with_69(
    past: ShopPast, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backtest", "-c", str(past.config), *past.options]) == exits.UNREACHABLE
    err = capsys.readouterr().err
    assert "no series has any data in this span: prom: " in err
    assert "validate --online" in err


def test_a_damaged_samples_file_ends_with_69(
    past: ShopPast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "samples.db").write_bytes(b"no database " * 1000)
    copy = ShopPast(tmp_path, DAYS)
    Shop(days=DAYS).configure(copy, url="http://127.0.0.1:1")
    copy.deploys.write_text("")
    assert main(["backtest", "-c", str(copy.config), *copy.options]) == exits.UNREACHABLE
    assert "samples.db: file is not a database; move it away" in capsys.readouterr().err
    assert (tmp_path / "state" / "samples.db").read_bytes() == b"no database " * 1000


def test_a_service_without_any_data_ends_with_12(past: ShopPast, tmp_path: Path) -> None:
    text = past.config.read_text()
    dark = "  dark:\n    watch: {for: 30m}\n    series: {load: {kind: gauge, gauge: absent}}\n"
    (tmp_path / "watchdog.yaml").write_text(text + dark)
    usual = [*past.options, "--openmetrics", str(past.file), "--placebos", "0"]
    assert main(["backtest", "-c", str(tmp_path / "watchdog.yaml"), *usual]) == exits.BLIND
