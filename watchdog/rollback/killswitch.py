"""The kill switch: three ways to stop all actions, any of which is enough and works without the others.

The file `kill-switch` in the state folder (its text is the reason) needs no daemon that answers, the
environment variable no file, and the stored switch (API and command line) no access to the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from watchdog.model import SwitchState
from watchdog.store.protocol import Store, StoreUnavailable

FILE_NAME = "kill-switch"
VARIABLE = "WATCHDOG_KILL_SWITCH"
BECAUSE_MAX = 500

_OFF_WORDS = frozenset({"", "0", "false", "no", "off"})


async def kill_switch_state(store: Store, state_dir: Path | str, environ: Mapping[str, str]) -> SwitchState:
    """On if any of the three ways says so, asked in the order file, environment, store.

    Asked before every send. What cannot be read is on: a switch that nobody can see must not be taken as off.
    """
    by_file = await asyncio.to_thread(_by_file, Path(state_dir) / FILE_NAME)
    if by_file is not None:
        return by_file
    word = environ.get(VARIABLE, "").strip()
    if word.lower() not in _OFF_WORDS:
        return SwitchState(is_on=True, by=VARIABLE, because=_reason(word) or f"{VARIABLE} is set")
    try:
        return await store.kill_switch()
    except StoreUnavailable as error:
        return SwitchState(is_on=True, by="watchdog", because=_reason(f"the store cannot be read: {error}"))


def _by_file(path: Path) -> SwitchState | None:
    """The switch as the file says it, None if there is no such file."""
    try:
        at = path.lstat().st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        return SwitchState(
            is_on=True, by=FILE_NAME, because=f"the file {FILE_NAME} cannot be looked for: {error.strerror}"
        )
    try:
        with path.open("rb") as file:
            text = file.read(4 * BECAUSE_MAX).decode(errors="replace")
    except OSError as error:
        return SwitchState(
            is_on=True,
            by=FILE_NAME,
            at=at,
            because=f"the file {FILE_NAME} exists but cannot be read: {error.strerror}",
        )
    return SwitchState(
        is_on=True, by=FILE_NAME, at=at, because=_reason(text) or f"the file {FILE_NAME} exists"
    )


def _reason(text: str) -> str:
    """One printable line."""
    line = " ".join(text.split())
    return "".join(character if character.isprintable() else "?" for character in line)[:BECAUSE_MAX]
