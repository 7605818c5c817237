"""The short form of `make test-soak-reconcile`."""

from __future__ import annotations

from tests.soak.reconcile import soak
from tests.support.postgres import PostgresServer


async def test_continuous_writes_make_no_mismatch_and_lost_rows_are_named(postgres: PostgresServer) -> None:
    soaked = await soak(postgres, 20.0)
    assert soaked.is_good, [soaked.false, *((run.because, *run.details[:2]) for run in soaked.runs)]
    assert soaked.transactions > 1000, soaked
