"""The real deploys of the past: from a file as the API takes them, and from the daemon's own store."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.examples import DEPLOY, WATCH
from tests.support.sample_plan import a_plan
from watchdog.backtest.deploylog import BadDeploys, read_file, read_store
from watchdog.backtest.watched import is_replayed, watched
from watchdog.store import rows
from watchdog.store.files import look, open_checked

PLANS = {"checkout": a_plan(), "search": a_plan(name="search")}
AT = "2026-09-22T10:00:00Z"
AT_S = 1_790_071_200.0


def log(folder: Path, text: str, name: str = "deploys.jsonl") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def line(**event: Any) -> str:
    return json.dumps({"service": "checkout", **event})


@pytest.mark.parametrize(
    "text",
    [
        f'{{"service": "checkout", "version": "4.12.0", "finished_at": "{AT}"}}\n\n',
        f'[{{"service": "checkout", "version": "4.12.0", "finished_at": "{AT}"}}]',
        f"- {{service: checkout, version: 4.12.0, finished_at: {AT}}}\n",
        f"deploys:\n  - {{service: checkout, version: 4.12.0, finished_at: {AT}}}\n",
    ],
)
def test_lines_lists_and_yaml_are_read_alike(tmp_path: Path, text: str) -> None:
    read = read_file(log(tmp_path, text), PLANS)
    assert [(d.service, d.to_version, d.finished_at) for d in read.deploys] == [("checkout", "4.12.0", AT_S)]
    assert read.origin == str(tmp_path / "deploys.jsonl")


def test_events_go_the_way_of_every_event(tmp_path: Path) -> None:
    """What two senders say of one deploy is one; versions follow from each other."""
    twice = line(version="2", id="a", finished_at=1790080000)
    lines = [
        line(version="1", started_at=1790071200, finished_at=1790071260),
        twice,
        twice,
        line(version="2", id="b", started_at=1790079900, finished_at=1790080010),
        line(service="elsewhere", version="9", finished_at=1790071200),
    ]
    read = read_file(log(tmp_path, "\n".join(lines)), PLANS)
    assert [(d.to_version, d.from_version) for d in read.deploys] == [("1", None), ("2", "1")]
    assert read.left_out == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"service": "checkout"', ":1: not JSON"),
        ('{"service": "checkout", "version": "1"}', ":1: finished_at: missing"),
        ('{"service": "checkout", "version": "1", "finished_at": "2026-09-22T10:00:00"}', ":1: finished_at"),
        ('{"version": "1", "finished_at": 1790071200}', ":1: service"),
        (
            '[{"service": "checkout", "version": "1", "finished_at": 1790071200, "colour": 1}]',
            ": deploy 1: colour",
        ),
        ("[7]", ": deploy 1: not a deploy"),
        ("deploys: 7", "not a list of deploys"),
        ("a: [", ":1: neither JSON lines nor YAML"),
        ("a: !!python/object:os.system {}", "neither JSON lines nor YAML"),
        ("[" * 3000, "nested too deep"),
    ],
)
def test_what_is_no_deploy_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadDeploys) as refused:
        read_file(log(tmp_path, text), PLANS)
    assert said in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDeploys, match="No such file"):
        read_file(tmp_path / "none.jsonl", PLANS)
    (tmp_path / "latin.jsonl").write_bytes(b"\xe9")
    with pytest.raises(BadDeploys, match="not UTF-8 at byte 0"):
        read_file(tmp_path / "latin.jsonl", PLANS)


def test_the_store_is_read_and_nothing_of_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    db = open_checked(path)
    try:
        rows.insert(db, DEPLOY)
        rows.insert(db, WATCH)
    finally:
        db.close()
    before = {file.name: hashlib.sha256(file.read_bytes()).digest() for file in tmp_path.iterdir()}
    read = read_store(path, PLANS)
    assert read.deploys == (DEPLOY,)
    assert read.recorded == {DEPLOY.id: WATCH.state}
    assert read.left_out == 0
    assert read_store(path, {"search": PLANS["search"]}).left_out == 1
    after = {file.name: hashlib.sha256(file.read_bytes()).digest() for file in tmp_path.iterdir()}
    assert after == before


def test_a_store_under_a_running_daemon_is_read_with_what_is_not_yet_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    db = open_checked(path)
    try:
        rows.insert(db, DEPLOY)
        assert read_store(path, PLANS).deploys == (DEPLOY,)
        looking = look(path)
        with pytest.raises(Exception, match="readonly database"):
            looking.execute("DELETE FROM deploy")
        looking.close()
    finally:
        db.close()


def test_what_is_no_store_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello, this is no database at all" * 100)
    with pytest.raises(BadDeploys, match="name the deploys with --deploys"):
        read_store(tmp_path / "text.db", PLANS)
    (tmp_path / "empty.db").write_bytes(b"")
    with pytest.raises(BadDeploys, match="another program"):
        read_store(tmp_path / "empty.db", PLANS)


def test_overlapping_deploys_are_suspects_of_each_other_and_a_rollback_ends_the_watch(tmp_path: Path) -> None:
    lines = [
        line(version="1", started_at=1790071200, finished_at=1790071201),
        line(version="2", started_at=1790071221, finished_at=1790071222),
        line(version="1", kind="rollback", started_at=1790071241, finished_at=1790071242),
        line(version="3", state="failed", started_at=1790079900, finished_at=1790080010),
    ]
    found = watched(read_file(log(tmp_path, "\n".join(lines)), PLANS).deploys, PLANS)
    first, second, back, failed = found
    assert [other.to_version for other in first.suspects] == ["2", "1"]
    assert [other.to_version for other in second.suspects] == ["1"]
    assert second.watch.state == "superseded"
    assert second.watch.closed_at == 1790071242.0
    assert back.watch.is_alert_only
    assert [is_replayed(each.watch) for each in found] == [True, True, True, False]
    assert failed.watch.state == "cancelled"
    assert {each.watch.mode for each in (first, second, back)} == {"auto"}
