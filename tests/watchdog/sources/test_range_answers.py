"""What looks like an answer of Prometheus and is none: refused as a whole, never read in part."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from watchdog.sources import answer
from watchdog.sources.answer import read_range
from watchdog.sources.protocol import Grid
from watchdog.sources.unreadable import TooLarge, Unreadable

GRID = Grid(first_at=600.0, last_at=840.0, step_s=60.0)


def body(points: list[list[Any]], *, series: int = 1, **changes: Any) -> bytes:
    """An answer with these points in each series."""
    result = [{"metric": {"n": str(n)}, "values": points} for n in range(series)]
    told = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    return json.dumps({**told, **changes}).encode()


GOOD: list[list[Any]] = [[600, "1"], [660, "2"], [840, "5"]]


def test_the_answer_that_the_others_change_is_read() -> None:
    (stream,) = read_range(body(GOOD), GRID)
    assert stream.values == pytest.approx([1.0, 2.0, np.nan, np.nan, 5.0], nan_ok=True)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (body(GOOD, status="error", errorType="timeout", error="too slow"), "could not answer: timeout"),
        (body(GOOD, warnings=["one store was down"]), "may be partial"),
        (body(GOOD, data={"resultType": "vector", "result": []}), "not a range"),
        (body([[540, "1"]]), "another time"),
        (body([[900, "1"]]), "another time"),
        (body([[600, "1"], [600, "1"]]), "out of order or twice"),
        (body([[660, "1"], [600, "1"]]), "out of order or twice"),
        (body([[630, "1"]]), "off the grid"),
        (body([[600, 1]]), "not a time and a number"),
        (body([[600, None]]), "not a time and a number"),
        (body([[True, "1"]]), "not a time and a number"),
    ],
)
def test_an_answer_that_is_wrong_in_one_place_is_not_trusted_in_the_others(
    told: bytes, sentence: str
) -> None:
    with pytest.raises(Unreadable, match=sentence):
        read_range(told, GRID)


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-Inf", "1e400"])
def test_what_is_no_finite_number_is_missing_and_not_zero(text: str) -> None:
    (stream,) = read_range(body([[600, "1"], [660, text]]), GRID)
    assert stream.values[0] == 1.0
    assert np.isnan(stream.values[1:]).all()


def test_more_series_than_a_service_can_have_are_not_read() -> None:
    with pytest.raises(TooLarge, match="series"):
        read_range(body([], series=answer._STREAMS_MAX + 1), GRID)
