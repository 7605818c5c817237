"""The JSON routes that ask for something: a deploy event, an approval, a veto, the kill switch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from watchdog.api.answers import Problem, answer
from watchdog.api.bodies import read_body, read_object
from watchdog.api.context import BODY, BOUNDS, IDENTITY, MESSAGE_ID, PORTS
from watchdog.api.encode import action_json, deploy_json, switch_json, watch_json
from watchdog.deploys.reading import read_event
from watchdog.model import Action, SwitchState

BECAUSE_MAX = 500


async def submit_deploy(request: web.Request) -> web.Response:
    """Take in one deploy event: 202 when new, 200 when this sender said it before, 422 when it cannot be.

    The sender's id is the body's `id`, else the signed message's `webhook-id`, else the header
    Idempotency-Key, else made of the content.
    """
    ports, identity = request.app[PORTS], request[IDENTITY]
    body = await _object(request)
    sender_id = request.get(MESSAGE_ID) or request.headers.get("Idempotency-Key")
    if sender_id is not None and len(sender_id) > 256:
        raise Problem(422, "Idempotency-Key is longer than 256 characters. Shorten it.", at="Idempotency-Key")
    try:
        event = read_event(
            body,
            sender=identity.name,
            sender_id=sender_id,
            environment=ports.settings.environment,
            now=ports.clock.wall_s(),
        )
        intake = await ports.submit(event)
    except ValueError as error:
        raise _refused(error) from error
    return answer(
        {
            "deploy": deploy_json(intake.deploy),
            "watch": watch_json(intake.watch),
            "duplicate": intake.is_duplicate,
        },
        status=200 if intake.is_duplicate else 202,
    )


async def approve(request: web.Request) -> web.Response:
    """Approve an action that waits for it."""
    return await _decide(request, request.app[PORTS].approve)


async def veto(request: web.Request) -> web.Response:
    """Stop an action that has not been sent."""
    return await _decide(request, request.app[PORTS].veto)


async def set_kill_switch(request: web.Request) -> web.Response:
    """Stop all actions, or let them go on. Body: `on` (true or false) and `because`."""
    ports = request.app[PORTS]
    body = await _object(request)
    is_on = body.get("on")
    if not isinstance(is_on, bool):
        raise Problem(422, "on must be true or false.", at="on")
    _refuse_unknown(body, {"on", "because"})
    state = SwitchState(
        is_on=is_on, by=request[IDENTITY].name, at=ports.clock.wall_s(), because=_because(body)
    )
    await ports.set_kill_switch(state)
    return answer({"kill_switch": switch_json(await ports.kill_switch())})


async def _decide(request: web.Request, decide: Callable[[str, str, str], Awaitable[Action]]) -> web.Response:
    ports, key = request.app[PORTS], request.match_info["key"]
    body = await _object(request)
    _refuse_unknown(body, {"because", "evidence_digest"})
    because = _because(body)
    expected = body.get("evidence_digest")
    found = await ports.store.action(key)
    if found is None:
        raise Problem(404, "There is no action with this key. List them at /api/v1/actions.", at="key")
    if expected is not None and expected != found.evidence_digest:
        raise Problem(
            409, "The evidence changed since you looked. Look again, then decide.", at="evidence_digest"
        )
    try:
        action = await decide(key, request[IDENTITY].name, because)
    except LookupError as error:
        raise Problem(
            404, "There is no action with this key. List them at /api/v1/actions.", at="key"
        ) from error
    except ValueError as error:
        raise Problem(409, str(error)) from error
    return answer({"action": action_json(action, await ports.store.attempts(key))})


async def _object(request: web.Request) -> dict[str, Any]:
    if request[IDENTITY].by_cookie and request.content_type != "application/json":
        # The content types a form can send need no permission of the browser's.
        raise Problem(403, "A browser session must send application/json.", at="Content-Type")
    bounds = request.app[BOUNDS]
    body = request.get(BODY)
    return read_object(await read_body(request, bounds) if body is None else body, bounds)


def _because(body: dict[str, Any]) -> str:
    """The caller's reason for the audit log; it may be left out: at 3 a.m. the veto comes first."""
    because = body.get("because", "")
    if not isinstance(because, str) or len(because) > BECAUSE_MAX or not because.isprintable():
        raise Problem(422, f"because must be one line of at most {BECAUSE_MAX} characters.", at="because")
    return because.strip()


def _refuse_unknown(body: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(body.keys() - known)
    if unknown:
        raise Problem(422, f"This key is not known. Known: {', '.join(sorted(known))}.", at=unknown[0][:64])


def _refused(error: ValueError) -> Problem:
    """`key: sentence` becomes the sentence at that key."""
    key, colon, sentence = str(error).partition(": ")
    if colon and key.replace("_", "").replace(".", "").isalnum():
        return Problem(422, sentence, at=key)
    return Problem(422, str(error))
