"""The whole way with real parts: Prometheus with history, PostgreSQL, a deployer, Slack and PagerDuty."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, daemon
from tests.support.pods import Pods, serving
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.prometheus import prometheus_server
from tests.support.receivers import (
    PagerDutyReceiver,
    Received,
    Reply,
    RollbackReceiver,
    SlackReceiver,
    in_thread,
)
from tests.support.servers import wait_until
from watchdog.clock import SystemClock
from watchdog.signing import SigningKeys

CLOCK = SystemClock()
SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS1lMmUtdGVzdC0wMDE="
HISTORY_S = 1800

CONFIGURATION = """
environment: prod
step: 1s
lag: 2s
single_instance: true
sources:
  prom: {{kind: prometheus, url: "{prometheus}"}}
databases:
  orders: {{kind: postgres, dsn: "${{ORDERS_DSN}}"}}
targets:
  deployer: {{kind: webhook, url: "{deployer}/rollback", secret: "${{HOOK_SECRET}}"}}
channels:
  team: {{kind: slack, webhook: "${{SLACK}}"}}
  on-call: {{kind: pagerduty, url: "{pagerduty}", routing_key: "${{PD_KEY}}"}}
alerts: {{default: [team], page: [on-call]}}
services:
  shop:
    mode: auto
    history: 30m
    history_min: 10m
    rollout_max: 6s
    watch: {{for: 25s, warm_up: 2s}}
    rollback: {{target: deployer, confirm_within: 60s}}
    version: {{http: "http://{pods}/version"}}
    series:
      errors:
        kind: ratio
        numerator: 'http_requests_total{{app="shop",code=~"5.."}}'
        denominator: 'http_requests_total{{app="shop"}}'
    checks:
      paid-orders-have-an-amount:
        kind: sql
        database: orders
        every: 1s
        query: select count(*) as n from orders where state = 'paid' and amount_cents is null
        expect: rows[0].n == 0
"""


class Deployer(RollbackReceiver):
    """Goes back to the version it is told, by replacing every pod."""

    def __init__(self, pods: Pods) -> None:
        super().__init__(secret=SECRET)
        self.pods = pods

    def process(self, received: Received) -> Reply:
        executed = sum(self.effects.values())
        reply = super().process(received)
        if sum(self.effects.values()) > executed:
            self.pods.deploy(json.loads(received.body)["to_version"], 0.01, CLOCK.wall_s())
        return reply


@dataclass(slots=True)
class Shop:
    daemon: Daemon
    pods: Pods
    postgres: PostgresServer
    database: str
    deployer: Deployer
    slack: SlackReceiver
    pagerduty: PagerDutyReceiver


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    pods = Pods(at=int(CLOCK.wall_s()))
    history = pods.history(HISTORY_S)
    deployer, slack, pagerduty = Deployer(pods), SlackReceiver(), PagerDutyReceiver()
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server(tmp_path))
        database = postgres.create()
        postgres.execute("create table orders (id int, state text, amount_cents int)", database)
        postgres.execute("insert into orders select n, 'paid', 100 from generate_series(1, 50) n", database)
        address = stack.enter_context(serving(pods, CLOCK))
        prometheus = stack.enter_context(
            prometheus_server(tmp_path, history, {"shop": [address]}, scrape_interval_s=0.5)
        )
        stack.enter_context(in_thread(deployer, slack, pagerduty))
        running = stack.enter_context(
            daemon(
                tmp_path,
                CONFIGURATION.format(
                    prometheus=prometheus, deployer=deployer.url, pagerduty=pagerduty.url, pods=address
                ),
                environ={
                    "ORDERS_DSN": postgres.dsn(database),
                    "HOOK_SECRET": SECRET,
                    "WATCHDOG__API__WEBHOOK_SECRETS": json.dumps([SECRET]),
                    "SLACK": f"{slack.url}/services/T/B/x",
                    "PD_KEY": "0" * 32,
                },
            )
        )
        yield Shop(running, pods, postgres, database, deployer, slack, pagerduty)


@pytest.mark.real
def test_a_bad_deploy_is_rolled_back_once_and_a_good_one_is_not(shop: Shop) -> None:
    good = shop.daemon.deploy("shop", "4.11.3", from_version="4.11.2", id="ci-1")
    shop.pods.deploy("4.11.3", 0.01, CLOCK.wall_s())
    again = tell_signed(shop, {"service": "shop", "version": "4.11.3", "from_version": "4.11.2"})
    assert again["deploy"]["id"] == good["deploy"]["id"]
    assert again["watch"]["id"] == good["watch"]["id"]
    watch = shop.daemon.wait_for_verdict(good["deploy"]["id"], timeout_s=60)
    assert watch["state"] == "healthy", watch["because"]

    # Bad from the first second of its roll-out, and told only when it has finished.
    shop.pods.deploy("4.12.0", 0.12, CLOCK.wall_s())
    shop.postgres.execute("update orders set amount_cents = null where id <= 5", shop.database)
    wait_until(lambda: shop.pods.pods[0].ok > 60, timeout_s=20, what="the roll-out under way")
    bad = shop.daemon.deploy("shop", "4.12.0")
    assert bad["deploy"]["from_version"] == "4.11.3"
    assert bad["deploy"]["finished_at"] - bad["deploy"]["started_at"] == pytest.approx(6.0, abs=0.1)
    watch = shop.daemon.wait_for_verdict(bad["deploy"]["id"], timeout_s=60)
    assert watch["state"] == "regressed", watch["because"]

    wait_until(lambda: shop.daemon.actions()[0]["acked_at"] is not None, timeout_s=20, what="the rollback")
    shop.postgres.execute("update orders set amount_cents = 100", shop.database)
    back = shop.daemon.deploy("shop", "4.11.3", id="ci-3", from_version="4.12.0")
    assert back["deploy"]["kind"] == "rollback"
    assert back["deploy"]["rolls_back"] == bad["deploy"]["id"]
    assert back["watch"]["is_alert_only"]

    wait_until(
        lambda: shop.daemon.actions()[0]["state"] == "confirmed", timeout_s=60, what="the recovery confirmed"
    )
    assert len(shop.daemon.actions()) == 1
    assert sum(shop.deployer.effects.values()) == 1
    assert shop.deployer.unsigned == []

    def texts() -> list[str]:
        return [message["text"] for message in list(shop.slack.messages)]

    # What is confirmed is recorded first and told then.
    wait_until(lambda: any("recovered" in text for text in texts()), timeout_s=20, what="the recovery told")
    assert any("rolling back 4.12.0" in text for text in texts())
    assert not any("4.11.3 (prod) regressed" in text for text in texts())


def tell_signed(shop: Shop, event: dict[str, str]) -> dict[str, dict[str, str]]:
    """Report a deploy as another sender would: by a Standard Webhooks signature instead of a token."""
    body = json.dumps(event).encode()
    headers = SigningKeys.parse([SECRET]).headers(message_id="msg-1", at=CLOCK.wall_s(), body=body)
    request = urllib.request.Request(
        f"{shop.daemon.url}/api/v1/deploys",
        data=body,
        headers={**headers, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, dict[str, str]] = json.loads(response.read())
        return answer
