"""All series of a watch put together: one state, one reason, one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detectors import say
from detectors.model import DeployInterval, Evidence, JudgeSettings, Reason, Verdict, VerdictState
from detectors.parts import Part
from detectors.plan import Plan
from detectors.subject import Subject
from detectors.witness import Testimony

_DARK_TICKS = 3
# Of the reasons why a crossing is not a regression, the one that matters most to people first.
_GRAVITY: tuple[Reason, ...] = ("shared", "overlap", "pre_existing", "rebound", "not_confirmed")
_RANK = {"worse": 0, "suspect": 1, "not_sure": 2, "blind": 3, "steady": 4}


def rank(said: Testimony) -> tuple[bool, int, float, str]:
    """The lowest speaks for all parts of a series: one that controls excuse, else the worst, which is the one
    that moved most."""
    return said.excuse != "shared", *_key(said.evidence)


def for_all(said: Testimony, part: Part) -> Testimony:
    """What a part says, said of its series."""
    if part.cut is None:
        return said
    return replace(said, evidence=replace(said.evidence, series=part.whole.name, bound=part.bound))


def conclude(
    subjects: Sequence[Subject],
    said: Sequence[Testimony],
    plan: Plan,
    deploy: DeployInterval,
    settings: JudgeSettings,
    ticks: int,
    is_closed: bool,
) -> Verdict:
    """The verdict after `ticks` ticks; is_closed: no more will come."""
    order = sorted(range(len(said)), key=lambda i: _key(said[i].evidence))
    evidence = tuple(said[i].evidence for i in order)
    acting = [(s, t) for s, t in zip(subjects, said, strict=True) if s.acts]
    state, reason, because = _decide(acting, plan, settings, ticks, is_closed)
    mine = [e for e in evidence if any(t.evidence is e for _, t in acting)]
    informing = [said[i].evidence for i in order if not subjects[i].acts and said[i].excuse == "evidence"]
    worst = mine[0] if mine else None
    blamed = None
    crossed = [e for e in mine if e.state in ("worse", "suspect") and e.onset_at is not None]
    if crossed:
        shares = {k: v for k, v in crossed[0].shares.items() if k not in ("before", "none")}
        blamed = max(shares, key=lambda k: shares[k])
    return Verdict(
        state=state,
        reason=reason,
        because=f"{because}{_informing(informing)}",
        at=plan.tick_end(ticks - 1) if ticks else plan.end_at,
        evidence=evidence,
        statistic=worst.statistic if worst else 0.0,
        threshold=worst.threshold if worst else 0.0,
        calibration=worst.calibration if worst else "model",
        coverage=sum(t.evidence.coverage for _, t in acting) / len(acting) if acting else 0.0,
        blamed_deploy=blamed,
    )


def _key(e: Evidence) -> tuple[int, float, str]:
    return _RANK[e.state], -e.statistic / max(e.threshold, 1e-9), e.series


def _decide(
    acting: Sequence[tuple[Subject, Testimony]],
    plan: Plan,
    settings: JudgeSettings,
    ticks: int,
    is_closed: bool,
) -> tuple[VerdictState, Reason, str]:
    worse = sorted((t.evidence for _, t in acting if t.evidence.state == "worse"), key=_key)
    # A shock that one series shares with its controls reaches the others too: none of them is believed alone.
    if worse and not any(t.excuse == "shared" for _, t in acting):
        return "regressed", "evidence", _also(worse)
    able = [(s, t) for s, t in acting if not s.error]
    if not able:
        why = " ".join(t.evidence.because for _, t in acting) or "No series of this service may act."
        return "blind", "no_history", f"Nothing to compare with. {why}"
    dark = _dark_ticks(able, plan, ticks)
    judged = ticks - plan.gap
    if not is_closed:
        if dark >= _DARK_TICKS:
            since = say.clock(plan.tick_end(ticks - 1) - dark * plan.step_s)
            return (
                "blind",
                "no_data",
                f"No data from any series since {since} UTC ({dark} steps); not cleared.",
            )
        over = sorted((rank(t), t.evidence.because) for _, t in able if t.excuse not in ("", "too_small"))
        if over:
            return "suspect", "watching", over[0][1]
        if judged <= 0:
            left = say.span(max(plan.gap - ticks, 0) * plan.step_s)
            return "undecided", "warming", f"Warming up: judged from {left} on."
        worst = min((t.evidence for _, t in able), key=_key)
        return "undecided", "watching", f"{judged} of {plan.judged} steps judged. {worst.because}"
    return _close(acting, able, settings, judged, dark)


def _close(
    acting: Sequence[tuple[Subject, Testimony]],
    able: Sequence[tuple[Subject, Testimony]],
    settings: JudgeSettings,
    judged: int,
    dark: int,
) -> tuple[VerdictState, Reason, str]:
    seeing = [
        (s, t)
        for s, t in able
        if t.evidence.state != "blind" and s.has_looked and s.seen_ticks()[s.plan.gap :].any()
    ]
    if judged <= 0 or not seeing:
        why = " ".join(t.evidence.because for _, t in able)
        return "blind", "no_data", f"Too little was seen to judge this deploy. {why}"
    for reason in _GRAVITY:
        found = sorted((t.evidence for _, t in seeing if t.excuse == reason), key=_key)
        if found:
            return "inconclusive", reason, found[0].because
    shared = [t.evidence for s, t in seeing if s.has_shared and t.excuse != "transient"]
    if shared:
        text = (
            f"{say.title(shared[0].series)} moved together with its controls: not this deploy, or not alone."
        )
        return "inconclusive", "shared", f"{text} {shared[0].because}"
    late = sorted((t.evidence for _, t in seeing if t.excuse == "too_late"), key=_key)
    if late:
        return "inconclusive", "too_late", late[0].because
    # A series without history was never expected to be judged; its evidence says so.
    missing = [t.evidence for s, t in able if all(s is not x for x, _ in seeing)]
    if missing and len(missing) > (1.0 - settings.coverage_min) * len(able):
        text = f"{len(missing)} of {len(able)} series were not seen well enough to clear this deploy."
        return "inconclusive", "coverage", f"{text} {missing[0].because}"
    if dark >= _DARK_TICKS:
        return "inconclusive", "coverage", f"No data from any series in the last {dark} steps of the watch."
    # A change that is still there is no all-clear, though its statistic fell back below the threshold.
    open_end = [t.evidence for _, t in seeing if t.evidence.state == "not_sure" and t.evidence.is_present]
    if open_end:
        return "inconclusive", "not_confirmed", open_end[0].because
    gone = [t.evidence for s, t in seeing if t.excuse == "transient" or s.has_crossed]
    if gone:
        return "healthy", "transient", f"It went away by itself. {gone[0].because}"
    faint = [t.evidence for _, t in seeing if t.excuse == "too_small"]
    if faint:
        return "healthy", "too_small", f"What changed is too small to matter. {faint[0].because}"
    worst = min((t.evidence for _, t in seeing), key=_key)
    blind = ", ".join(
        say.title(t.evidence.series).lower() for s, t in acting if all(s is not x for x, _ in seeing)
    )
    left_out = f" Not judged: {blind}." if blind else ""
    return "healthy", "steady", f"No series got worse in {judged} steps. {worst.because}{left_out}"


def _dark_ticks(able: Sequence[tuple[Subject, Testimony]], plan: Plan, ticks: int) -> int:
    """Newest ticks in a row, since the deploy finished, in which no series held data."""
    seen = np.flatnonzero(np.sum([s.seen_ticks() for s, _ in able], axis=0)) if ticks else np.zeros(0)
    newest = int(seen[-1]) if len(seen) else -1
    count = max(ticks - max(newest + 1, plan.finished), 0)
    usual = max(max(s.base.density for s, _ in able), 0.1)
    # A service with data in every fifth step only is not dark after three.
    return count if count * usual >= _DARK_TICKS or usual > 0.8 else 0


def _also(worse: Sequence[Evidence]) -> str:
    rest = ", ".join(say.title(e.series).lower() for e in worse[1:4])
    more = f" and {len(worse) - 4} more" if len(worse) > 4 else ""
    return f"{worse[0].because} Also worse: {rest}{more}." if rest else worse[0].because


def _informing(worse: Sequence[Evidence]) -> str:
    if not worse:
        return ""
    named = ", ".join(say.title(e.series).lower() for e in worse[:4])
    more = f" and {len(worse) - 4} more" if len(worse) > 4 else ""
    return f" Worse too, but only informing: {named}{more}."
