"""The tables of a run of DeployBench. `evaluation` is the scorer's own object; nothing is scored here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any


def operating_point(evaluation: Any) -> str:
    """The own decision, with 5 to 95 % intervals of the bootstrap, and the swept score."""
    own, swept = evaluation.summary(None), evaluation.summary(evaluation.pick(0.01, "all"))
    intervals, _ = evaluation.bootstrap(None)

    def span(name: str) -> str:
        low, high = intervals.get(name, (float("nan"),) * 2)
        return f"[{low:.3f}, {high:.3f}]"

    overlap = own["overlap"]
    delay = f"{own['med_min']:.0f} min at one-minute steps, {own['med_ticks']:.0f} ticks"
    lines = [
        f"cases {len(evaluation.cases)}",
        "own decision",
        f"  false rollbacks, healthy    {own['fpr_aa']:.4f} {span('own.fpr_aa')}",
        f"  false rollbacks, all        {own['fpr']:.4f} {span('own.fpr')}",
        f"  the same by series          {span('own.fpr_aa_series')} {span('own.fpr_series')}",
        f"  recall                      {own['recall']:.3f} {span('own.recall')}",
        f"  recall, detectable          {own['recall_fair']:.3f}",
        f"  recall, real incidents      {own['recall_real']:.3f}",
        f"  recall weighted by delay    {own['dwr']:.3f}",
        f"  median delay                {delay}",
        f"  onset error                 median {own['cp_err']:.1f} ticks, {own['cp_within2']:.0%} within 2",
        f"  overlaps                    right {overlap['right']:.2f}, wrong {overlap['wrong']:.2f}",
        f"at 1 % false rollbacks        recall {swept['recall']:.3f}, detectable {swept['recall_fair']:.3f}",
        f"pAUC                          {evaluation.pauc():.3f} {span('pauc')}",
    ]
    return "\n".join(lines) + "\n"


def families(evaluation: Any) -> str:
    """False rollbacks and recall of every family, worst first.

    Detectable: the share of cases larger than what the series does by itself in one window of a hundred.
    """
    own = evaluation.summary(None)
    lines = ["false rollbacks by family"]
    for name, rate in sorted(own["fam_fpr"].items(), key=lambda item: -item[1]):
        count = len(evaluation.fam[name])
        lines.append(f"  {name:<22}{rate:7.3f}   {round(rate * count)} of {count}")
    lines.append("recall by family")
    for name, rate in sorted(own["fam_rec"].items(), key=lambda item: item[1]):
        cases = evaluation.fam[name]
        able = sum(evaluation.truth[case]["meta"]["nat"] >= 1.0 for case in cases) / len(cases)
        lines.append(f"  {name:<22}{rate:7.3f}   of {len(cases)}, detectable {able:.2f}")
    return "\n".join(lines) + "\n"


def data_sets(make: Any, folder: str, results: Mapping[str, Any], evaluation: Any) -> str:
    """False rollbacks and recall on each data set alone: the own decision, and the score with a limit that
    was set on all others, so that 1 % of their negatives fire: as if it had been tuned without the data set.
    """
    of = {case: evaluation.truth[case]["dataset"] for case in results}
    lines = [f"{'data set':<24}{'cases':>6}{'fpr':>8}{'recall':>8}   tuned without it: limit, fpr, recall"]
    for name, count in Counter(of.values()).most_common():
        alone = make(folder, {c: r for c, r in results.items() if of[c] == name})
        limit = make(folder, {c: r for c, r in results.items() if of[c] != name}).pick(0.01, "all")
        lines.append(f"{name:<24}{count:>6}{_rates(alone, None)}   {limit:6.2f}{_rates(alone, limit)}")
    return "\n".join(lines) + "\n"


def _rates(evaluation: Any, limit: float | None) -> str:
    """False rollbacks and recall, each over all its cases. limit: of the score, None = the own decision."""

    def share(prefix: str) -> float:
        cases = [c for name in evaluation.fam if name.startswith(prefix) for c in evaluation.fam[name]]
        if not cases:
            return float("nan")
        hits = 0
        for case in cases:
            at, onset = evaluation.alarm(case, limit), evaluation.truth[case]["onset"] or 0
            hits += at is not None and (prefix == "n_" or at >= onset)
        return hits / len(cases)

    return f"{share('n_'):8.4f}{share('p_'):8.3f}"


def peers_table(rows: Mapping[str, Any]) -> str:
    """One line per method: its own decision, then its score swept to 1 % false rollbacks."""
    lines = [
        "method              fpr aa     fpr  recall   fair   real    dwr   at 1 %   pAUC     us",
    ]
    for name, evaluation in rows.items():
        own, swept = evaluation.summary(None), evaluation.summary(evaluation.pick(0.01, "all"))
        results = evaluation.res.values()
        cost = 1e6 * sum(r["cost"] for r in results) / max(sum(r["evals"] for r in results), 1)
        lines.append(
            f"{name:<18}{own['fpr_aa']:8.4f}{own['fpr']:8.4f}{own['recall']:8.3f}{own['recall_fair']:7.3f}"
            f"{own['recall_real']:7.3f}{own['dwr']:7.3f}{swept['recall']:9.3f}{evaluation.pauc():7.3f}{cost:7.0f}"
        )
    return "\n".join(lines)
