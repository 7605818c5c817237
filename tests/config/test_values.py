from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from config.values import Fraction, Magnitude, Name, Period, SeriesName, fraction, seconds, written_duration


@pytest.mark.parametrize(
    ("text", "value_s"),
    [
        ("500ms", 0.5),
        ("90s", 90.0),
        ("5m", 300.0),
        ("24h", 86400.0),
        ("7d", 604800.0),
        ("0s", 0.0),
        ("1.5h", 5400.0),
        (" 10s ", 10.0),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, value_s: float) -> None:
    assert seconds(text) == value_s


@pytest.mark.parametrize("number", [45, 45.0, "45"])
def test_a_bare_number_is_refused_with_both_things_it_could_mean(number: Any) -> None:
    with pytest.raises(ValueError, match=r"^45 has no unit. Write 45m, or 45s if you meant seconds.$"):
        seconds(number)


@pytest.mark.parametrize(
    "wrong",
    ["", "m", "5 minutes", "-5s", "5M", "1h30m", "5w", "367d", "nan", "infs", "1e3s", True, None, [5]],
)
def test_what_is_no_duration_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        seconds(wrong)


def test_what_repeats_must_take_time() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        TypeAdapter(Period).validate_python("0s")


@settings(max_examples=200)
@given(st.integers(min_value=0, max_value=366 * 86400 * 10).map(lambda tenths: tenths / 10))
def test_a_written_duration_reads_as_itself(value_s: float) -> None:
    assert seconds(written_duration(value_s)) == pytest.approx(value_s, rel=1e-9)


@pytest.mark.parametrize(("text", "value"), [("1/200", 0.005), ("0.5%", 0.005), ("1/1", 1.0), ("100%", 1.0)])
def test_a_fraction_is_written_as_a_quotient_or_in_percent(text: str, value: float) -> None:
    assert fraction(text) == pytest.approx(value)


@pytest.mark.parametrize("wrong", [0.005, "0.005", "1/0", "0/5", "0%", "3/2", "101%", "a/b", None, True])
def test_what_is_no_fraction_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError, match=r"Write 1/200 or 0.5%."):
        TypeAdapter(Fraction).validate_python(wrong)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5%", Magnitude(relative=0.05)),
        ("0.5pt", Magnitude(absolute=0.005)),
        ("80ms", Magnitude(absolute=0.08)),
        ("2s", Magnitude(absolute=2.0)),
        ("2MiB", Magnitude(absolute=2.0 * 1024 * 1024)),
        ("20 orders", Magnitude(absolute=20.0)),
    ],
)
def test_a_magnitude_is_relative_or_absolute(text: str, value: Magnitude) -> None:
    found = Magnitude.parse(text)
    assert found.relative == pytest.approx(value.relative)
    assert found.absolute == pytest.approx(value.absolute)


@pytest.mark.parametrize("wrong", [5, 0.5, "5", "-5%", "5orders", "%", None])
def test_what_is_no_magnitude_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"Write"):
        Magnitude.parse(wrong)


@pytest.mark.parametrize("name", ["a", "9lives", "shop-core", "a" * 63])
def test_names(name: str) -> None:
    assert TypeAdapter(Name).validate_python(name) == name


@pytest.mark.parametrize("wrong", ["", "Shop", "-a", "a_b", "a/b", "a" * 64, "a\n"])
def test_what_is_no_name(wrong: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(wrong)


@pytest.mark.parametrize("wrong", ["", "9a", "a-b", "A", "_a"])
def test_series_become_parts_of_metric_names(wrong: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(SeriesName).validate_python(wrong)
