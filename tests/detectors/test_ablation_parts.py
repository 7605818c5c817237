"""Each part that the ablation takes out of the judge is still there, and what is left is still Python."""

from __future__ import annotations

import json
import re
from itertools import islice

import pytest

from benchmarks.deploybench.ablation import PARTS, ROOT, Part, parts_of
from benchmarks.deploybench.made_up import FAMILIES, MadeUp, made_up
from watchdog.judging.blackbox import BlackBox


@pytest.mark.parametrize("part", parts_of(PARTS), ids=lambda part: part.name)
def test_a_part_can_be_taken_out(part: Part) -> None:
    source = (ROOT / part.file).read_text()
    assert source.count(part.old) == 1
    compile(source.replace(part.old, part.new), part.file, "exec")


@pytest.mark.parametrize("part", parts_of(PARTS), ids=lambda part: part.name)
def test_a_part_is_felt_in_families_that_exist(part: Part) -> None:
    assert part.families
    for family in part.families:
        known = re.fullmatch(r"[nop]_[a-z_]+|[cs]_[a-z]+_(60|300)", family)
        assert known or family in FAMILIES, family


@pytest.mark.parametrize("family", FAMILIES)
def test_most_made_up_cases_are_judged_as_they_should_be(family: str) -> None:
    assert sum(_is_right(one) for one in islice(made_up(family), 3)) >= 2


def _is_right(one: MadeUp) -> bool:
    box = BlackBox()
    assert box.answer(json.loads(json.dumps(one.case, allow_nan=False))) is None
    said = [box.answer(json.loads(json.dumps(tick, allow_nan=False))) for tick in one.ticks]
    confirmed = [i for i, answer in enumerate(said) if answer is not None and answer["confirm"]]
    return one.is_right(min(confirmed, default=None))
