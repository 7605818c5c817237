"""An OpenMetrics file as a source: what it holds, what it means, and what is no such file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detectors.histogram import bounds
from watchdog.backtest.openmetrics import BadFile, OpenMetricsHistory, read_file
from watchdog.sources.protocol import Grid, Query

TARGETS = ("job", "instance")


def history(folder: Path, *lines: str, end: str = "# EOF\n") -> OpenMetricsHistory:
    file = folder / "past.om"
    file.write_text("".join(f"{line}\n" for line in lines) + end)
    return read_file(file, TARGETS)


async def rows(past: OpenMetricsHistory, **query: str) -> list[list[float]]:
    kind = "ratio" if "numerator" in query else "count" if "counter" in query else "gauge"
    asked = Query(series_id="s", kind=kind, **query)  # type: ignore[arg-type]
    grid = Grid(first_at=6060.0, last_at=6180.0, step_s=60.0)
    found: list[list[float]] = (await past.read([asked], grid, now=0.0, timeout_s=1.0))[0].values.tolist()
    return found


async def test_comments_escapes_exemplars_and_empty_lines_are_read(tmp_path: Path) -> None:
    past = history(
        tmp_path,
        "# TYPE queue gauge",
        r'queue{path="a\"b\\c\n, # {d}"} 3 6059.5 # {trace="x # y"} 1 6059',
        "",
        'queue{path="other",} 9 6059.5',
    )
    labels = await past.label_sets("queue", now=0.0, timeout_s=1.0)
    assert labels == [{"path": 'a"b\\c\n, # {d}'}, {"path": "other"}]
    assert (await rows(past, gauge='queue{path="other"}'))[0] == [9.0]
    assert past.span == (6059.5, 6059.5)


async def test_the_newest_sample_within_a_step_counts_and_a_step_without_one_is_missing(
    tmp_path: Path,
) -> None:
    past = history(
        tmp_path, "queue 1 6000", "queue 2 6000.5", "queue 3 6060", "queue 4 6120.5", "queue NaN 6180"
    )
    np.testing.assert_array_equal(await rows(past, gauge="queue"), [[3.0], [np.nan], [np.nan]])


async def test_counters_are_summed_over_targets_and_restarts(tmp_path: Path) -> None:
    a = [
        f'r_total{{instance="a",ok="n"}} {v} {at}' for v, at in ((10, 5990), (13, 6050), (1, 6110), (2, 6170))
    ]
    b = [
        f'r_total{{instance="b",ok="y"}} {v} {at}'
        for v, at in ((50, 5990), (60, 6050), (70, 6110), (80, 6170))
    ]
    a_ok = [
        f'r_total{{instance="a",ok="y"}} {v} {at}' for v, at in ((90, 5990), (97, 6050), (5, 6110), (9, 6170))
    ]
    past = history(tmp_path, *a, *b, *a_ok)
    assert await rows(past, counter="r_total") == [[20.0], [16.0], [15.0]]
    ratio = await rows(past, numerator='r_total{ok="n"}', denominator="r_total")
    assert ratio == [[3.0, 20.0], [1.0, 16.0], [1.0, 15.0]]


async def test_what_a_file_cannot_answer_is_a_problem_of_that_series(tmp_path: Path) -> None:
    past = history(tmp_path, "queue 1 6000")
    grid = Grid(first_at=6060.0, last_at=6060.0, step_s=60.0)
    queries = [
        Query(series_id="a", kind="gauge", query="rate(queue[5m])"),
        Query(series_id="b", kind="gauge", gauge="missing"),
    ]
    promql, absent = await past.read(queries, grid, now=0.0, timeout_s=1.0)
    assert promql.problem is not None
    assert "give a selector" in promql.problem
    assert absent.problem == "the file has no usable sample of it in this span"
    assert np.isnan(promql.values).all()
    assert np.isnan(absent.values).all()


async def test_buckets_become_a_quantile_or_a_distribution(tmp_path: Path) -> None:
    lines = [
        f'h_bucket{{instance="a",le="{le}"}} {count * k} {5990 + 60 * k}'
        for le, count in (("0.125", 6), ("0.5", 9), ("+Inf", 10))
        for k in range(4)
    ]
    past = history(tmp_path, *lines)
    grid = Grid(first_at=6060.0, last_at=6180.0, step_s=60.0)
    queries = [
        Query(series_id="q", kind="latency", histogram="h_bucket", quantile=0.3),
        Query(series_id="d", kind="histogram", histogram="h_bucket"),
        Query(series_id="n", kind="histogram", histogram="h"),
    ]
    latency, spread, native = await past.read(queries, grid, now=0.0, timeout_s=1.0)
    assert latency.values[:, 0].tolist() == [0.0625] * 3
    edges = bounds("s").tolist()
    for row in spread.values:
        held = {edges[i] if i < len(edges) else np.inf: row[i] for i in np.flatnonzero(row)}
        assert held == {0.125: 6.0, 0.5: 3.0, np.inf: 1.0}
    assert native.problem is not None
    assert "no native histograms" in native.problem


@pytest.mark.parametrize(
    ("lines", "end", "said"),
    [
        (["queue 1 6000"], "", "does not end with `# EOF`"),
        (["queue 1 6000", "# EOF", "queue 2 6060"], "", "does not end with `# EOF`"),
        ([], "# EOF\n", "holds no sample"),
        (["queue 1"], "# EOF\n", ":1: not `name{labels} value seconds`"),
        (["queue x 6000"], "# EOF\n", ":1: not `name{labels} value seconds`"),
        (["queue{a=b} 1 6000"], "# EOF\n", ":1: `queue{a=b}` is no series"),
        (["9queue 1 6000"], "# EOF\n", ":1: `9queue` is no series"),
        (["queue 1 1790035200000"], "# EOF\n", ":1: 1.79004e+12 is no time in seconds"),
        (["queue 1 nan"], "# EOF\n", ":1: nan is no time"),
        (["queue 1 6000", "queue 1 6000"], "# EOF\n", ":2: a series goes back in time"),
    ],
)
def test_what_is_no_openmetrics_is_refused_with_its_line(
    tmp_path: Path, lines: list[str], end: str, said: str
) -> None:
    with pytest.raises(BadFile) as refused:
        history(tmp_path, *lines, end=end)
    assert said in str(refused.value)
    assert str(tmp_path / "past.om") in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="No such file"):
        read_file(tmp_path / "none.om", TARGETS)
    (tmp_path / "latin.om").write_bytes(b'queue{a="\xe9"} 1 6000\n# EOF\n')
    with pytest.raises(BadFile, match="not UTF-8"):
        read_file(tmp_path / "latin.om", TARGETS)
