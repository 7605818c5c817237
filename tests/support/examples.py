"""One deploy, its watch, the facts around it and its rollback, for tests that vary one thing at a time."""

from __future__ import annotations

from watchdog.model import Action, Deploy, DeployEvent, Facts, Watch, action_key

NOW = 1_800_000_000.0

EVENT = DeployEvent(
    sender="ci",
    sender_id="1",
    received_at=NOW,
    environment="prod",
    service="checkout",
    to_version="4.12.0",
    state="finished",
)
DEPLOY = Deploy(
    id="d1",
    environment="prod",
    service="checkout",
    kind="code",
    to_version="4.12.0",
    from_version="4.11.3",
    started_at=NOW - 600,
    finished_at=NOW - 500,
)
WATCH = Watch(
    id="w1",
    environment="prod",
    service="checkout",
    deploy_id="d1",
    suspect_ids=("d1",),
    state="observing",
    because="",
    mode="auto",
    opened_at=NOW - 600,
    observe_at=NOW - 500,
    ends_at=NOW + 2000,
)
SAFE = Facts(watch=WATCH, deploy=DEPLOY, epoch=1, live_deploy_id="d1", to_version_state="healthy")
INTENT = Action(
    key=action_key("prod", "checkout", "d1", "1"),
    environment="prod",
    service="checkout",
    deploy_id="d1",
    watch_id="w1",
    step="1",
    target="deployer",
    from_version="4.12.0",
    to_version="4.11.3",
    body=b"{}",
    state="expired",
    because="",
    created_at=NOW - 10,
    valid_until_at=NOW,
    epoch=1,
)
