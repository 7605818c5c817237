from __future__ import annotations

import pytest

from config.promql import is_expression, is_selector, longest_range_s


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "job:x:rate5m",
        'x{a="b"}',
        'x { a = "b" , c=~"5..|4..", d!="e", f!~`g`, }',
        "x{}",
        "x{a='(sum(y)[5m])'}",
        r'x{a=~"\\d+\\.\\d"}',
        '{__name__="x",a="b"}',
    ],
)
def test_selectors(text: str) -> None:
    assert is_selector(text)
    assert not is_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "rate(x[5m])",
        "sum(x)",
        "x[5m]",
        "x / y",
        "x + 1",
        "sum by (a) (x)",
        "x offset 5m",
        'rate(x{a="b"}[5m])',
    ],
)
def test_expressions(text: str) -> None:
    assert is_expression(text)
    assert not is_selector(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "{}", '{a="b"}', "x{a=b}", 'x{a="b"', 'x{a=~"("}', 'x{a="b" c="d"}', "x y", "1x", "x{a}"],
)
def test_neither(text: str) -> None:
    assert not is_selector(text)
    assert not is_expression(text)


@pytest.mark.parametrize(
    ("query", "range_s"),
    [
        ("x", 0.0),
        ("rate(x[5m])", 300.0),
        ("rate(x[1h30m]) / rate(y[5m])", 5400.0),
        ("max_over_time(rate(x[5m])[1d:1m])", 86400.0),
        ("x{a='[7d]'}", 0.0),
        ("rate(x[ 500ms ])", 0.5),
        ("rate(x[2w])", 14 * 86400.0),
    ],
)
def test_the_longest_range(query: str, range_s: float) -> None:
    assert longest_range_s(query) == range_s
