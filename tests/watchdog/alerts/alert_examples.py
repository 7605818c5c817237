"""One alert and one verdict, for tests that vary one thing at a time."""

from __future__ import annotations

from detectors.model import Evidence, Verdict
from tests.support.examples import DEPLOY, NOW, WATCH
from watchdog.alerts.messages import Routes, alerts_for
from watchdog.model import Decision

EVIDENCE = Evidence(
    series="failed payments",
    state="worse",
    because="0.4 % -> 3.1 % (+2.7 pt, 2.1 to 3.4)",
    statistic=9.1,
    threshold=6.2,
    calibration="own",
    coverage=1.0,
    onset_at=NOW - 380,
    onset_low_at=NOW - 440,
    onset_high_at=NOW - 260,
    shares={"d1": 0.96, "d0": 0.03, "none": 0.008, "before": 0.002},
)
DARK = Evidence(
    series="order latency",
    state="blind",
    because="59 % of points missing",
    statistic=0.0,
    threshold=6.2,
    calibration="own",
    coverage=0.41,
)
VERDICT = Verdict(
    state="regressed",
    reason="evidence",
    because="failed payments 0.4 % -> 3.1 % since 08:53 UTC, 96 % this deploy",
    at=NOW,
    evidence=(EVIDENCE, DARK),
)
ALERT = alerts_for(
    "proposed",
    watch=WATCH,
    deploy=DEPLOY,
    verdict=VERDICT,
    decision=Decision(do="propose", because="mode is approve and the rollback is safe"),
    routes=Routes(default=(), page=("on-call",), public_url="https://watchdog.shop.example/"),
    impact="206 failed payments so far, about 41 a minute",
    safe_to_go_back="yes: 4.11.3 was healthy; no schema change",
    now=NOW,
)[0]
HOSTILE = (
    "<!channel> <@U123> <http://evil|Approve> & @here",
    "\u202egnihton\u202c \x00\x1b[31m\r\nX-Header: y",
    "\ud800 lone",
    "👩‍👩‍👧‍👦" * 1500,
    "e\u0301" * 5000,
    "&" * 5000,
    "🇩🇪" * 2000,
    "```*_~`",
    "x" * 100_000,
    " ",
)
