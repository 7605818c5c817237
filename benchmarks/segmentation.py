"""`python -m benchmarks.segmentation --data DIR`: the segments beside what five people marked in real series.

DIR holds 25 univariate series of the Turing Change Point Dataset and the scorer of its two figures: F1 with a
margin of 5 samples, and Cover (G. van den Burg, C. Williams, arXiv:2003.06222, 2020). None of it is in this
project, because some of the series carry licences of their own. ruptures runs beside, where it can be
imported: stock Pelt and Binseg on standardised series, squared error, penalty 3 ln n.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detectors.model import FloatArray
from detectors.segments import segment

Method = Callable[[FloatArray], list[int]]

# van den Burg and Williams (2020), default settings, averaged over these 25 series: the best by F1.
_PUBLISHED = {"binseg, published": (0.690, 0.655), "pelt, published": (0.684, 0.656)}


def main() -> int:
    """Print one row per method, best F1 first; exit 2 when DIR does not hold the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segmentation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with score.py and series.jsonl")
    given = parser.parse_args()
    if not (given.data / "score.py").is_file():
        print(f"error: --data {given.data}: no score.py there", file=sys.stderr)
        return 2
    sys.path.insert(0, str(given.data))
    score = importlib.import_module("score")
    series = score.load_series()
    rows = [(*scores, f"{name:<20} {'':>8}") for name, scores in _PUBLISHED.items()]
    for name, method in {"segments": _ours, "zero": _zero, **_peers()}.items():
        started_s = time.perf_counter()
        f1, cover = _measured(score, series, method)
        rows.append((f1, cover, f"{name:<20} {time.perf_counter() - started_s:>7.2f}s"))
    print(f"{'method':<20} {'time':>8} {'F1':>7} {'Cover':>7}   mean of {len(series)} series")
    for f1, cover, row in sorted(rows, reverse=True):
        print(f"{row} {f1:>7.3f} {cover:>7.3f}")
    return 0


def _measured(score: Any, series: Mapping[str, Any], method: Method) -> tuple[float, float]:
    found = {name: method(np.array(one["values"])) for name, one in series.items()}
    f1, cover = np.mean(list(score.score_all(found, series).values()), axis=0)
    return float(f1), float(cover)


def _ours(values: FloatArray) -> list[int]:
    return [one.start for one in segment(values)[1:]]


def _zero(_values: FloatArray) -> list[int]:
    return []


def _peers() -> dict[str, Method]:
    try:
        ruptures = importlib.import_module("ruptures")
    except ImportError:
        print("ruptures is not installed: published figures only", file=sys.stderr)
        return {}

    def run(kind: Any) -> Method:
        def found(values: FloatArray) -> list[int]:
            standard = (values - values.mean()) / values.std(ddof=1)
            fitted = kind(model="l2", min_size=1, jump=1).fit(standard)
            # It ends its answer with the length of the series, which is no change.
            return [int(at) for at in fitted.predict(pen=3.0 * np.log(len(values)))[:-1]]

        return found

    return {"ruptures Pelt": run(ruptures.Pelt), "ruptures Binseg": run(ruptures.Binseg)}


if __name__ == "__main__":
    sys.exit(main())
