"""Child processes that always end: with the block they live in, whatever ends it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def child(
    command: Sequence[str], *, log: Path, env: Mapping[str, str], is_heard: bool = False, end_s: float = 12.0
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with its standard error in `log` and a pipe to its standard input.

    env: added to ours. is_heard: its standard output is a pipe too, for us to read; else it goes to `log`.
    SIGTERM at the end of the block, SIGKILL if that is not heard within end_s. In a session of its own, so
    that Ctrl-C reaches only us and the children are ended in order.
    """
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE if is_heard else errors,
            stderr=errors,
            env={**os.environ, **env},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(end_s):
                    await process.wait()
            except TimeoutError:
                process.kill()
        await process.wait()


def last_lines(log: Path, n: int) -> list[str]:
    """The last `n` lines of a log, at most 64 KB of it; none if there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 65_536))
            return file.read().decode("utf-8", "replace").splitlines()[-n:]
    except FileNotFoundError:
        return []
