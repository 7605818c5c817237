"""What happens next, in words: the answer to "what will this tool do, and how do I stop it?"."""

from __future__ import annotations

from watchdog.api.dashboard.html import Child, Html, el, join
from watchdog.api.dashboard.words import badge, when
from watchdog.model import OPEN_WATCH_STATES, Action, SwitchState, Watch


def next_step(watch: Watch, action: Action | None, switch: SwitchState, *, is_short: bool = False) -> Child:
    """The next thing to happen and when; is_short leaves out what to type."""
    if action is None:
        return _without_action(watch)
    back = f"{action.service} {action.environment} to {action.to_version}"
    stopped = " The kill switch is on: nothing will be sent." if switch.is_on else None
    match action.state:
        case "awaiting_approval":
            how = join(
                " Approve: ",
                el("code", f"deploy-watchdog rollback approve {action.key[:12]}"),
                ", or stop it: ",
                el("code", f"deploy-watchdog rollback veto {action.key[:12]}"),
                ".",
            )
            until = join("Waiting for approval until ", when(action.valid_until_at), " UTC.")
            return join(until, None if is_short else how, stopped)
        case "armed" | "intended" | "sending":
            return join(
                f"Rolling back {back} now; sent by ",
                when(action.valid_until_at),
                " UTC or not at all.",
                stopped,
            )
        case "acked":
            return join(
                f"Accepted by {action.target}. Recovery must show by ",
                when(action.deadline_at),
                " UTC, else a person is paged.",
            )
        case "retry_wait":
            return join("Not taken yet; tried again at ", when(action.next_attempt_at), " UTC.", stopped)
        case "proposed":
            return f"Nothing happens by itself (mode {watch.mode}). To go back, deploy {action.to_version}."
        case "vetoed":
            return "Vetoed: this deploy will never be rolled back by the watchdog."
        case "confirmed":
            return f"Recovered on {action.to_version}. Nothing more to do here."
        case "unconfirmed":
            return f"Rolled back, but not recovered. No second rollback: a person is needed at {back}."
        case "unknown":
            return f"It cannot be told whether {action.target} took the rollback. Look there first."
        case "refused":
            return f"{action.target} refused the rollback. Nothing more is sent: go back by hand."
        case "expired":
            return "The offer ended before it was used. Nothing more is sent: decide by hand."


def _without_action(watch: Watch) -> Child:
    if watch.state in OPEN_WATCH_STATES:
        return join("Judged until ", when(watch.ends_at), " UTC; nothing is done before there is evidence.")
    if watch.state == "regressed":
        return f"Nothing happens by itself (mode {watch.mode}). Going back is up to you."
    if watch.state in ("inconclusive", "blind", "missed"):
        return "Not cleared and not condemned: nothing is rolled back."
    if watch.state == "healthy":
        return "Closed. Nothing more happens."
    return "Not judged to the end. Nothing more happens."


def action_item(action: Action, attempts: list[tuple[float, str]]) -> Html:
    """One action with its reason and its attempts, oldest first."""
    return el(
        "li",
        el(
            "p",
            badge(action.state),
            f" {action.step}: {action.service} {action.from_version} → {action.to_version} ({action.target})",
        ),
        el("p", action.because, class_="because"),
        el("ol", [el("li", when(at), f" {what}") for at, what in attempts[-20:]], class_="log")
        if attempts
        else None,
        el("p", "key ", el("code", f"{action.key[:12]}…", title=action.key), class_="dim"),
    )
