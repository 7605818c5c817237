"""Each part that the ablation takes out of the judge is still there, and what is left is still Python."""

from __future__ import annotations

import pytest

from benchmarks.deploybench.ablation import PARTS, ROOT, Part, parts_of


@pytest.mark.parametrize("part", parts_of(PARTS), ids=lambda part: part.name)
def test_a_part_can_be_taken_out(part: Part) -> None:
    source = (ROOT / part.file).read_text()
    assert source.count(part.old) == 1
    compile(source.replace(part.old, part.new), part.file, "exec")
