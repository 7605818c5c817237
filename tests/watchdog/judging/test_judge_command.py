"""`deploy-watchdog judge` as others run it: a process, JSON lines in, one answer per tick out."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from watchdog.judging.blackbox import BadMessage, BlackBox

T0 = 1_800_000_000
STEP = 60
N, H = 600, 60
LEAST = {"rel": 0.05, "abs_ratio": 0.002}


def case(metrics: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A case whose deploy d0 lies at T0."""
    return {
        "type": "case",
        "id": "c",
        "step_s": STEP,
        "t_start": T0 - N * STEP,
        "n_hist": N,
        "horizon": H,
        "min_effect": LEAST,
        "deploys": [{"id": "d0", "t": T0}],
        "metrics": metrics,
        "controls": [],
        **more,
    }


def latency(rng: np.random.Generator, n: int) -> list[float]:
    """Latencies about 100 that a fifth more would stand out from."""
    return [float(x) for x in 100.0 * np.exp(0.05 * rng.standard_normal(n))]


def metric(history: list[Any], kind: str = "latency", bad: str = "up") -> dict[str, Any]:
    return {"name": "m0", "kind": kind, "bad": bad, "history": history}


def tick(i: int, *values: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "tick",
        "id": "c",
        "i": i,
        "t": T0 + i * STEP,
        "values": list(values),
        "controls": [],
        **more,
    }


def answers(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What one box says to all ticks."""
    box = BlackBox()
    said = [box.answer(json.loads(json.dumps(m))) for m in messages]
    assert said[0] is None
    return [s for s in said[1:] if s is not None]


def confirmed(said: list[dict[str, Any]]) -> int | None:
    return next((i for i, s in enumerate(said) if s["confirm"]), None)


def test_a_step_is_confirmed_dated_and_blamed_and_nothing_is_not() -> None:
    rng = np.random.default_rng(1)
    history = latency(rng, N)
    after = latency(rng, H)
    quiet = answers([case([metric(history)]), *(tick(i, x) for i, x in enumerate(after))])
    assert confirmed(quiet) is None
    worse = answers([case([metric(history)]), *(tick(i, 1.5 * x) for i, x in enumerate(after))])
    at = confirmed(worse)
    assert at is not None
    assert at < 12
    assert worse[at]["cp_t"] == T0
    assert worse[at]["blame"] == "d0"
    assert worse[at]["score"] > 1.0 > max(s["score"] for s in quiet)


def test_what_comes_later_changes_no_earlier_answer() -> None:
    rng = np.random.default_rng(2)
    history, after = latency(rng, N), latency(rng, H)
    told = [case([metric(history)]), *(tick(i, x) for i, x in enumerate(after))]
    other = [*told[:30], *(tick(i, 9.0 * x) for i, x in list(enumerate(after))[29:])]
    assert answers(told)[:29] == answers(other)[:29]


def test_ratios_keep_their_counts_and_availability_is_judged_by_what_is_missing() -> None:
    rng = np.random.default_rng(3)
    den = rng.poisson(300.0, N + H).astype(float)
    good = rng.binomial(den.astype(int), 0.005).astype(float)
    bad = rng.binomial(den.astype(int), 0.03).astype(float)
    ratio = {"name": "e", "kind": "ratio", "bad": "up", "num": list(good[:N]), "den": list(den[:N])}
    ticks = [tick(i, [bad[N + i], den[N + i]]) for i in range(H)]
    assert confirmed(answers([case([ratio]), *ticks])) is not None
    up = [float(x) for x in 100.0 - 0.1 * rng.random(N)]
    down = [tick(i, 97.0 + 0.1 * rng.random()) for i in range(H)]
    assert confirmed(answers([case([metric(up, "availability", "down")]), *down])) is not None


def test_both_directions_are_bad_when_the_case_says_so() -> None:
    rng = np.random.default_rng(4)
    history, after = latency(rng, N), latency(rng, H)
    for factor in (0.5, 1.6):
        said = answers(
            [case([metric(history, "rate", "both")]), *(tick(i, factor * x) for i, x in enumerate(after))]
        )
        assert confirmed(said) is not None


def test_a_second_deploy_gets_a_judge_of_its_own_and_the_blame_it_deserves() -> None:
    rng = np.random.default_rng(5)
    history, after = latency(rng, N), latency(rng, H)
    ticks = [tick(i, x if i < 15 else 1.6 * x) for i, x in enumerate(after)]
    ticks[15]["deploy"] = {"id": "d1", "t": T0 + 15 * STEP}
    said = answers([case([metric(history)]), *ticks])
    at = confirmed(said)
    assert at is not None
    assert at >= 15
    assert said[at]["blame"] == "d1"


def test_missing_samples_are_neither_evidence_nor_an_error() -> None:
    rng = np.random.default_rng(6)
    history: list[float | None] = [*latency(rng, N)]
    history[::7] = [None] * len(history[::7])
    said = answers([case([metric(history)]), *(tick(i, None) for i in range(H))])
    assert [s["score"] for s in said] == [0.0] * H
    assert confirmed(said) is None


@pytest.mark.parametrize("n", [0, 3, 30])
def test_hardly_any_history_is_judged_without_a_guess(n: int) -> None:
    said = answers(
        [case([metric(latency(np.random.default_rng(7), n))], n_hist=n), *(tick(i, 500.0) for i in range(H))]
    )
    assert all(math.isfinite(s["score"]) for s in said)


def test_a_shock_that_hits_the_controls_too_is_not_confirmed() -> None:
    rng = np.random.default_rng(8)
    history, after, other = latency(rng, N), latency(rng, H), latency(rng, N)
    beside = [{"name": "control0", "history": other}]
    ticks = [
        tick(i, 1.5 * x, controls=[1.5 * y])
        for i, (x, y) in enumerate(zip(after, latency(rng, H), strict=True))
    ]
    assert confirmed(answers([case([metric(history)], controls=beside), *ticks])) is None


def test_ratios_are_compared_with_controls_that_are_ratios() -> None:
    rng = np.random.default_rng(9)
    share = np.where(np.arange(N + H) < N, 0.01, 0.04)
    den = rng.poisson(300.0, (2, N + H))
    num = rng.binomial(den, share)
    mine, other = (
        {"name": "e", "num": k[:N].tolist(), "den": n[:N].tolist()} for k, n in zip(num, den, strict=True)
    )
    mine |= {"kind": "ratio", "bad": "up"}
    rows = np.stack([num, den], axis=-1)[:, N:].tolist()
    alone = [tick(i, x) for i, x in enumerate(rows[0])]
    together = [tick(i, x, controls=[y]) for i, (x, y) in enumerate(zip(*rows, strict=True))]
    assert confirmed(answers([case([mine]), *alone])) is not None
    assert confirmed(answers([case([mine], controls=[other]), *together])) is None


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "tock"}, "neither case nor tick"),
        ({"type": "tick", "id": "c"}, "without its case"),
        ({"type": "case", "id": "c"}, "step_s"),
        ({"type": "case", "id": "c", "step_s": "often"}, "often"),
    ],
)
def test_a_message_that_is_none_says_what_is_wrong(message: dict[str, Any], said: str) -> None:
    with pytest.raises(BadMessage, match=said):
        BlackBox().answer(message)


def test_the_command_answers_line_by_line_and_names_a_broken_line() -> None:
    rng = np.random.default_rng(9)
    lines = [case([metric(latency(rng, 60))], n_hist=60), *(tick(i, 100.0) for i in range(3))]
    command = [sys.executable, "-m", "watchdog", "judge"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(lines[0]) + "\n")
        for line in lines[1:]:
            process.stdin.write(json.dumps(line) + "\n")
            process.stdin.flush()
            assert set(json.loads(process.stdout.readline())) == {"score", "confirm", "cp_t", "blame"}
        process.stdin.close()
        assert process.wait(20) == 0
    broken = subprocess.run(
        command, input=json.dumps(lines[0]) + "\n{oops\n", capture_output=True, text=True, check=False
    )
    assert broken.returncode == 64
    assert broken.stderr.startswith("error: line 2:")
    assert "Traceback" not in broken.stderr
