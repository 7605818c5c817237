"""The token that lets commands on the same machine act: whoever can read the state folder may."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

FILE_NAME = "local-token"


def write_local_token(state_dir: Path) -> str:
    """Make a fresh token for this run of the daemon, readable by its user only."""
    token = secrets.token_urlsafe(32)
    path = state_dir / FILE_NAME
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return token


def read_local_token(state_dir: Path) -> str | None:
    """The running daemon's token, None when it cannot be read."""
    try:
        return (state_dir / FILE_NAME).read_text().strip()
    except OSError:
        return None
