"""What a body may say, and what is said of one that may not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.deploys import reading
from watchdog.deploys.reading import read_event
from watchdog.model import DeployEvent

NOW = 1_780_000_000.0
LEAST = {"service": "checkout", "version": "4.9.1"}


def read(body: dict[str, Any], sender_id: str | None = None, now: float = NOW) -> DeployEvent:
    return read_event(body, sender="ci", sender_id=sender_id, environment="prod", now=now)


def test_the_least_body() -> None:
    event = read(LEAST, "msg_1")
    assert event == DeployEvent(
        sender="ci",
        sender_id="msg_1",
        received_at=NOW,
        environment="prod",
        service="checkout",
        to_version="4.9.1",
        state="finished",
    )


def test_the_whole_body() -> None:
    event = read(
        LEAST
        | {
            "from_version": "4.9.0",
            "environment": "prod",
            "kind": "config",
            "state": "failed",
            "started_at": "2026-05-28T20:26:40Z",
            "finished_at": 1_780_000_000,
            "id": "run-17",
            "rollback_safe": False,
            "depends_on": ["payments", "cart", "payments"],
            "author": "A\u0308nne",
            "link": "https://ci.example/run/17?x=1",
        },
        "msg_1",
    )
    assert (event.started_at, event.finished_at) == (1_780_000_000.0, 1_780_000_000.0)
    assert event.sender_id == "run-17/failed"
    assert event.depends_on == ("payments", "cart")
    assert event.author == "\u00c4nne"
    assert (event.kind, event.rollback_safe, event.link) == ("config", False, "https://ci.example/run/17?x=1")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rollback_url": "http://evil"}, "rollback_url: no such key; there are service, version"),
        ({"x\n\x1b" * 300: 1}, r"x\n\x1bx\n\x1b"),
        ({"service": None}, "service: missing"),
        ({"version": None}, "version: missing"),
        ({"service": 7}, "service: 7 is not text"),
        ({"service": "a/b"}, "service: `a/b` is no name"),
        ({"service": "x" * 64}, "service: 64 characters; shorten it to at most 63"),
        ({"version": "v" * 201}, "version: 201 characters"),
        ({"version": "4\n9"}, "version: holds the invisible character U+000A"),
        ({"version": "4\u202e9"}, "version: holds the invisible character U+202E"),
        ({"version": "4\x009"}, "U+0000"),
        ({"version": "\ud800"}, "U+D800"),
        ({"version": " 4"}, "version: empty, or with blanks"),
        ({"version": ""}, "version: empty"),
        ({"version": ["4"]}, "version: a list is not text"),
        ({"environment": "staging"}, "environment: this daemon watches `prod`"),
        ({"kind": "hotfix"}, "kind: hotfix is not one of code, config"),
        ({"kind": []}, "kind: a list is not one of"),
        ({"state": "done"}, "state: done is not one of announced"),
        ({"started_at": "2026-05-28T20:26:40"}, "started_at: 2026-05-28T20:26:40 has no time zone"),
        ({"started_at": "2026-05-28"}, "no time zone"),
        ({"started_at": "yesterday"}, "started_at: yesterday is no time"),
        ({"started_at": True}, "started_at: True is no time"),
        ({"started_at": 1_780_000_000_000}, "divide milliseconds by 1000"),
        ({"started_at": -1}, "started_at: -1 is not in seconds since 1970"),
        ({"started_at": 10**5000}, "started_at: a int is not in seconds"),
        ({"started_at": float("nan")}, "started_at: nan is not"),
        ({"finished_at": float("inf")}, "finished_at: inf is not"),
        ({"started_at": 20, "finished_at": 10}, "finished_at: before started_at"),
        ({"state": "started", "finished_at": 10}, "finished_at: a deploy started has no end"),
        ({"rollback_safe": "no"}, "rollback_safe: no is neither true nor false"),
        ({"depends_on": "cart"}, "depends_on: cart is no list"),
        ({"depends_on": ["cart", 1]}, "depends_on.1: 1 is not text"),
        ({"depends_on": ["checkout"]}, "depends_on: checkout cannot depend on itself"),
        ({"depends_on": ["a"] * 33}, "depends_on: 33 services; name at most 32"),
        ({"author": "x" * 201}, "author: 201 characters"),
        ({"link": "javascript:alert(1)"}, "link: not an http or https URL"),
        ({"link": "https://u:p@host/"}, "link: holds a user or password"),
        ({"link": "https://[::1"}, "link: no valid URL"),
        ({"link": "https://h/" + "x" * 2000}, "link: 2010 characters"),
    ],
)
def test_what_is_refused_names_the_key_and_the_remedy(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r".+: .+") as caught:
        read(LEAST | changes)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 800


def test_a_retry_without_an_id_is_a_duplicate_and_another_telling_is_not() -> None:
    timed = LEAST | {"finished_at": NOW}
    same = {read(timed).sender_id, read(timed, now=NOW + 5000).sender_id}
    other = {
        read(timed | changes).sender_id
        for changes in (
            {"finished_at": NOW + 1},
            {"started_at": NOW - 9},
            {"version": "4.9.2"},
            {"service": "cart"},
            {"state": "failed"},
            {"kind": "config"},
        )
    }
    assert len(same) == 1
    assert len(other | same) == 7


def test_without_id_and_time_a_retry_within_a_quarter_of_an_hour_is_a_duplicate() -> None:
    edge = 900.0 * (NOW // 900.0)
    assert read(LEAST, now=edge).sender_id == read(LEAST, now=edge + 899).sender_id
    assert read(LEAST, now=edge).sender_id != read(LEAST, now=edge + 900).sender_id


def test_one_run_id_is_told_once_per_state() -> None:
    told = {
        read(LEAST | {"id": "run-1", "state": state}, f"msg-{n}").sender_id
        for n, state in enumerate(("announced", "started", "finished", "finished"))
    }
    assert told == {"run-1/announced", "run-1/started", "run-1/finished"}


_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_KEYS = st.sampled_from([*reading._KEYS, "other"])


@settings(max_examples=400)
@given(st.dictionaries(_KEYS, _JUNK, max_size=8))
def test_any_json_is_read_or_refused_with_a_sentence(body: dict[str, Any]) -> None:
    for whole in (body, LEAST | body):
        try:
            event = read(whole)
        except ValueError as error:
            assert ": " in str(error)  # noqa: PT017  read or refused, both are fine
        else:
            assert event.to_version.isprintable()
