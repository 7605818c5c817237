from __future__ import annotations

import pytest

from watchdog.demo.scenario import Flaw, built_in, parse

MINIMAL = """
running: {checkout: "1", payments: "1", stock: "1"}
deploys:
  - name: a
    service: checkout
    version: "2"
    story: s
    expect: {verdict: healthy, action: none, alert: false}
"""


def test_the_built_in_scenario_tells_the_four_stories() -> None:
    scenario = built_in()
    told = {d.name: (d.expect.verdict, d.expect.action, d.expect.alert) for d in scenario.deploys}
    assert told == {
        "healthy": ("healthy", "none", False),
        "broken": ("regressed", "confirmed", True),
        "dark": ("blind", "none", True),
        "surge": ("inconclusive", "none", True),
    }
    assert scenario.flaws() == {("checkout", "4.12.0"): Flaw(lost_payments=0.03, errors=0.1)}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("verdict: healthy", "verdict: fine"), "deploys.0.expect.verdict"),
        (('version: "2"', "version: 2"), "deploys.0.version"),
        (('version: "2"', 'version: "1"'), "checkout 1 comes twice"),
        (("story: s", "story: s, stroy: t"), "stroy"),
        (("running:", "running"), "YAML"),
        (("service: checkout", "service: web"), "deploys.0.service"),
    ],
)
def test_a_wrong_scenario_names_the_place(change: tuple[str, str], problem: str) -> None:
    assert parse(MINIMAL).deploys[0].version == "2"
    with pytest.raises(ValueError, match=problem):
        parse(MINIMAL.replace(*change))
