"""The table of guards is current, and the campaign can tell a proved guard from one that is not."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.guards.campaign import campaign, copied, removal
from tests.guards.page import PAGE, page
from tests.guards.table import ROOT, guards

GUARDS = {guard.name: guard for guard in guards()}
# Pure and quick: they import no server and end in a second.
CHEAP = ("strict-limit", "cool-down", "replay-window")

needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout: git tells what to copy")


def test_the_text_of_every_guard_is_found_exactly_once() -> None:
    for guard in GUARDS.values():
        source = (ROOT / guard.file).read_text()
        removed = guard.removed_from(source)  # raises, and names it, when it is not
        assert removed != source, guard.name
        if guard.file.endswith(".py"):
            # What cannot be read fails every test, and that would prove nothing.
            compile(removed, f"{guard.file} without {guard.name}", "exec", dont_inherit=True)


def test_the_named_tests_exist() -> None:
    named = {test for guard in GUARDS.values() for test in guard.tests}
    texts = {file: (ROOT / file).read_text() for file in {test.partition("::")[0] for test in named}}
    lost = [
        test for test in named if f"def {test.rpartition('::')[2]}(" not in texts[test.partition("::")[0]]
    ]
    assert lost == []


@needs_git
def test_everything_named_is_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    tracked = set(listed.stdout.splitlines())
    named = {guard.file for guard in GUARDS.values()}
    named |= {test.partition("::")[0] for guard in GUARDS.values() for test in guard.tests}
    assert named <= tracked


def test_a_text_that_is_gone_or_stands_twice_is_said() -> None:
    guard = GUARDS["cool-down"]
    for source, times in (("nothing", 0), (guard.old * 2, 2)):
        with pytest.raises(ValueError, match=f"cool-down: its text stands {times} times"):
            guard.removed_from(source)


@needs_git
def test_a_few_guards_are_really_removed() -> None:
    results = list(campaign([GUARDS[name] for name in CHEAP], jobs=2))
    assert {(r.guard.name, r.outcome, r.why) for r in results} == {(name, "killed", "") for name in CHEAP}


@needs_git
def test_what_no_test_notices_is_a_survivor_and_what_breaks_is_no_proof() -> None:
    guard = GUARDS["cool-down"]
    harmless = replace(guard, new=f"{guard.old}  # as before")
    broken = replace(guard, new="this is no Python")
    absent = replace(guard, tests=("tests/watchdog/test_policy.py::test_that_nobody_wrote",))
    with copied() as folder:
        before = (folder / guard.file).read_text()
        outcomes = [removal(each, folder).outcome for each in (harmless, broken, absent)]
        assert outcomes == ["survived", "broken", "broken"]
        assert (folder / guard.file).read_text() == before
        assert not list(Path(folder).glob(".git"))


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(list(GUARDS.values())), "run: python -m tests.guards --markdown"
