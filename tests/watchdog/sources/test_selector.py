"""Selectors are read as Prometheus reads them, and nothing else passes for one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.sources.selector import Matcher, Selector, parse_selector

LABELS = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).filter(lambda label: label != "__name__")
NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,9}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
EXACT = st.builds(Matcher, LABELS, st.sampled_from(["=", "!="]), TEXT)
REGEX = st.builds(Matcher, LABELS, st.sampled_from(["=~", "!~"]), st.sampled_from(["5..", "a|b", r"\d+", ""]))


@settings(max_examples=300)
@given(NAMES, st.lists(EXACT | REGEX, max_size=4))
def test_a_selector_reads_back_as_itself(name: str, matchers: list[Matcher]) -> None:
    selector = Selector(name, tuple(matchers))
    assert parse_selector(str(selector)) == selector


@settings(max_examples=300)
@given(st.text(st.sampled_from("ab1_:{}=!~\",\\'` 5.[]()"), max_size=30))
def test_any_text_is_a_selector_or_one_clear_error(text: str) -> None:
    try:
        selector = parse_selector(text)
    except ValueError:
        with pytest.raises(ValueError, match="column"):
            parse_selector(text)
        return
    assert parse_selector(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "labels", "is_selected"),
    [
        ("x", {}, True),
        ("x", {"code": "500"}, True),
        ('x{code="500"}', {"code": "500"}, True),
        ('x{code="500"}', {"code": "5000"}, False),
        ('x{code=~"5.."}', {"code": "503"}, True),
        ('x{code=~"5.."}', {"code": "5030"}, False),
        ('x{code!~"5.."}', {"code": "200"}, True),
        ('x{code!~"5.."}', {}, True),
        ('x{code!="500"}', {}, True),
        ('x{code=""}', {}, True),
        ('x{code=~".+"}', {}, False),
        ('x{ app = "a" , code =~ "5..|4.." , }', {"app": "a", "code": "404"}, True),
        ("x{app='a\\'b'}", {"app": "a'b"}, True),
        ("x{app=`a\\b`}", {"app": "a\\b"}, True),
        ('{__name__="x",code="1"}', {"code": "1"}, True),
        ('x{app="}"}', {"app": "}"}, True),
        ('x{app="a\\u00e4\\x41\\101\\n"}', {"app": "aäAA\n"}, True),
    ],
)
def test_which_samples_are_selected(text: str, labels: dict[str, str], is_selected: bool) -> None:
    selector = parse_selector(text)
    assert selector.matches("x", labels) is is_selected
    assert not selector.matches("y", labels)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rate(x[5m])",
        "x[5m]",
        "x offset 5m",
        "sum(x)",
        "a / b",
        'x{code="500"',
        "x{code=500}",
        'x{code=="500"}',
        'x{code=~"("}',
        'x{a="1" b="2"}',
        'x{,a="1"}',
        '{code="1"}',
        '{__name__=~"x|y"}',
        'x{__name__="y"}',
        "x" * 20_000,
    ],
)
def test_what_is_not_a_selector_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ValueError, match="selector"):
        parse_selector(text)
