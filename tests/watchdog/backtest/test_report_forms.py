"""The report as JSON, on a terminal and as one page: complete, strict, and never code from a name."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace

import jsonschema
import pytest

from tests.support.examples import DEPLOY
from tests.watchdog.backtest.report_material import (
    a_report,
    a_service,
    outcome,
    plan,
    replayed,
    series,
    verdict,
)
from watchdog.backtest import page, table
from watchdog.backtest.report import Report, as_json, json_schema
from watchdog.model import Decision

SIZES = ({"latency": None}, {"latency": 600.0}, {"latency": 300.0}, {"latency": 60.0})
WOULD = {
    "observe": Decision(do="alert", because="mode observe"),
    "approve": Decision(do="propose", because="mode approve"),
    "auto": Decision(do="roll_back", because="within the limits"),
}


def whole(evil: str = "") -> Report:
    """A report in which everything there is to show occurs; evil: a part of every text from outside."""
    deploy = replace(DEPLOY, to_version=f"4.12.0{evil}")
    alarm = outcome("regressed", fired={"latency": 60.0}, verdict=verdict("regressed", because=f"rose{evil}"))
    noted = plan(series("latency"), series(f"memory{evil}", acts=False))
    service = a_service(
        [outcome(injected=SIZES)] * 8 + [alarm, outcome("inconclusive"), outcome("blind")],
        of=noted,
        deploys=[
            replayed(deploy, "regressed"),
            replayed(replace(DEPLOY, id="d2"), "healthy", history_s=60.0),
        ],
        decisions={"d1": WOULD},  # type: ignore[dict-item]
        coverage=0.5,
        problems={"checkout/latency": f"prom: {evil}"},
    )
    return a_report(service, replace(service, service=f"search{evil}"), notes=(f"careful{evil}",))


def test_the_json_is_strict_and_fits_its_schema() -> None:
    text = as_json(whole())
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(text))
    assert json.loads(text)["schema"] == "deploy-watchdog/backtest/v1"


def test_the_table_says_everything_in_110_columns() -> None:
    text = table.render(whole())
    assert max(map(len, text.splitlines())) <= 110
    for words in (
        "note: careful",
        "11 of 22 there is room for: 1 blind, 8 healthy, 1 inconclusive, 1 regressed",
        "1 of 10 (10.0 %, 1.8 to 40.4); allowed 0.5 %",
        "! 2026-09-22 16:00  rose",
        "* informs only, never acts",
        "+10 % 0%                +25 % 100% (10 min)",
        "4.11.3 -> 4.12.0          regressed (evidence) after 5 min, then healthy",
        "approve: propose: mode approve",
        "auto: roll back: within the limits",
        "1 of 2 were compared with less than the 7 days of `history`",
        "suggestions",
    ):
        assert words in text, words


def test_a_long_log_lists_only_what_was_not_healthy() -> None:
    many = [replayed(replace(DEPLOY, id=f"h{i}"), "healthy") for i in range(40)]
    text = table.render(a_report(a_service([outcome()], deploys=[*many, replayed(DEPLOY, "regressed")])))
    assert "40 were healthy and are not listed here" in text
    assert text.count("4.11.3 -> 4.12.0") == 1


def test_what_every_mode_would_have_done_is_said_once() -> None:
    same = dict.fromkeys(WOULD, Decision(do="alert", because="no target"))
    report = a_report(a_service([outcome()], deploys=[replayed(DEPLOY, "regressed")], decisions={"d1": same}))  # type: ignore[dict-item]
    assert "in every mode: alert: no target" in table.render(report)


class Tags(html.parser.HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.mark.parametrize(
    "evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'&`</title>"]
)
def test_no_name_or_text_from_outside_becomes_markup(evil: str) -> None:
    plain, attacked = Tags(page.render(whole())), Tags(page.render(whole(evil)))
    # A backtick makes `code`; nothing else may come of a text.
    assert [tag for tag, _ in attacked.seen if tag != "code"] == [
        tag for tag, _ in plain.seen if tag != "code"
    ]
    assert not any(tag in ("script", "img", "iframe", "link") for tag, _ in attacked.seen)
    assert not any(
        name.startswith("on") or name in ("src", "style") for _, names in attacked.seen for name in names
    )


def test_the_page_needs_nothing_from_anywhere() -> None:
    text = page.render(whole())
    assert """content="default-src &#x27;none&#x27;; style-src &#x27;unsafe-inline&#x27;\"""" in text
    assert re.findall(r'(?:href|src|url\()="?([^"#)]*)', text) in ([], ["", ""])
    for words in (
        "Suggestions",
        "False alarms",
        "What is found, and how fast",
        "1 of 2 were healthy",
        "was then",
    ):
        assert words in text, words
    assert text.count("<svg") >= 6
