"""`deploy-watchdog verdict`: packets judged again and explained, whole or not."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.judge import DeployJudge
from detectors.model import DeployInterval, History, JudgeSettings, SeriesSpec
from watchdog.cli import exits, main
from watchdog.judging.accounts import differences, sentences

T0 = 1_800_000_000.0
STEP = 60.0


def packet(factor: float) -> dict[str, Any]:
    """The packet of a watch of 20 minutes in which latency became `factor` times what it was."""
    rng = np.random.default_rng(1)
    spec = SeriesSpec(name="latency", kind="latency", unit="s", bad="up", step_s=STEP)
    ratio = SeriesSpec(name="errors", kind="ratio", unit="ratio", bad="up", step_s=STEP)
    slow = 0.1 * np.exp(0.05 * rng.standard_normal((620, 1)))
    slow[600:] *= factor
    failed = np.column_stack([rng.binomial(300, 0.01, 620), np.full(620, 300)]).astype(np.float64)
    histories = [History(spec=s, values=v[:600], end_at=T0) for s, v in ((spec, slow), (ratio, failed))]
    judge = DeployJudge(
        DeployInterval(id="d1", started_at=T0, finished_at=T0 + 30.0),
        [],
        histories,
        JudgeSettings(watch_s=1200.0, warm_up_s=60.0),
    )
    for i in range(20):
        judge.tick(T0 + (i + 1) * STEP, {"latency": slow[600 + i], "errors": failed[600 + i]})
    judge.close()
    made: dict[str, Any] = json.loads(json.dumps(judge.packet()))
    return made


def test_a_packet_judged_again_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for factor, state in ((1.0, "healthy"), (1.5, "regressed")):
        whole = packet(factor)
        assert differences(whole) == []
        file = tmp_path / f"{factor}.json"
        # As it is stored, and as the API wraps it.
        for told in (whole, {"schema": "deploy-watchdog/v1", "packet": whole}):
            file.write_text(json.dumps(told))
            assert main(["verdict", "replay", str(file)]) == exits.HEALTHY
            assert capsys.readouterr().out.startswith(f"same: {state}")


def test_a_packet_that_was_changed_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = packet(1.5)
    for place, value in (("state", "healthy"), ("reason", "steady"), ("statistic", 1.0)):
        forged = copy.deepcopy(whole)
        forged["verdict"][place] = value
        file = tmp_path / "forged.json"
        file.write_text(json.dumps(forged))
        assert main(["verdict", "replay", str(file)]) == exits.BUG
        said = capsys.readouterr()
        assert f"verdict.{place}: {value!r} in the packet" in said.out
        assert "differs in 1 places" in said.err


def test_the_same_numbers_come_out_without_wide_vector_instructions(tmp_path: Path) -> None:
    file = tmp_path / "packet.json"
    file.write_text(json.dumps(packet(1.5)))
    features = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
    known = getattr(np._core._multiarray_umath, "__cpu_dispatch__", [])
    off = " ".join(name for name in features.split() if name in known)
    told = subprocess.run(
        [sys.executable, "-m", "watchdog", "verdict", "replay", str(file)],
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": off},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.startswith("same: regressed")


def test_the_chain_is_told_from_the_budget_to_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    lines = sentences(packet(1.5))
    text = "\n".join(lines)
    assert "Deploy d1 began at" in lines[0]
    assert "one false rollback in 200 healthy deploys, spent once over errors, latency" in lines[1]
    assert "Latency: compared with 10 h 0 min of history" in text
    assert "It passed what chance is allowed at" in text
    assert "this deploy above 99 %" in text
    assert lines[-1].startswith("Verdict: regressed (evidence). Latency rose from")
    assert "It never passed what chance is allowed" in "\n".join(sentences(packet(1.0)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting property name"),
        ("[]", "not an evidence packet"),
        ('{"schema": "deploy-watchdog/evidence/v1"}', "is missing; the packet is damaged"),
        ('{"schema": "other/v9", "changes": []}', "cannot be replayed"),
    ],
)
def test_what_is_no_packet_gets_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)
    assert main(["verdict", "replay", str(file)]) == exits.USAGE
    err = capsys.readouterr().err
    assert err.startswith(f"error: {file}: ")
    assert said in err
    assert main(["verdict", "explain", str(tmp_path / "none.json")]) == exits.USAGE
    assert "No such file" in capsys.readouterr().err
