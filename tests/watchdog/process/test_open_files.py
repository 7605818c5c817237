"""The limit on open files, in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from tests.support.daemon import ROOT
from watchdog.process.files import FILES_WANTED

SHOW = (
    "from watchdog.process.files import *; open_many(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
)


@pytest.mark.parametrize(("soft", "hard", "found"), [(64, 512, 512), (512, 512, 512)])
def test_the_limit_is_raised_as_far_as_it_may_be(soft: int, hard: int, found: int) -> None:
    assert hard < FILES_WANTED
    ran = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )
    assert int(ran.stdout) == found
