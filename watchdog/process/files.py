"""How many files, and so connections, the process may have open at once."""

from __future__ import annotations

import resource

FILES_WANTED = 65_536


def open_many() -> None:
    """Raise the process's own limit as far as the system allows: a shell gives 1,024 unless told otherwise.

    Source: getrlimit(2); the soft limit is low for programs that use select, which asyncio does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
