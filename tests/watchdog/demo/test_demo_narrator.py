from __future__ import annotations

import io

import pytest

from watchdog.demo.narrator import Narrator, Outcome
from watchdog.demo.scenario import built_in

BROKEN = next(deploy for deploy in built_in().deploys if deploy.name == "broken")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def outcome(verdict: str = "regressed", action: str = "confirmed", alerted: bool = True) -> Outcome:
    because = "errors rose from 1.2 % to 7.0 %. " * 12
    return Outcome(
        planned=BROKEN, watch_id="w", verdict=verdict, action=action, because=because, alerted=alerted
    )


@pytest.mark.parametrize(
    ("changed", "is_expected"),
    [
        ({}, True),
        ({"verdict": "healthy"}, False),
        ({"action": "none"}, False),
        ({"action": "unconfirmed"}, False),
        ({"alerted": False}, False),
    ],
)
def test_an_outcome_is_as_expected_only_if_all_of_it_is(
    changed: dict[str, object], is_expected: bool
) -> None:
    assert outcome(**changed).is_as_expected is is_expected  # type: ignore[arg-type]  # a table of any fields


def test_the_table_says_what_was_expected_and_what_came() -> None:
    out = io.StringIO()
    Narrator(out).table([outcome(), outcome(verdict="healthy", action="none")])
    head, good, *rest = [line for line in out.getvalue().splitlines() if line]
    assert head.split() == ["deploy", "expected", "daemon", "said", "rollback", "because"]
    assert good.startswith("ok checkout 4.12.0 (broken)")
    assert "regressed, alert, rollback" in good
    assert "confirmed" in good
    assert any(line.startswith("NO checkout 4.12.0") for line in rest)
    told = " ".join(line.split("  ")[-1].strip() for line in [good, *rest])
    assert "errors rose from 1.2 % to 7.0 %." in told


def test_colour_only_on_a_terminal_and_never_under_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    file, terminal = io.StringIO(), Terminal()
    Narrator(file).say("text", "bold")
    Narrator(terminal).say("text", "bold")
    assert "\x1b" not in file.getvalue()
    assert "\x1b[1mtext\x1b[0m" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Narrator(plain).say("text", "bold")
    assert "\x1b" not in plain.getvalue()


def test_a_quiet_narrator_tells_nothing_but_what_must_be_written() -> None:
    out = io.StringIO()
    narrator = Narrator(out, is_quiet=True)
    narrator.title("a deploy")
    narrator.say("a line")
    narrator.write("seed 1 ok")
    assert out.getvalue() == "seed 1 ok\n"
