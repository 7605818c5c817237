"""The pictures of docs/judging.md are what the judge and the drawing make today."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from watchdog.demo.pictures import main, pictures

DOCS = Path(__file__).parents[3] / "docs"
SVG = "{http://www.w3.org/2000/svg}"

# What each picture is there to show.
VERDICTS = {
    "step.svg": "regressed (evidence)",
    "blip.svg": "healthy (steady)",
    "surge.svg": "inconclusive (shared)",
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return pictures()


def test_the_pictures_in_the_repository_are_what_the_script_makes(drawn: dict[str, str]) -> None:
    kept = {path.name: path.read_text("utf-8") for path in (DOCS / "pictures").iterdir()}
    assert kept == drawn, (
        "run `make pictures`, look at them, and see that docs/judging.md still describes them"
    )


def test_the_page_shows_every_picture(drawn: dict[str, str]) -> None:
    shown = re.findall(r"!\[[^\]]+\]\(pictures/([a-z]+\.svg)\)", (DOCS / "judging.md").read_text("utf-8"))
    assert sorted(shown) == sorted(drawn)


@pytest.mark.parametrize("name", VERDICTS)
def test_a_picture_says_its_verdict_and_needs_nothing_else(drawn: dict[str, str], name: str) -> None:
    root = ElementTree.fromstring(drawn[name])  # noqa: S314  # made by ourselves
    texts = ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]
    assert VERDICTS[name] in texts
    assert "prefers-color-scheme: dark" in drawn[name]
    assert not re.search(r"url\(|@import|href|<script|<image", drawn[name])
    lines = {one.get("class") for one in root.iter(f"{SVG}path")}
    assert lines >= {"ink", "control", "statistic"}


def test_only_the_deploy_that_is_rolled_back_crosses_the_limit(drawn: dict[str, str]) -> None:
    assert [name for name, one in drawn.items() if 'class="cross"' in one] == ["step.svg"]


def test_the_pictures_go_where_they_are_told(tmp_path: Path, drawn: dict[str, str]) -> None:
    main([str(tmp_path / "new")])
    assert {path.name: path.read_text("utf-8") for path in (tmp_path / "new").iterdir()} == drawn
