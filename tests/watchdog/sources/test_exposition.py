"""Pages of metrics: what is asked for is summed, and a page that is wrong anywhere it matters is no page."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.sources.exposition import Demand, read_exposition
from watchdog.sources.selector import parse_selector
from watchdog.sources.unreadable import Unreadable

ALL = Demand(parse_selector("x_total"), ())
BY_CODE = Demand(parse_selector("x_total"), ("code",))
ERRORS = Demand(parse_selector('x_total{code=~"5.."}'), ())
EACH = Demand(parse_selector("depth"), None)


def test_samples_are_summed_over_what_is_not_kept() -> None:
    page = b"""# HELP x_total Requests.
# TYPE x_total counter
x_total{code="200",path="/"} 10
x_total{code="200",path="/b"} 5
x_total { code="500" , path="/" , } 2 1790000000000
x_total_other 7
depth{queue="a"} 1.5
depth{queue="b"} +Inf
"""
    assert read_exposition(page, [ALL, BY_CODE, ERRORS, EACH]) == {
        ALL: {(): 17.0},
        BY_CODE: {(("code", "200"),): 15.0, (("code", "500"),): 2.0},
        ERRORS: {(): 2.0},
        EACH: {(("queue", "a"),): 1.5},
    }


def test_nothing_asked_for_is_no_sum() -> None:
    assert read_exposition(b"y_total 1\n", [ALL]) == {}
    assert read_exposition(b"x_total 1\n", []) == {}


def test_a_sum_with_a_part_that_is_no_number_is_missing() -> None:
    assert read_exposition(b'x_total{a="1"} 5\nx_total{a="2"} NaN\n', [ALL]) == {ALL: {}}


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"  \n",
        b"<html></html>\n",
        b'{"status":"success"}\n',
        b"x_total 1",
        b"x_total one\n",
        b'x_total{code="200} 1\n',
        b"x_total{code} 1\n",
        b"x_total\n",
        b"x_total 1\nx_total 1\n",
        b"\xff\xfe\n",
        b'x_total{a="%d"} 1\n' * 30_000,
        b"".join(b'x_total{code="%d"} 1\n' % i for i in range(3000)),
    ],
)
def test_a_page_that_is_wrong_is_unreadable(page: bytes) -> None:
    with pytest.raises(Unreadable):
        read_exposition(page, [BY_CODE])


def test_lines_of_other_names_are_not_even_parsed() -> None:
    assert read_exposition(b"garbage ={{{\nx_total 1\n", [ALL]) == {ALL: {(): 1.0}}


@settings(max_examples=300)
@given(st.text(st.sampled_from('x_total{}code=",\\ 0159.eE+-NaN#\n'), max_size=60))
def test_any_page_is_read_or_unreadable(text: str) -> None:
    try:
        sums = read_exposition(text.encode(), [ALL, BY_CODE])
    except Unreadable:
        return
    assert set(sums) <= {ALL, BY_CODE}
