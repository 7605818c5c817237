"""The API over the real store: what was decided and stored is what is told and drawn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.board import (
    LOCAL_TOKEN,
    NOW,
    STARTED_AT,
    FakeDaemon,
    a_deploy,
    a_watch,
    an_action,
    example_packet,
)
from tests.support.examples import EVENT
from tests.watchdog.api.conftest import Site, site_of
from watchdog.model import Decision, Intake, Ruling
from watchdog.store.sqlite import SqliteStore

DEPLOY = a_deploy("d-checkout", "checkout", "4.12.0", STARTED_AT, from_version="4.11.3", author="dana")


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Site]:
    """One deploy that regressed and waits for approval, written through the store's own transactions."""
    store = SqliteStore(tmp_path / "state.db")
    await store.open(NOW)
    packet = example_packet(DEPLOY)
    watch = a_watch(DEPLOY, "observing", "watching", mode="approve")
    event = replace(EVENT, received_at=NOW)
    await store.take_in(event, lambda *_: Intake(deploy=DEPLOY, watch=watch, is_duplicate=False), NOW)
    closed = replace(watch, state="regressed", because=packet["verdict"]["because"], closed_at=NOW)
    ruling = Ruling(
        decision=Decision(do="propose", because="mode is approve"),
        watch=closed,
        packet=packet,
        action=an_action(DEPLOY, watch, "awaiting_approval", epoch=store.epoch),
        audit="rollback of checkout proposed",
    )
    await store.transact(watch.id, lambda facts: ruling, NOW)
    daemon = FakeDaemon()
    daemon.store = store  # type: ignore[assignment]
    async with site_of(daemon) as site:
        yield site
    await store.close()


async def test_what_was_stored_is_told(stored: Site) -> None:
    found = await (await stored.ask("GET", "/api/v1/deploys/d-checkout")).json()
    assert found["watch"]["state"] == "regressed"
    assert found["verdict"]["because"] == found["watch"]["because"]
    assert found["actions"][0]["state"] == "awaiting_approval"
    drawn = (await (await stored.ask("GET", "/api/v1/watches/w-d-checkout/chart")).json())["chart"]
    assert [one["problem"] for one in drawn["series"]] == [None] * 6
    audit = (await (await stored.ask("GET", "/api/v1/audit")).json())["audit"]
    assert "rollback of checkout proposed" in [row["what"] for row in audit]


async def test_every_page_is_made_from_it(stored: Site) -> None:
    for path in ("/", "/d/d-checkout", "/s/checkout", "/audit"):
        response = await stored.ask("GET", path)
        assert response.status == 200
        assert "checkout" in await response.text()
    assert "Waiting for approval" in await (await stored.ask("GET", "/d/d-checkout")).text()


async def test_metrics_are_text_that_prometheus_reads(stored: Site) -> None:
    response = await stored.ask("GET", "/metrics", token=LOCAL_TOKEN)
    assert response.content_type == "text/plain"
    assert "# TYPE watchdog_api_auth_failures_total counter" in await response.text()
