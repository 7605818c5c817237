"""The host of a request is written out: no answer may choose where our headers go next."""

from __future__ import annotations

import pytest

from checks.scenario import ScenarioCheck
from checks.steps.http import HttpStep


@pytest.mark.parametrize(
    "url", ["http://{host}/pay", "https://shop.example:{port}/", "http://{user}@shop.example/"]
)
def test_a_placeholder_in_the_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="host cannot hold a placeholder"):
        HttpStep(post=url)


def test_one_in_the_path_is_what_placeholders_are_for() -> None:
    steps = (
        HttpStep(post="https://shop.example/orders", extract={"order": "$.id"}),
        HttpStep(get="https://shop.example/orders/{order}?of={order}"),
    )
    assert ScenarioCheck(steps=steps).steps == steps
