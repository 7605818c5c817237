"""samples.db: kept and refilled, and never in the way when the file is gone, corrupt or unwritable."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.model import HISTOGRAM_BINS
from watchdog.store.samples import RETENTION_S, SampleStore, _blocks


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SampleStore]:
    store = SampleStore(tmp_path / "samples.db")
    await store.open()
    yield store
    await store.close()


async def test_what_was_kept_comes_back_after_a_restart(store: SampleStore) -> None:
    values = np.arange(400.0).reshape(200, 2)
    await store.append("shop/errors", 60.0, 36_000.0, values)
    await store.close()
    again = SampleStore(store.path)
    np.testing.assert_array_equal(await again.load("shop/errors", 60.0, 2, 36_000.0, 47_940.0), values)
    await again.close()


async def test_a_distribution_comes_back_as_it_was(store: SampleStore) -> None:
    values = np.random.default_rng(1).poisson(3.0, (90, HISTOGRAM_BINS)).astype(np.float64)
    values[7] = np.nan
    await store.append("shop/latency", 60.0, 36_000.0, values)
    loaded = await store.load("shop/latency", 60.0, HISTOGRAM_BINS, 36_000.0, 36_000.0 + 89 * 60.0)
    np.testing.assert_array_equal(loaded, values)


async def test_live_steps_are_added_to_the_hour_they_belong_to(store: SampleStore) -> None:
    for i in range(150):
        await store.append("shop/errors", 60.0, 60.0 * (1000 + i), np.array([[float(i)]]))
    loaded = await store.load("shop/errors", 60.0, 1, 60.0 * 998, 60.0 * 1151)
    np.testing.assert_array_equal(loaded[:, 0], [np.nan] * 2 + list(range(150)) + [np.nan] * 2)
    with sqlite3.connect(store.path) as file:
        assert file.execute("select count(*) from sample").fetchone() == (4,)
    file.close()


async def test_a_missing_row_erases_nothing(store: SampleStore) -> None:
    await store.append("a/b", 1.0, 10.0, np.array([[1.0], [2.0]]))
    await store.append("a/b", 1.0, 10.0, np.array([[np.nan], [3.0]]))
    assert (await store.load("a/b", 1.0, 1, 10.0, 11.0))[:, 0].tolist() == [1.0, 3.0]


async def test_what_is_unknown_or_of_another_step_or_width_is_missing(store: SampleStore) -> None:
    await store.append("a/b", 1.0, 10.0, np.array([[1.0]]))
    await store.append("a/b", 1.0, 10.0, np.empty((0, 1)))
    for other in (("x/y", 1.0, 1), ("a/b", 2.0, 1), ("a/b", 1.0, 2)):
        assert np.isnan(await store.load(*other, 10.0, 10.0)).all()


async def test_only_its_owner_may_read_it(store: SampleStore) -> None:
    await store.append("a/b", 1.0, 10.0, np.array([[1.0]]))
    for file in store.path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_old_blocks_expire_and_young_ones_stay(store: SampleStore) -> None:
    now = 100 * 86400.0
    await store.append("a/b", 60.0, now - RETENTION_S - 7200.0, np.ones((1, 1)))
    await store.append("a/b", 60.0, now - RETENTION_S + 7200.0, np.ones((1, 1)))
    assert await store.expire(now) == 1
    assert await store.expire(now) == 0


async def test_every_series_of_which_something_is_kept_is_named_once(store: SampleStore) -> None:
    assert await store.names() == []
    for name in ("shop/home.total_s", "shop/errors", "api/home"):
        await store.append(name, 60.0, 36_000.0, np.ones((200, 1)))
    assert await store.names() == ["api/home", "shop/errors", "shop/home.total_s"]


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.sampled_from([1.0, 7.0, 60.0, 7200.0]), st.integers(0, 200), st.integers(1, 3000))
def test_what_is_trimmed_ended_before_and_no_other_series_is(step_s: float, since: int, n: int) -> None:
    async def tried() -> None:
        with TemporaryDirectory() as folder:
            store = SampleStore(Path(folder) / "samples.db")
            first_at, since_at = 1000 * step_s, (1000 + since) * step_s
            last_at = first_at + (n - 1) * step_s
            for name in ("a/b.c", "a/b.d"):
                await store.append(name, step_s, first_at, np.ones((n, 1)))
            await store.trim([("a/b.c", step_s, since_at)])
            kept = await store.load("a/b.c", step_s, 1, first_at, last_at)
            seen = np.flatnonzero(np.isfinite(kept[:, 0]))
            # Whole blocks go, so what is kept begins at most one block early.
            assert (np.diff(seen) == 1).all()
            if len(seen):
                assert seen[0] <= max(since, 0)
                assert seen[-1] == n - 1
                assert (seen[0] + 1) * step_s > since * step_s - max(3600.0, step_s) - step_s
            else:
                assert last_at <= since_at
            assert np.isfinite(await store.load("a/b.d", step_s, 1, first_at, last_at)).all()
            await store.close()

    asyncio.run(tried())


async def test_a_deleted_file_is_created_again(store: SampleStore) -> None:
    await store.append("a/b", 1.0, 10.0, np.array([[1.0]]))
    for file in list(store.path.parent.iterdir()):
        file.unlink()
    await store.append("a/b", 1.0, 11.0, np.array([[2.0]]))
    loaded = await store.load("a/b", 1.0, 1, 10.0, 11.0)
    np.testing.assert_array_equal(loaded[:, 0], [np.nan, 2.0])
    assert store.path.exists()


@pytest.mark.parametrize("content", [b"this is not a database" * 100, b"SQLite format 3\0" + b"\xff" * 8176])
async def test_a_corrupt_file_is_moved_aside_and_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "samples.db"
    path.write_bytes(content)
    store = SampleStore(path)
    await store.open()
    assert store.problem is not None
    assert "samples.db.corrupt" in store.problem
    assert (tmp_path / "samples.db.corrupt").read_bytes() == content
    await store.append("a/b", 1.0, 10.0, np.array([[1.0]]))
    assert store.problem is None
    assert (await store.load("a/b", 1.0, 1, 10.0, 10.0)).tolist() == [[1.0]]
    await store.close()


async def test_a_file_that_rots_while_open_loses_samples_only(store: SampleStore) -> None:
    await store.append("a/b", 1.0, 10.0, np.ones((5000, 1)))
    with sqlite3.connect(store.path) as file:
        file.execute("pragma wal_checkpoint(truncate)")
    file.close()
    size = store.path.stat().st_size
    with store.path.open("r+b") as raw:
        raw.seek(4096)
        raw.write(b"\xa5" * (size - 4096))
    assert np.isnan(await store.load("a/b", 1.0, 1, 10.0, 5009.0)).any()
    await store.append("a/b", 1.0, 20.0, np.ones((1, 1)))
    await store.append("a/b", 1.0, 21.0, np.ones((1, 1)))
    assert (await store.load("a/b", 1.0, 1, 21.0, 21.0)).tolist() == [[1.0]]


async def test_a_place_that_cannot_hold_a_file_is_a_problem_not_an_exception(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "absent" / "samples.db")
    await store.open()
    await store.append("a/b", 1.0, 10.0, np.ones((1, 1)))
    assert np.isnan(await store.load("a/b", 1.0, 1, 10.0, 10.0)).all()
    assert await store.expire(0.0) == 0
    assert store.problem is not None
    assert "not kept" in store.problem
    await store.close()
    await store.close()


@settings(derandomize=True, max_examples=100)
@given(st.sampled_from([0.5, 1.0, 7.0, 60.0, 7200.0]), st.integers(0, 10**7), st.integers(1, 9000))
def test_blocks_tile_the_steps_exactly(step_s: float, first: int, n: int) -> None:
    seen = []
    for block, size, theirs, ours in _blocks(step_s, first, n):
        assert 0 <= theirs.start < theirs.stop <= size
        assert block * size + theirs.start == first + ours.start
        seen += range(ours.start, ours.stop)
    assert seen == list(range(n))
