"""The watch of one deploy: a pure machine from (watch, verdict, time) to the next watch.

announced -> warming -> observing -> (suspect) -> healthy | regressed | inconclusive | blind; the intake
alone moves a watch to superseded, cancelled or missed.
"""

from __future__ import annotations

from dataclasses import replace

from detectors.model import Verdict
from watchdog.model import OPEN_WATCH_STATES, Deploy, Watch, WatchState


def advance(watch: Watch, deploy: Deploy, verdict: Verdict, *, is_over: bool, now: float) -> Watch:
    """The watch after `verdict`, which judges everything up to `verdict.at`.

    is_over: the last step of the watch has been judged. That, and not the clock passing its end, closes a
    watch: late data still belongs to it. A closed watch never changes.
    """
    if watch.state not in OPEN_WATCH_STATES:
        return watch
    if verdict.state == "regressed":
        return _close(watch, "regressed", verdict.because, now)
    if is_over and deploy.finished_at is None:
        because = (
            f"{verdict.because} Nobody said that the roll-out finished, so it was not judged as a whole."
        )
        return _close(watch, "inconclusive", because, now)
    if is_over:
        return _close(watch, _final(verdict), verdict.because, now)
    if deploy.finished_at is None:
        return replace(watch, state="announced", because="the deploy is in progress")
    if verdict.state == "suspect":
        return replace(watch, state="suspect", because=verdict.because)
    if verdict.at < watch.observe_at:
        return replace(watch, state="warming", because="a restart blip is expected until the warm-up ends")
    return replace(watch, state="observing", because=verdict.because)


def _final(verdict: Verdict) -> WatchState:
    if verdict.state == "undecided" or verdict.state == "suspect":
        # A judge that was never closed has not said that the deploy is fine.
        return "inconclusive"
    return verdict.state


def _close(watch: Watch, state: WatchState, because: str, now: float) -> Watch:
    return replace(watch, state=state, because=because, closed_at=now)
