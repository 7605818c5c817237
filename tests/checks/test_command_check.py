"""Kind command with real executables."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from checks.command import READINGS_MAX, CommandCheck
from checks.model import World
from tests.support.servers import wait_until

Plugin = Callable[[str], str]


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    """`plugin("exit 0")` is the path of an executable shell script."""

    def write(script: str) -> str:
        path = tmp_path / "check_it"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return write


def is_gone(pid: int) -> bool:
    """True if there is no such process, or only what its parent has not yet collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def pipes() -> int:
    """How many pipes this process has open."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except FileNotFoundError:
            continue
    return sum(link.startswith("pipe:") for link in links)


@pytest.mark.parametrize(
    ("code", "outcome", "because"),
    [
        (0, "pass", ""),
        (1, "fail", "check_it warns: DISK 91% full"),
        (2, "fail", "check_it is critical: DISK 91% full"),
        (3, "error", "check_it does not know: DISK 91% full"),
        (4, "error", "check_it exited with 4, which has no meaning: DISK 91% full"),
        (127, "error", "check_it exited with 127, which has no meaning: DISK 91% full"),
    ],
)
async def test_the_exit_code_is_the_outcome_and_the_first_line_says_why(
    world: World, plugin: Plugin, code: int, outcome: str, because: str
) -> None:
    check = CommandCheck(argv=(plugin(f"echo 'DISK 91% full | /=91%;80;90'; echo more; exit {code}"),))
    result = await check.run(world)
    assert (result.outcome, result.because) == (outcome, because)
    assert result.details[1:3] == ("     DISK 91% full", "     more")
    # Durations only of runs that passed, and nothing of one that could not tell.
    assert ("total_s" in result.readings) == (outcome == "pass")
    assert ("root_ratio" in result.readings) == (outcome != "error")


async def test_a_warning_can_be_let_pass(world: World, plugin: Plugin) -> None:
    result = await CommandCheck(argv=(plugin("echo 'slow | time=2s'; exit 1"),), warning="pass").run(world)
    assert (result.outcome, result.because) == ("pass", "")
    assert result.readings["time_s"] == 2.0


async def test_an_end_by_a_signal_and_silence_are_told(world: World, plugin: Plugin) -> None:
    killed = await CommandCheck(argv=(plugin("kill -SEGV $$"),)).run(world)
    assert (killed.outcome, killed.because) == ("error", "check_it was ended by SIGSEGV: it said nothing")
    complains = await CommandCheck(argv=(plugin("echo 'no route' >&2; exit 2"),)).run(world)
    assert complains.because == "check_it is critical: no route"


async def test_perfdata_become_readings_in_base_units(world: World, plugin: Plugin) -> None:
    data = (
        "'Round Trip'=12.5ms;100;200;0 lag=300us pl=50%;;;0;100 size=3B used=2KB heap=1KiB free=1.5GB "
        "requests=42c load1=0.75 temp=21.5C it''s=1 nan=U broken=abc time=1s time=9s 'a=b'=4 neg=-5 total=7s"
    )
    result = await CommandCheck(argv=(plugin(f'echo "OK | {data}"'),)).run(world)
    assert result.outcome == "pass"
    readings = dict(result.readings)
    assert 0 < readings.pop("total_s") < 5
    assert readings == pytest.approx(
        {
            "round_trip_s": 0.0125,
            "lag_s": 0.0003,
            "pl_ratio": 0.5,
            "size_bytes": 3,
            "used_bytes": 2000,
            "heap_bytes": 1024,
            "free_bytes": 1.5e9,
            "requests_total": 42,
            "load1": 0.75,
            "temp_c": 21.5,
            "time_s": 1.0,
            "a_b": 4,
            "neg": -5,
        }
    )


async def test_perfdata_go_on_after_the_long_text(world: World, plugin: Plugin) -> None:
    script = "printf 'OK | a=1\\nlong text\\nmore | b=2\\nc=3\\n'"
    result = await CommandCheck(argv=(plugin(script),)).run(world)
    assert {name: result.readings[name] for name in "abc"} == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert result.details[1:4] == ("     OK", "     long text", "     more")
    assert result.details[4].startswith("     readings: a 1, b 2, c 3, total_s ")


async def test_readings_have_a_bound(world: World, plugin: Plugin) -> None:
    script = f"printf 'OK |'; for i in $(seq {2 * READINGS_MAX}); do printf ' v%s=1' $i; done"
    result = await CommandCheck(argv=(plugin(script),)).run(world)
    assert len(result.readings) == READINGS_MAX + 1


async def test_it_gets_the_named_variables_the_folder_and_nothing_else(
    world: World, plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_DAEMON", "private")
    script = (
        f'env > {tmp_path}/env; pwd > {tmp_path}/cwd; cat > {tmp_path}/input; echo "login $TOKEN"; exit 2'
    )
    check = CommandCheck(
        argv=(plugin(script),), environment={"TOKEN": SecretStr("open-sesame")}, cwd=str(tmp_path)
    )
    result = await check.run(world)
    assert result.because == "check_it is critical: login ***"
    assert "open-sesame" not in f"{result}{check!r}"
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    # PWD and _ are set by the shell itself.
    assert names - {"PWD", "_", "SHLVL", "OLDPWD"} == {"PATH", "TOKEN"}
    assert (tmp_path / "cwd").read_text().strip() == str(tmp_path)
    assert (tmp_path / "input").read_text() == ""


async def test_no_shell_reads_the_arguments(world: World) -> None:
    result = await CommandCheck(argv=("echo", "$HOME; exit 2", "*")).run(world)
    assert result.outcome == "pass"
    assert result.details[1] == "     $HOME; exit 2 *"


async def test_one_that_hangs_is_ended_with_all_its_children(
    world: World, plugin: Plugin, tmp_path: Path
) -> None:
    before = pipes()
    script = f"sleep 600 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/parent; echo begun; wait"
    result = await CommandCheck(argv=(plugin(script),)).run(replace(world, timeout_s=0.3))
    assert (result.outcome, result.because) == ("error", "check_it: stopped by our own limit of 0.3 s")
    assert result.readings == {}
    assert result.details[1] == "     begun"
    for name in ("parent", "child"):
        pid = int((tmp_path / name).read_text())
        wait_until(lambda pid=pid: is_gone(pid), timeout_s=2.0, what=f"the {name} is gone")  # type: ignore[misc]  # no type is inferred for a default
    assert pipes() <= before


async def test_a_child_that_outlives_it_is_ended_and_not_waited_for(
    world: World, plugin: Plugin, tmp_path: Path
) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/child; echo fine"
    result = await CommandCheck(argv=(plugin(script),)).run(world)
    assert result.outcome == "pass"
    assert result.readings["total_s"] < 2.0
    pid = int((tmp_path / "child").read_text())
    wait_until(lambda: is_gone(pid), timeout_s=2.0, what="the child is gone")


async def test_one_that_leaves_the_group_cannot_hold_us_up(
    world: World, plugin: Plugin, tmp_path: Path
) -> None:
    before = pipes()
    leave = "setsid sh -c 'echo $$ > new; mv new child; exec sleep 60' &"
    script = f"{leave}\nwhile [ ! -e child ]; do :; done; echo fine"
    result = await CommandCheck(argv=(plugin(script),), cwd=str(tmp_path)).run(world)
    os.kill(int((tmp_path / "child").read_text()), 9)
    assert result.outcome == "pass"
    assert result.details[1] == "     fine"
    assert result.readings["total_s"] < 3.0
    await asyncio.sleep(0)  # one turn of the loop, in which the pipes are closed
    assert pipes() <= before


async def test_one_that_says_too_much_and_ends_is_not_judged_by_half_of_it(
    world: World, plugin: Plugin
) -> None:
    result = await CommandCheck(argv=(plugin("head -c 70000 /dev/zero; echo ' | a=1'"),)).run(world)
    assert (result.outcome, result.readings) == ("error", {})


@pytest.mark.parametrize("where", ["1", "2"])
async def test_one_that_floods_is_stopped(world: World, plugin: Plugin, where: str) -> None:
    result = await CommandCheck(argv=(plugin(f"yes >&{where}"),)).run(world)
    assert result.outcome == "error"
    assert result.because == "check_it: stopped by our own limit of 65536 bytes of output"


async def test_cancelled_it_leaves_no_process_and_no_pipe(
    world: World, plugin: Plugin, tmp_path: Path
) -> None:
    before = pipes()
    os.mkfifo(tmp_path / "begun")
    check = CommandCheck(argv=(plugin(f"echo $$ > {tmp_path}/begun; sleep 600"),))
    running = asyncio.ensure_future(check.run(world))
    # A named pipe can be read once somebody writes to it.
    pid = int(await asyncio.to_thread((tmp_path / "begun").read_text))
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    wait_until(lambda: is_gone(pid), timeout_s=2.0, what="the process is gone")
    assert pipes() <= before


def marked(mark: str) -> list[str]:
    """The processes that have that text in their environment, as they were started with."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            found += [environ.parent.name] if mark.encode() in environ.read_bytes() else []
        except OSError:
            continue
    return found


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_at_any_turn_of_its_start_it_leaves_no_process(
    world: World, plugin: Plugin, tmp_path: Path, turns: int
) -> None:
    before = pipes()
    mark = f"mark-of-{tmp_path}"
    check = CommandCheck(argv=(plugin("sleep 600 & sleep 600"),), environment={"MARK": SecretStr(mark)})
    running = asyncio.ensure_future(check.run(world))
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running}, timeout=5.0)
    assert running.cancelled()
    wait_until(lambda: not marked(mark), timeout_s=2.0, what="its processes are gone")
    assert pipes() <= before


async def test_what_cannot_be_started_is_our_error(world: World, tmp_path: Path, plugin: Plugin) -> None:
    missing = await CommandCheck(argv=("/nowhere/check_x",)).run(world)
    assert missing.outcome == "error"
    assert missing.because == "check_x cannot be started (No such file or directory)"
    plugin("exit 0")
    (tmp_path / "check_it").chmod(0o644)
    forbidden = await CommandCheck(argv=(str(tmp_path / "check_it"),)).run(world)
    assert forbidden.because == "check_it cannot be started (Permission denied)"
    nowhere = await CommandCheck(argv=("true",), cwd="/nowhere").run(world)
    assert nowhere.because == "true cannot be started (No such file or directory)"


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"argv": ()}, "argv: empty"),
        ({"argv": ("",)}, "argv: empty"),
        ({"argv": ("a", "b\0")}, "argv: an argument cannot hold a NUL"),
        ({"argv": ("a",), "environment": {"A=B": SecretStr("x")}}, "environment: 'A=B'"),
        ({"argv": ("a",), "environment": {"A": SecretStr("\0")}}, "environment: 'A'"),
        ({"argv": ("a",), "cwd": "here"}, "cwd: 'here' is not an absolute path"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        CommandCheck(**params)
