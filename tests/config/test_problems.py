"""Every kind of error: its code, its place, its words."""

from __future__ import annotations

from pathlib import Path

import pytest

import config
from config.errors import PROBLEMS_MAX, Problem
from tests.config.fake_kinds import ENVIRON, KINDS, VALID, load, write

ERRORS_SERIES = "errors: {kind: ratio, numerator: 'x_total{a=\"b\"}', denominator: x_total}"
HOME = 'home: {kind: web, get: "http://shop/"}'


def problems(folder: Path, *changes: tuple[str, str]) -> list[Problem]:
    """The errors of a valid configuration after those changes."""
    text = VALID
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    with pytest.raises(config.ConfigError) as caught:
        load(folder, text)
    return list(caught.value.problems)


def test_the_configuration_that_the_others_change_is_valid(tmp_path: Path) -> None:
    assert load(tmp_path, VALID).warnings == ()


# change in a service, code, path below the service, part of message or hint or help
IN_SERVICE = [
    ("modee: auto", "unknown-key", "modee", "did you mean `mode`?"),
    ("mode: atuo", "unknown-value", "mode", "did you mean `auto`?"),
    ("mode: approve", "no-target", "rollback", "needs a rollback target"),
    (
        "watch: {for: 45}",
        "unit-missing",
        "watch.for",
        "45 has no unit. Write 45m, or 45s if you meant seconds.",
    ),
    ("watch: {for: 0s}", "bad-value", "watch.for", "greater than 0"),
    ("watch:", "empty", "watch", "watch is empty"),
    ("owner: 1.10", "not-text", "owner", 'owner 1.10 was read as the number 1.1. Write "1.10".'),
    ("owner: true", "not-text", "owner", 'Write "true".'),
    ("owner: [a]", "bad-value", "owner", "valid string"),
    ("budget: {false_rollbacks: 0.005}", "bad-fraction", "budget.false_rollbacks", "Write 1/200 or 0.5%."),
    ("timezone: Mars/Olympus", "unknown-zone", "timezone", "Europe/Berlin"),
    ("runbook: 'javascript:alert(1)'", "bad-url", "runbook", "https://"),
    ("rollback: {target: tt}", "unknown-reference", "rollback.target", "`tt` does not exist. Targets: t."),
    ("rollback: {valid_for: 5m}", "missing-key", "rollback.target", "rollback needs `target`."),
    ("rollback: {targett: t}", "unknown-key", "rollback.targett", "did you mean `target`?"),
    ("depends_on: [shopp]", "unknown-reference", "depends_on[0]", "did you mean `shop`?"),
    ("depends_on: [shop]", "cycle", "depends_on", "depends_on: shop -> shop."),
    ("controls: [shop]", "self-reference", "controls[0]", "its own control"),
    ("maintenance: [{cron: 0 2 * * *}]", "missing-key", "maintenance[0].for", "needs `for`"),
    ("maintenance: [{cron: 0 2 * *, for: 2h}]", "bad-cron", "maintenance[0].cron", "5 fields"),
    (
        "maintenance: [{cron: 0 2 * * 0, for: 2h}, {cron: 0 * * * *, for: 1h}]",
        "bad-value",
        "maintenance[1].for",
        "maintenance of 1h begins again before it is over",
    ),
    ("version: {path: $.v}", "missing-key", "version", "either `http` or `series`"),
    ("version: {http: http://a, series: b}", "missing-key", "version", "either `http` or `series`"),
    ("version: {series: 'rate(x[1m])'}", "ratio-is-a-query", "version.series", "is an expression"),
    ("version: {series: x, source: n}", "unknown-reference", "version.source", "Sources: m."),
]


@pytest.mark.parametrize(("line", "code", "path", "said"), IN_SERVICE)
def test_wrong_in_a_service(tmp_path: Path, line: str, code: str, path: str, said: str) -> None:
    (problem,) = problems(tmp_path, ("  shop:\n", f"  shop:\n    {line}\n"))
    assert (problem.code, problem.path) == (code, f"services.shop.{path}")
    assert said in f"{problem.message} {problem.hint} {problem.help}"
    # `rollback` is not there, so the problem stands at the service that lacks it.
    assert problem.line == (6 if code == "no-target" else 7)
    assert problem.source_line is not None


IN_SERIES = [
    (
        "{kind: ratio, numerater: x, denominator: y}",
        "unknown-key",
        ".numerater",
        "keys of a ratio series: numerator, denominator, source,",
    ),
    ("{kind: ratio, numerator: x}", "missing-key", "", "a ratio series needs `numerator` and `denominator`"),
    (
        "{kind: ratio, numerator: x, denominator: y, gauge: z}",
        "unknown-key",
        ".gauge",
        "not a key of a ratio",
    ),
    (
        "{kind: ratio, numerator: x, denominator: y, query: z}",
        "unknown-key",
        ".query",
        "not a key of a ratio",
    ),
    (
        "{kind: ratio, numerator: 'rate(x[5m])', denominator: y}",
        "ratio-is-a-query",
        ".numerator",
        "rate(x[5m])",
    ),
    ("{kind: ratio, numerator: x / y, denominator: y}", "ratio-is-a-query", ".numerator", "expression"),
    ("{kind: ratio, numerator: 'x{a=b}', denominator: y}", "bad-selector", ".numerator", "not a selector"),
    (
        "{kind: ratio, numerator: 'x{a=~\"(\"}', denominator: y}",
        "bad-selector",
        ".numerator",
        "not a selector",
    ),
    ("{kind: ratio, numerator: 5, denominator: y}", "not-text", ".numerator", 'Write "5"'),
    ("{kind: count}", "missing-key", "", "needs `counter` or `query`"),
    ("{kind: rate, counter: a, query: b}", "two-selectors", "", "more than one"),
    ("{kind: latency, quantile: 0.9}", "missing-key", "", "`histogram` or `gauge` or `query`"),
    ("{kind: latency, histogram: x, quantile: 95}", "bad-value", ".quantile", "less than 1, not `95`"),
    ("{kind: histogram}", "missing-key", "", "a histogram series needs `histogram`"),
    ("{kind: histogram, histogram: x, query: y}", "unknown-key", ".query", "needs `histogram`"),
    (
        "{kind: histogram, histogram: 'rate(x[5m])'}",
        "ratio-is-a-query",
        ".histogram",
        "A finished quantile goes under query of kind latency.",
    ),
    ("{kind: histogram, histogram: x, bad: down}", "bad-direction", ".bad", "only large values are worse"),
    (
        "{kind: histogram, histogram: x, ignore_below: 80ms}",
        "bad-magnitude",
        ".ignore_below",
        "judged by shares of its requests, and `80ms` is none",
    ),
    ("{kind: gauge, counter: x}", "unknown-key", ".counter", "a gauge series needs `gauge` or `query`"),
    ("{kind: gauges, gauge: x}", "unknown-value", ".kind", "did you mean `gauge`?"),
    ("{gauge: x}", "missing-key", ".kind", "a series needs `kind`."),
    ("{kind: gauge, gauge: x, ignore_below: 5}", "unit-missing", ".ignore_below", "5pt"),
    ("{kind: gauge, gauge: x, by: [pod]}", "by-rollout", ".by[0]", "`pod`"),
    ("{kind: gauge, gauge: x, source: mm}", "unknown-reference", ".source", "did you mean `m`?"),
    ("{kind: gauge, gauge: x, bad: sideways}", "unknown-value", ".bad", "up, down"),
    ("{kind: gauge, gauge: x, acts: maybe}", "bad-value", ".acts", "valid boolean"),
    ("5", "bad-value", "", "not `5`"),
]


@pytest.mark.parametrize(("series", "code", "path", "said"), IN_SERIES)
def test_wrong_in_a_series(tmp_path: Path, series: str, code: str, path: str, said: str) -> None:
    found = problems(tmp_path, (ERRORS_SERIES, f"errors: {series}"))
    first = found[0]
    assert (first.code, first.path) == (code, f"services.shop.series.errors{path}")
    assert said in f"{first.message} {first.hint} {first.help}"
    assert len(found) <= 2


IN_CHECK = [
    (
        "{kind: web, gett: x}",
        "unknown-key",
        ".gett",
        "keys of a web check: get, expect, json, from, steps, settle,",
    ),
    ("{kind: web}", "missing-key", ".get", "a web check needs `get`."),
    ("{kind: wep, get: x}", "unknown-kind", ".kind", "did you mean `web`?"),
    ("{get: x}", "missing-key", ".kind", "needs `kind`"),
    ("{kind: web, get: x, every: 5}", "unit-missing", ".every", "Write 5m"),
    ("{kind: web, get: x, every: 0s}", "bad-value", ".every", "greater than 0"),
    ("{kind: web, get: x, settle: 5}", "unit-missing", ".settle", "Write 5m"),
    ("{kind: web, get: x, settle: 0s}", "bad-value", ".settle", "must be above 0s"),
    ("{kind: web, get: x, settle_s: 5s}", "unknown-key", ".settle_s", "did you mean `settle`?"),
    ("{kind: web, get: x, from_: y}", "unknown-key", ".from_", "did you mean `from`?"),
    ("{kind: web, get: x, expect: status = 200}", "bad-expression", ".expect", "`=` is not an operator"),
    (
        "{kind: web, get: x, steps: [{get: y}, {got: y}]}",
        "unknown-key",
        ".steps[1].got",
        "did you mean `get`?",
    ),
    ("{kind: web, get: x, steps: [{get: y, expect: a = b}]}", "bad-expression", ".steps[0].expect", "`==`"),
    ("{kind: web, get: x, steps: 5}", "bad-value", ".steps", "not `5`"),
    ("{kind: web, get: x, json: 5}", "not-text", ".json", 'Write "5"'),
    ("{kind: web, get: }", "empty", ".get", "get is empty"),
    ("{kind: web, get: x, burst: {evry: 5s}}", "unknown-key", ".burst.evry", "did you mean `every`?"),
    ("{kind: web, get: x, cron: 0 0 30 2 *}", "bad-cron", ".cron", "no such day ever comes"),
    ("{kind: web, get: x, cron: 5m}", "bad-cron", ".cron", "`30 2 * * 1-5` is 2:30 on working days"),
    ("{kind: web, get: x, every: 5m, cron: 0 0 * * *}", "two-times", ".cron", "Leave one out"),
    ("{kind: web, get: x, alert: {fail: 3, of: 2}}", "bad-value", ".alert.of", "cannot have 3 failures"),
    ("{kind: web, get: x, alert: {fail: 0}}", "bad-value", ".alert.fail", "not `0`"),
    ("{kind: web, get: x, alert: {after: 3}}", "unknown-key", ".alert.after", "fail, of, recover, page"),
    ("{kind: query, query: x, database: dbb}", "unknown-reference", ".database", "Databases: db."),
]


@pytest.mark.parametrize(("check", "code", "path", "said"), IN_CHECK)
def test_wrong_in_a_check(tmp_path: Path, check: str, code: str, path: str, said: str) -> None:
    (problem,) = problems(tmp_path, (HOME, f"home: {check}"))
    assert (problem.code, problem.path) == (code, f"services.shop.checks.home{path}")
    assert said in f"{problem.message} {problem.hint} {problem.help}"
    assert problem.line == 10


AT_TOP = [
    ("servicess: {}", "unknown-key", "servicess", "did you mean `services`?"),
    ("_env_file: x", "unknown-key", "_env_file", "not a key of the configuration"),
    ("version: 2", "unknown-value", "version", "1"),
    ("environment: Prod", "bad-value", "environment", "pattern"),
    ("api: {listen: nowhere}", "bad-address", "api.listen", "127.0.0.1:8099"),
    ("api: {listen: '1.2.3.4:99999'}", "bad-address", "api.listen", "127.0.0.1:8099"),
    ("api: {listen: 0.0.0.0:8099}", "no-token", "api.listen", "deploy-watchdog token"),
    ("api: {listen: '[::]:8099'}", "no-token", "api.listen", "deploy-watchdog token"),
    ("api: {tokens: {ci: {hash: 'md5:1'}}}", "bad-token-hash", "api.tokens.ci.hash", "64 hex digits"),
    ("api: {tokens: {ci: {}}}", "missing-key", "api.tokens.ci.hash", "needs `hash`"),
    ("api: {tokens: {CI: {hash: x}}}", "bad-name", "api.tokens.CI", "a-z, 0-9 and -"),
    ("self_check: {targets: [gateway]}", "bad-address", "self_check.targets[0]", "gateway.example:443"),
    ("self_check: {targets: ['a:1', 'a:0']}", "bad-address", "self_check.targets[1]", "`a:0`"),
    ("concurrency: {per_host: 0}", "bad-value", "concurrency.per_host", "not `0`"),
    ("alerts: {default: [d]}", "unknown-reference", "alerts.default[0]", "Channels: c."),
    ("alerts: {page: [d]}", "unknown-reference", "alerts.page[0]", "Channels: c."),
    ("alerts: {default: c}", "bad-value", "alerts.default", "should be a list, not `c`."),
    ("limits: {rollbacks_per_day: true}", "bad-value", "limits.rollbacks_per_day", "a number, not `true`"),
    ("single_instance: 1", "bad-value", "single_instance", "should be true or false, not `1`."),
    ("version: true", "bad-value", "version", "should be a number"),
    ("limits: {rollbacks_per_day: -1}", "bad-value", "limits.rollbacks_per_day", "not `-1`"),
    ("defaults: {mode: auto}", "no-target", "services.shop.rollback", "mode auto of shop"),
]


@pytest.mark.parametrize(("line", "code", "path", "said"), AT_TOP)
def test_wrong_at_the_top(tmp_path: Path, line: str, code: str, path: str, said: str) -> None:
    found = problems(tmp_path, ("sources:", f"{line}\nsources:"))
    assert (found[0].code, found[0].path) == (code, path)
    assert said in f"{found[0].message} {found[0].hint} {found[0].help}"


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:80", "'[::1]:8099'", "127.5.5.5:1"])
def test_loopback_needs_no_token(tmp_path: Path, listen: str) -> None:
    load(tmp_path, f"api: {{listen: {listen}}}\n{VALID}")


def test_beyond_loopback_one_token_is_enough(tmp_path: Path) -> None:
    token = f"{{listen: 0.0.0.0:1, tokens: {{ci: {{hash: 'sha256:{'0f' * 32}'}}}}}}"
    load(tmp_path, f"api: {token}\n{VALID}")


def test_with_two_of_them_one_must_be_named(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        ("sources: {m:", "sources: {n: {kind: metrics, url: x}, m:"),
        ("channels: {c:", "channels: {d: {kind: chat, webhook: '${HOOK}'}, c:"),
    )
    assert [(p.code, p.path) for p in found] == [
        ("undecided", "alerts.default"),
        ("undecided", "services.shop.series.errors"),
    ]
    assert "Sources: n, m." in found[1].message


def test_without_any_source_a_series_cannot_be_read(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, ('sources: {m: {kind: metrics, url: "http://m"}}\n', ""))
    assert (problem.code, problem.path) == ("undecided", "services.shop.series.errors")


def test_a_series_and_a_check_cannot_share_a_name(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, ("home:", "errors:"))
    assert (problem.code, problem.path) == ("same-name", "services.shop.series.errors")


def test_every_loop_is_found_once(tmp_path: Path) -> None:
    loops = "".join(
        f"  {name}: {{depends_on: [{other}], checks: {{{HOME}}}}}\n"
        for name, other in ("ab", "ba", "cd", "de", "ec", "fa")
    )
    found = problems(tmp_path, ("  shop:\n", f"{loops}  shop:\n"))
    assert [problem.message.partition(". ")[0] for problem in found] == [
        "depends_on: a -> b -> a",
        "depends_on: c -> d -> e -> c",
    ]


def test_a_dependency_that_two_share_is_no_loop(tmp_path: Path) -> None:
    diamond = "".join(
        f"  {name}: {{depends_on: [{others}], checks: {{{HOME}}}}}\n"
        for name, others in (("a", "b, c"), ("b", "shop"), ("c", "shop"))
    )
    load(tmp_path, VALID.replace("  shop:\n", f"{diamond}  shop:\n"))


def test_a_chain_of_a_thousand_services_is_no_bug(tmp_path: Path) -> None:
    chain = "".join(f"  s{i}: {{depends_on: [s{i + 1}], checks: {{{HOME}}}}}\n" for i in range(1200))
    load(tmp_path, VALID.replace("  shop:\n", f"{chain}  s1200: {{checks: {{{HOME}}}}}\n  shop:\n"))


def test_what_is_doubtful_is_a_warning(tmp_path: Path) -> None:
    text = VALID.replace("  shop:\n", "  shop:\n    mode: auto\n    rollback: {target: t}\n").replace(
        ERRORS_SERIES, "lag: {kind: gauge, query: 'max_over_time(x[5m])'}"
    )
    warnings = load(tmp_path, text).warnings
    assert [(w.code, w.path) for w in warnings] == [
        ("alert-only", "services.shop.mode"),
        ("propose-only", "services.shop.mode"),
        ("smeared", "services.shop.series.lag.query"),
    ]
    assert {w.severity for w in warnings} == {"warning"}
    safe = "single_instance: true\nstep: 5m\n" + text.replace(
        "mode: auto", "mode: auto\n    version: {http: http://v}"
    )
    assert load(tmp_path, safe).warnings == ()


@pytest.mark.parametrize("keys", ["", "series: {}", "checks: {}", "owner: us, depends_on: [shop]"])
def test_a_service_that_nothing_observes_cannot_be_judged(tmp_path: Path, keys: str) -> None:
    (problem,) = problems(tmp_path, ("  shop:\n", f"  cart: {{{keys}}}\n  shop:\n"))
    assert (problem.code, problem.path, problem.line) == ("nothing-to-watch", "services.cart", 6)
    assert "neither series nor checks" in problem.message
    assert "add at least one" in problem.help


def test_a_service_whose_only_series_is_wrong_has_one_error(tmp_path: Path) -> None:
    found = problems(tmp_path, ("  shop:\n", "  cart: {series: {x: {kind: gauges, gauge: x}}}\n  shop:\n"))
    assert [problem.code for problem in found] == ["unknown-value"]


def test_a_configuration_without_services_watches_nothing(tmp_path: Path) -> None:
    assert [w.code for w in load(tmp_path, "environment: prod\n").warnings] == ["nothing-to-watch"]


def test_everything_is_found_in_one_go(tmp_path: Path) -> None:
    text = """\
sources: {m: {kind: metrics, urll: "http://m"}}
targets: {t: {kind: hock, url: x}}
channels: {c: {kind: chat, webhook: "${NOWHERE}"}}
servicess: 1
services:
  Shop: {}
  shop:
    modee: auto
    watch: {for: 45}
    rollback: {target: u}
    depends_on: [cart]
    series:
      errors: {kind: ratio, numerater: x, denominator: 'rate(y[5m])'}
      errors: {kind: count}
    checks:
      home: {kind: web, get: 1.10, expect: status = 200, settle: 7, every: 5}
      away: {kind: query, query: q, database: d}
  cart:
    depends_on: [shop]
    owner: no
"""
    with pytest.raises(config.ConfigError) as caught:
        load(tmp_path, text)
    assert [(p.line, p.code, p.path) for p in caught.value.problems] == [
        (1, "unknown-key", "sources.m.urll"),
        (2, "unknown-kind", "targets.t.kind"),
        (3, "secret-missing", "channels.c.webhook"),
        (4, "unknown-key", "servicess"),
        (6, "bad-name", "services.Shop"),
        (8, "unknown-key", "services.shop.modee"),
        (9, "unit-missing", "services.shop.watch.for"),
        (10, "unknown-reference", "services.shop.rollback.target"),
        (11, "cycle", "services.shop.depends_on"),
        (13, "unknown-key", "services.shop.series.errors.numerater"),
        (13, "ratio-is-a-query", "services.shop.series.errors.denominator"),
        (14, "duplicate-key", "services.shop.series.errors"),
        (16, "not-text", "services.shop.checks.home.get"),
        (16, "unit-missing", "services.shop.checks.home.settle"),
        (16, "unit-missing", "services.shop.checks.home.every"),
        (17, "unknown-reference", "services.shop.checks.away.database"),
        (20, "ambiguous", "services.cart.owner"),
    ]


def test_the_class_is_asked_although_a_field_is_wrong(tmp_path: Path) -> None:
    found = problems(tmp_path, (HOME, "home: {kind: web, get: x, settle: 5, expect: a = b}"))
    assert [p.code for p in found] == ["unit-missing", "bad-expression"]


def test_at_most_fifty_are_shown_and_the_rest_is_counted(tmp_path: Path) -> None:
    many = "".join(f"    key{i}: 1\n" for i in range(60))
    with pytest.raises(config.ConfigError) as caught:
        load(tmp_path, VALID + many.replace("    key", "    kez"))
    assert len(caught.value.problems) == PROBLEMS_MAX
    assert caught.value.left_out == 10
    assert "60 errors in 1 file (10 not shown)" in str(caught.value)


def test_files_that_are_wrong_in_different_ways_are_all_told(tmp_path: Path) -> None:
    one = write(tmp_path, "a: [", "a.yaml")
    two = write(tmp_path, "b: 1\n", "b.yaml")
    with pytest.raises(config.ConfigError) as caught:
        config.load([one, two, tmp_path / "c.yaml"], KINDS, ENVIRON)
    assert [(p.file, p.code) for p in caught.value.problems] == [
        (str(one), "not-yaml"),
        (str(two), "unknown-key"),
        (str(tmp_path / "c.yaml"), "no-file"),
    ]


def test_an_error_is_drawn_with_its_line_and_a_caret(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, ("  shop:\n", "  shop:\n    modee: auto\n"))
    assert (
        problem.render()
        == f"""\
error[unknown-key]: `modee` is not a key of a service.
  --> {tmp_path / "watchdog.yaml"}:7:5   services.shop.modee
  |
7 |     modee: auto
  |     ^^^^^ did you mean `mode`?
help: keys of a service: owner, runbook, mode, timezone, depends_on, maintenance, controls, step, history, \
history_min, rollout_max, budget, watch, always_on, rollback, version, series, checks"""
    )


def test_the_caret_stays_in_view_in_a_long_line(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, (HOME, f"home: {{kind: web, json: {'x' * 5000}, gett: x, get: y}}"))
    drawn, caret = problem.render().splitlines()[3:5]
    assert len(drawn) < 200
    assert drawn[caret.index("^") :].startswith("gett")
