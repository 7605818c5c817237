"""The sentence of one series: numbers with units, times in UTC, and why it is not more than it is."""

from __future__ import annotations

from collections.abc import Mapping

from detectors import say
from detectors.model import DeployInterval, Evidence, Reason
from detectors.subject import Subject

_EXCUSES: Mapping[Reason, str] = {
    "shared": " The controls moved too, so this deploy is not to blame, or not alone.",
    "pre_existing": " It probably began before the deploy.",
    "overlap": " Another deploy may be to blame.",
    "rebound": " It had fallen before the deploy, and is back where it was in the hours before that.",
    "too_small": " The change may be too small to matter.",
    "transient": " It is not there any more.",
    "not_confirmed": " Not confirmed yet.",
}


def explain(subject: Subject, e: Evidence, excuse: Reason, deploy: DeployInterval) -> str:
    """One or two sentences about a series at its newest tick. excuse: "" while nothing crossed."""
    unfit = (
        "" if subject.is_fit else " It informs only: its own past exceeds its limits more often than allowed."
    )
    told = " It informs only." if excuse == "evidence" and not subject.spec.acts else ""
    return _told(subject, e, excuse, deploy) + told + unfit


def _told(subject: Subject, e: Evidence, excuse: Reason, deploy: DeployInterval) -> str:
    name = say.title(e.series)
    if subject.error:
        return f"{name} is not judged: {subject.error}."
    if subject.unmeasured and not excuse:
        return f"{name} is watched for a hard break only: {subject.unmeasured}."
    if e.state == "blind" or e.effect is None or e.before is None or e.now is None:
        ticks = subject.judged or len(subject.raw)
        seen = round(float(subject.seen_ticks()[-ticks:].sum())) if ticks else 0
        return (
            f"{name} is not judged: data in {seen} of {ticks} steps ({100 * e.coverage:.0f} % of the usual)."
        )
    moved = say.change(subject.spec, e.before, e.effect, e.effect_low or 0.0, e.effect_high or 0.0)
    before, now = say.value(e.before, subject.spec.unit), say.value(e.now, subject.spec.unit)
    needed = f"Evidence {e.statistic:.1f} of {e.threshold:.1f} needed"
    verb = "rose" if e.now > e.before else "fell"
    if excuse == "too_late":
        return (
            f"{name} {verb} from {before} to {now} ({moved}) by the end of the watch: too late for this "
            f"deploy to be blamed, and it is still there. {needed}."
        )
    if e.onset_at is None or not excuse:
        word = "steady" if e.state == "steady" else "not sure"
        return f"{name} {word}: {now}, {before} before ({moved}). {needed}{_outlook(subject, e)}."
    blame = f"{say.percent(e.shares.get(deploy.id, 0.0))} this deploy"
    return (
        f"{name} {verb} from {before} to {now} ({moved}) {_when(e, subject.plan.step_s, deploy)}; {blame}. "
        f"{needed}.{_EXCUSES.get(excuse, '')}"
    )


def _outlook(subject: Subject, e: Evidence) -> str:
    """What is still to be said of a series at which no look found anything."""
    is_up = subject.spec.bad == "up"
    rise = ((e.now or 0.0) - (e.before or 0.0)) * (1.0 if is_up else -1.0)
    usual = ""
    if e.smallest_visible and rise > e.smallest_visible and subject.is_foretold:
        usual = f"; it {'rises' if is_up else 'falls'} at this time of other days, too"
    if e.state == "not_sure" and e.is_present:
        return f"; it is still there, but no look of this watch tells it from chance{usual}"
    if not e.smallest_visible:
        return "; no change would surely be found"
    least = say.least(subject.spec, e.before or 0.0, e.smallest_visible)
    return f"{usual}; a change of {least}{' besides' if usual else ''} would be found"


def _when(e: Evidence, step_s: float, deploy: DeployInterval) -> str:
    at, low, high = (say.clock(t or 0.0) for t in (e.onset_at, e.onset_low_at, e.onset_high_at))
    delay = (e.onset_at or 0.0) - deploy.started_at
    if abs(delay) < step_s:
        relative = "with this deploy"
    else:
        relative = f"{say.span(abs(delay))} {'after' if delay > 0 else 'before'} this deploy"
    return f"at {at} UTC ({low} to {high}), {relative}"
