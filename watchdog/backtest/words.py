"""How the figures of a report read: shared by the table, the page, its charts and the suggestions."""

from __future__ import annotations

from datetime import UTC, datetime

from detectors import say
from watchdog.backtest.report import RealDeploy, ServiceReport, Share

DAY_S = 86400.0


def one_in(share: float) -> str:
    """`1 in 200`."""
    return f"1 in {1.0 / share:,.0f}" if share > 0.0 else "none"


def day(at: float) -> str:
    """`2026-05-01 12:00`, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def interval(share: Share) -> str:
    """`2 of 40 (5.0 %, 1.4 to 16.5)`."""
    if share.share is None:
        return "nothing judged"
    low, high = 100 * share.low, 100 * share.high
    return f"{share.found} of {share.of} ({100 * share.share:.1f} %, {low:.1f} to {high:.1f})"


def per_month(service: ServiceReport) -> str:
    """False alarms per month in words; empty without a frequency of deploys."""
    placebos = service.placebos
    if placebos.per_month is None or service.deploys_per_month is None:
        return ""
    return (
        f"{placebos.per_month:.2g} false alarms a month ({placebos.per_month_low:.2g} to "
        f"{placebos.per_month_high:.2g}) at {service.deploys_per_month:.3g} deploys a month"
    )


def would_be(deploy: RealDeploy) -> list[tuple[str, str]]:
    """(`approve: propose`, why) of each mode, or once when every mode would have done the same."""
    found = [(would.mode, would.do.replace("_", " "), would.because) for would in deploy.would]
    if len({(do, because) for _, do, because in found}) == 1:
        return [(f"in every mode: {found[0][1]}", found[0][2])]
    return [(f"{mode}: {do}", because) for mode, do, because in found]


def young(service: ServiceReport) -> str:
    """How many deploys had less past before them than `history` asks for, in words; empty if none."""
    whole_s = 0.99 * service.history_s
    short = [one for one in service.deploys if one.history_s is not None and one.history_s < whole_s]
    if not short:
        return ""
    return (
        f"{len(short)} of {len(service.deploys)} were compared with less than the {days(service.history_s)} "
        "of `history`, because the past that was read begins there: they were judged less sharply."
    )


def days(seconds: float) -> str:
    """`7 days`, or less in smaller units."""
    return f"{seconds / DAY_S:.3g} days" if seconds >= DAY_S else say.span(seconds)
