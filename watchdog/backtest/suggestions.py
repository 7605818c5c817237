"""What a team should change after a backtest, each in one sentence with its numbers. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from config.values import written_duration
from watchdog.backtest.report import Placebos, SeriesReport, Suggestion
from watchdog.backtest.words import DAY_S, days, one_in
from watchdog.plan import ServicePlan

# Stretches of history per false rollback allowed: with three a limit can still be read off them
# (1 in 200 needs 600).
_WINDOWS_PER_ALARM = 3.0


def suggestions(
    plan: ServicePlan,
    past_s: float,
    placebos: Placebos,
    series: Sequence[SeriesReport],
    deploys_per_month: float | None,
) -> tuple[Suggestion, ...]:
    """The suggestions for one service, what matters most first; past_s: span of the past that was read."""
    return (
        *_bugs(placebos),
        *_noise(plan, placebos, series),
        *_holes(plan, series),
        *_budget(plan, past_s),
        *_blindness(series),
        *_frequency(deploys_per_month),
    )


def windows(plan: ServicePlan, past_s: float) -> float:
    """How many stretches as long as a watch lie in the history that a judge gets."""
    return min(past_s, plan.history_s) / plan.judge.watch_s


def affordable(plan: ServicePlan, past_s: float) -> int:
    """n of the smallest budget, 1 in n, whose limit can be read off that history, not extrapolated."""
    return max(1, math.floor(windows(plan, past_s) / _WINDOWS_PER_ALARM))


def history_needed_s(plan: ServicePlan) -> float:
    """The history with which the configured budget can be read off, whole days or watches."""
    needed_s = _WINDOWS_PER_ALARM / plan.judge.false_rollbacks * plan.judge.watch_s
    return math.ceil(needed_s / DAY_S) * DAY_S if needed_s > DAY_S else math.ceil(needed_s)


def _bugs(placebos: Placebos) -> list[Suggestion]:
    if not placebos.broken:
        return []
    text = (
        f"The judge failed at {placebos.broken} of {placebos.used} placebos, which were left out. That is a "
        "bug of deploy-watchdog: please report it with the traceback above."
    )
    return [Suggestion(what="bug", series=None, text=text)]


def _noise(plan: ServicePlan, placebos: Placebos, series: Sequence[SeriesReport]) -> list[Suggestion]:
    noisy = [one for one in series if one.is_noisy]
    found = [
        Suggestion(
            what="drop_series",
            series=one.series,
            text=f"`{one.series}` alone called {one.fired.found} of {one.fired.of} placebos a regression; "
            f"its part of the budget is {one_in(one.allowed)}. Give it `acts: false`, or a larger "
            "`ignore_below`.",
        )
        for one in noisy
        if one.acts
    ]
    alarms = placebos.false_alarms
    if alarms.low > plan.judge.false_rollbacks:
        left = [one.series for one in series if one.acts and not one.is_noisy]
        without = sum(bool(set(left) & set(each.fired)) for each in placebos.each)
        hope = (
            f" Without {_listed([s.series or '' for s in found])}: {without} of {alarms.of}." if found else ""
        )
        found.append(
            Suggestion(
                what="budget",
                series=None,
                text=f"The budget of {one_in(plan.judge.false_rollbacks)} does not hold here: "
                f"{alarms.found} of {alarms.of} placebos were called regressed, at least "
                f"{one_in(alarms.low)}.{hope} Stay with mode observe or approve until it does.",
            )
        )
    return found


def _holes(plan: ServicePlan, series: Sequence[SeriesReport]) -> list[Suggestion]:
    return [
        Suggestion(
            what="coverage",
            series=one.series,
            text=f"`{one.series}` has a value in {100 * one.coverage:.0f} % of the steps; "
            f"{100 * plan.judge.coverage_min:.0f} % are needed to judge by it."
            + (f" {one.problem[0].upper()}{one.problem[1:]}." if one.problem else ""),
        )
        for one in series
        if one.coverage < plan.judge.coverage_min
    ]


def _budget(plan: ServicePlan, past_s: float) -> list[Suggestion]:
    found = []
    budget, needed_s = plan.judge.false_rollbacks, history_needed_s(plan)
    held_s, can = min(past_s, plan.history_s), affordable(plan, past_s)
    if past_s < plan.history_s:
        found.append(
            Suggestion(
                what="history",
                series=None,
                text=f"`history` asks for {days(plan.history_s)} before every deploy, and {days(past_s)} "
                f"were read: {days(plan.history_s - past_s)} are missing. Go further back with --since, "
                "or wait.",
            )
        )
    if needed_s > held_s:
        missing = f" ({days(needed_s - past_s)} more than were read)" if needed_s > past_s else ""
        found.append(
            Suggestion(
                what="budget",
                series=None,
                text=f"{days(held_s)} of history hold {windows(plan, past_s):.0f} stretches as long as a "
                f"watch, enough to read off a limit for 1 in {can}. For {one_in(budget)} it is extrapolated. "
                f"Write `history: {written_duration(needed_s)}`{missing}, or `false_rollbacks: 1/{can}`.",
            )
        )
    return found


def _blindness(series: Sequence[SeriesReport]) -> list[Suggestion]:
    return [
        Suggestion(
            what="sensitivity",
            series=one.series,
            text=f"`{one.series}` found not even {one.power[-1].label} in 80 % of {one.power[-1].found.of} "
            "tries: it cannot protect a deploy at this traffic; add a check or a series that moves earlier.",
        )
        for one in series
        if one.acts and one.power and one.smallest_found is None
    ]


def _frequency(deploys_per_month: float | None) -> list[Suggestion]:
    if deploys_per_month is not None:
        return []
    text = "No deploy of this service is known: give the log with --deploys for false alarms per month."
    return [Suggestion(what="deploys", series=None, text=text)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
