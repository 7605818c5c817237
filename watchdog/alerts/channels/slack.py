"""Slack through an incoming webhook: one message per alert; nothing can be edited or threaded that way.

Limits and answers: reference of Block Kit and of incoming webhooks at docs.slack.dev, read in November 2026.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from yarl import URL

from watchdog.alerts.text import clean, cut
from watchdog.model import Alert, Sent
from watchdog.posting import Answer, NoAnswer, Poster, checked_url, excerpt

# A section takes 3,000 characters, a message 40,000 of text; about 13,000 over all blocks is an undocumented
# limit (slackapi/bolt-js#2509), which headline, nine fields and the link below stay under.
_HEADLINE_CHARS = 1500
_FIELD_CHARS = 1000
_TRY_AGAIN = frozenset({408, 425, 429})
# Word and shape, never colour alone.
_MARKS = {
    "regressed": "!",
    "proposed": "!",
    "unconfirmed": "!",
    "unknown": "!",
    "refused": "!",
    "expired": "!",
    "internal": "!",
    "rolling_back": ">",
    "deployed": ">",
    "vetoed": "x",
    "recovered": "=",
    "healthy": "=",
    "inconclusive": "?",
    "blind": "/",
    "drifted": "~",
    "settled": "=",
    "failing": "!",
    "passing": "=",
}
_LABELS = {
    "what": "What",
    "since": "Since",
    "blame": "Blame",
    "impact": "Impact",
    "done": "Done",
    "next": "Next",
    "because": "Because",
    "not_seen": "Not seen",
    "safe_to_go_back": "Safe to go back",
}


@dataclass(slots=True, kw_only=True)
class SlackChannel:
    """Send alerts to one Slack channel. webhook: the URL Slack gave; it is the credential."""

    webhook: SecretStr
    _url: URL = field(init=False, repr=False)
    _poster: Poster = field(init=False, repr=False, default_factory=Poster)

    def __post_init__(self) -> None:
        """Raise ValueError if the webhook is no URL."""
        self._url = checked_url(self.webhook.get_secret_value(), "webhook")

    async def send(self, alert: Alert, *, now: float, timeout_s: float) -> Sent:
        """One attempt, of at most two requests: blocks that Slack does not take are sent again as text."""
        answer = await self._post(message(alert), now=now, timeout_s=timeout_s / 2)
        if isinstance(answer, Answer) and answer.status == 400 and b"invalid_blocks" in answer.body:
            answer = await self._post(plain_message(alert), now=now, timeout_s=timeout_s / 2)
        return self._judged(answer)

    async def close(self) -> None:
        """Release connections; may be called twice."""
        await self._poster.close()

    async def _post(self, payload: dict[str, Any], *, now: float, timeout_s: float) -> Answer | NoAnswer:
        return await self._poster.exchange(
            "POST",
            self._url,
            body=json.dumps(payload).encode(),
            headers={"Content-Type": "application/json"},
            timeout_s=timeout_s,
            now=now,
        )

    def _judged(self, answer: Answer | NoAnswer) -> Sent:
        if isinstance(answer, NoAnswer):
            return Sent(outcome="unknown" if answer.may_have_arrived else "retry", because=answer.because)
        if answer.status == 200 and answer.body.strip() == b"ok":
            return Sent(outcome="done", because="answered ok")
        # The path of the URL is the credential; an answer may quote it whole or in parts.
        said = excerpt(answer.body, {str(self._url), self._url.raw_path_qs, *self._url.parts})
        because = f"answered {answer.status}" + (f": {said}" if said else "")
        if answer.status < 300 or answer.status >= 500 or answer.status in _TRY_AGAIN:
            # A success that is not `ok` comes from something in between, not from Slack.
            return Sent(outcome="retry", because=because, retry_after_s=answer.retry_after_s)
        return Sent(outcome="refused", because=because)


def message(alert: Alert) -> dict[str, Any]:
    """The alert as blocks, with the headline as top-level text, without which a notification is empty.

    Every text from outside is escaped and `verbatim`: nothing in it becomes a mention or a link.
    """
    blocks = [_section(f"*{_marked(alert, _HEADLINE_CHARS)}*")]
    for name, value in alert.fields.items():
        blocks.append(_section(f"*{_LABELS.get(name, name)}:* {_escaped(value, _FIELD_CHARS)}"))
    if link := _link(alert.link):
        blocks.append({"type": "context", "elements": [_text(f"<{link}|Evidence>")]})
    return {"text": _marked(alert, _HEADLINE_CHARS), "blocks": blocks, **_QUIET}


def plain_message(alert: Alert) -> dict[str, Any]:
    """The alert as nothing but text, for when Slack refuses the blocks."""
    lines = [_marked(alert, _HEADLINE_CHARS)]
    for name, value in alert.fields.items():
        lines.append(f"{_LABELS.get(name, name)}: {_escaped(value, _FIELD_CHARS)}")
    if link := _link(alert.link):
        lines.append(f"<{link}|Evidence>")
    return {"text": "\n".join(lines), **_QUIET}


# A link in a commit message must not unfold into a preview.
_QUIET = {"unfurl_links": False, "unfurl_media": False}


def _marked(alert: Alert, limit: int) -> str:
    return f"{_escape(_MARKS[alert.kind])} {_escaped(alert.text, limit)}"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _text(text)}


def _text(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escaped(text: str, limit: int) -> str:
    return cut(clean(text), limit, _escape)


def _escape(text: str) -> str:
    """The three characters that Slack gives a meaning to."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _link(link: str | None) -> str | None:
    """A link of ours as it may stand in `<...|...>`; None for anything that could end it early."""
    return link if link and len(link) <= 2000 and re.fullmatch(r"https?://[!-;=?-{}~]+", link) else None
