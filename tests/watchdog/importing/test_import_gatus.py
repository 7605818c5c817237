"""A file in the format of Gatus, taken through the command, validated, and run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml
from aiohttp import web

import config
from watchdog.checking.run import checker
from watchdog.cli import exits, main
from watchdog.clock import SystemClock
from watchdog.importing.gatus import from_gatus
from watchdog.importing.peer import NoEquivalent
from watchdog.kinds import KINDS
from watchdog.plan import plan_services

FILE = """
storage: {type: sqlite, path: /data/data.db}
alerting:
  slack: {webhook-url: "$SLACK_URL"}
  pagerduty: {integration-key: "${PD_KEY}"}
  discord: {webhook-url: "https://discord.example/x"}
endpoints:
  - name: Front end
    group: Shop
    url: "https://shop.example/health"
    interval: 1m30s
    conditions:
      - "[STATUS] == 200"
      - "[BODY].status == UP"
      - "[RESPONSE_TIME] < 300"
      - "[CERTIFICATE_EXPIRATION] > 48h"
    alerts: [{type: slack, failure-threshold: 5}]
  - name: front-end
    group: Shop
    url: "https://shop.example/api"
    method: POST
    graphql: true
    body: "{ users(gender: \\"female\\") { id } }"
    headers: {Content-Type: application/json, X-Token: "${TOKEN}", X-Price: "$$5"}
    client:
      insecure: true
      ignore-redirect: true
      timeout: 5s
      oauth2: {token-url: "https://login.example/", client-id: id, client-secret: "$SECRET", scopes: [a]}
    conditions: ["[STATUS] == 200", "[IP] == 127.0.0.1", "len([BODY].data.users) > 0"]
  - name: cache
    url: "tcp://cache.example:6379"
    body: "PING\\r\\n"
    conditions: ["[CONNECTED] == true", "[BODY] == pat(*PONG*)", "[RESPONSE_TIME] < 50"]
  - name: mail
    url: "starttls://mail.example:587"
    conditions: ["[CONNECTED] == true", "[CERTIFICATE_EXPIRATION] > 240h"]
  - name: ping
    url: "icmp://shop.example"
    conditions: ["[CONNECTED] == true"]
  - name: off
    enabled: false
    url: "https://off.example"
    conditions: ["[STATUS] == 200"]
"""
ENVIRON = {
    "SLACK_URL": "https://hooks.slack.com/services/T0/B0/X",
    "PD_KEY": "0123456789abcdef0123456789abcdef",
    "TOKEN": "token-1",
    "SECRET": "secret-1",
}


@pytest.fixture
def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, list[str]]:
    """The configuration the command wrote, and the lines of what it left out."""
    (tmp_path / "gatus.yaml").write_text(FILE)
    assert main(["import", "gatus", str(tmp_path / "gatus.yaml")]) == exits.HEALTHY
    said = capsys.readouterr()
    (tmp_path / "watchdog.yaml").write_text(said.out)
    return tmp_path / "watchdog.yaml", said.err.splitlines()


def test_the_result_is_a_configuration(imported: tuple[Path, list[str]]) -> None:
    loaded = config.load([imported[0]], KINDS, ENVIRON)
    assert sorted(loaded.checks) == [
        ("cache", "cache"),
        ("mail", "mail"),
        ("shop", "front-end"),
        ("shop", "front-end-2"),
    ]
    assert loaded.settings.alerts.page == ("pagerduty",)
    health, api = loaded.checks["shop", "front-end"], loaded.checks["shop", "front-end-2"]
    assert health.expect == (
        'status == 200 && json.status == "UP" && total < duration("0.3s") && certificate_days > 2'
    )
    assert health.follow_redirects
    assert loaded.settings.services["shop"].checks["front-end"].every == 90.0
    assert api.graphql.query == '{ users(gender: "female") { id } }'
    assert api.headers["X-Token"].get_secret_value() == "token-1"
    assert api.headers["X-Price"].get_secret_value() == "$5"
    assert api.auth.oauth2.client_secret.get_secret_value() == "secret-1"
    assert not api.follow_redirects
    assert loaded.checks["cache", "cache"].expect == "PONG"
    assert (loaded.checks["mail", "mail"].starttls, loaded.checks["mail", "mail"].expect) == (
        "smtp",
        "days > 10",
    )


def test_everything_that_is_left_out_is_named(imported: tuple[Path, list[str]]) -> None:
    left = imported[1]
    assert [line.partition(":")[0] for line in left] == [
        "endpoints[0].alerts",
        "endpoints[1].conditions[1]",
        "endpoints[1].client.insecure",
        "endpoints[2].conditions[2]",
        "endpoints[4]",
        "endpoints[5].enabled",
        "alerting.discord",
        "storage",
        "4 checks; 8 things without an equivalent",
    ]
    assert left[1] == (
        "endpoints[1].conditions[1]: `[IP] == 127.0.0.1`: "
        "addresses are not part of an answer; write `resolve` to choose one"
    )


async def test_an_imported_check_says_what_gatus_would_and_an_absent_field_fails(tmp_path: Path) -> None:
    bodies = iter(['{"status": "UP", "errors": 0}', '{"status": "DOWN", "errors": 0}', '{"status": "UP"}'])

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=next(bodies))

    app = web.Application()
    app.router.add_get("/health", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/health"
        conditions = ["[STATUS] == 200", "[BODY].status == UP", "[BODY].errors < 5"]
        endpoint = {"name": "a", "url": url, "conditions": conditions}
        made = await asyncio.to_thread(from_gatus, yaml.safe_dump({"endpoints": [endpoint]}))
        (tmp_path / "w.yaml").write_text(yaml.safe_dump(made.configuration))
        loaded = config.load([tmp_path / "w.yaml"], KINDS, {})
        plan = plan_services(loaded)["a"].checks[0]
        async with checker({}, SystemClock()) as checking:
            results = [await checking.run(plan) for _ in range(3)]
    finally:
        await runner.cleanup()
    assert [result.outcome for result in results] == ["pass", "fail", "fail"]
    assert results[2].because.endswith("json.errors is absent")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "not YAML"),
        ("- a", "no endpoint"),
        ("endpoints: []", "no endpoint"),
        ("endpoints: [{name: a}]", "no endpoint"),
        ("endpoints: [{name: a, url: 'ftp://x'}]", "no endpoint"),
    ],
)
def test_a_file_without_a_check_is_refused(text: str, told: str) -> None:
    with pytest.raises(NoEquivalent, match=told):
        from_gatus(text)


def test_keys_nobody_knows_and_wrong_types_are_named() -> None:
    made = from_gatus(
        "endpoints: [{name: a, url: 'http://x/', interval: soon, conditions: 5, new-key: 1}]\nfuture: {a: 1}"
    )
    assert {left.path: left.why for left in made.left} == {
        "endpoints[0].interval": "`soon` is not a duration; 1m is used",
        "endpoints[0].conditions": "not what is expected here (list)",
        "endpoints[0].new-key": "this importer does not know it",
        "future": "this importer does not know it",
    }
    assert made.configuration["services"]["a"]["checks"]["a"]["expect"] == "true"


@pytest.mark.parametrize(
    ("kind", "endpoint", "expected"),
    [
        (
            "dns",
            {"url": "8.8.8.8", "dns": {"query-name": "example.com", "query-type": "MX"}},
            {"name": "example.com", "type": "MX", "server": "8.8.8.8", "expect": 'rcode == "NOERROR"'},
        ),
        ("websocket", {"url": "wss://x.example/feed", "body": "hi"}, {"send": "hi"}),
        ("grpc", {"url": "grpcs://x.example:443"}, {"host": "x.example", "port": 443, "tls": {}}),
    ],
)
def test_other_schemes(kind: str, endpoint: dict[str, object], expected: dict[str, object]) -> None:
    conditions = ["[DNS_RCODE] == NOERROR"] if kind == "dns" else ["[CONNECTED] == true"]
    document = {"endpoints": [{"name": "a", **endpoint, "conditions": conditions}]}
    check = from_gatus(yaml.safe_dump(document)).configuration["services"]["a"]["checks"]["a"]
    assert check["kind"] == kind
    assert expected.items() <= check.items()
