"""The short form of `make test-soak-reconcile`, with a copy that is faster."""

from __future__ import annotations

import pytest

from tests.soak.reconcile import soak
from tests.support.postgres import PostgresServer


async def test_continuous_writes_make_no_mismatch_and_lost_rows_are_named(postgres: PostgresServer) -> None:
    soaked = await soak(postgres, 8.0, delay_s=0.5, settle_s=2.0)
    if not soaked.is_fair:
        pytest.skip(f"this machine is too busy: {soaked}")
    assert soaked.is_good, [soaked.false, *((run.because, *run.details[:2]) for run in soaked.runs)]
    assert soaked.transactions > 1000, soaked
