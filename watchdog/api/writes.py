"""The routes that ask for something: a deploy event, a heartbeat, an approval, a veto, the kill switch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from checks.model import Beat
from watchdog.api.answers import Problem, answer
from watchdog.api.bodies import read_body, read_object
from watchdog.api.context import BODY, BOUNDS, IDENTITY, MESSAGE_ID, PORTS
from watchdog.api.encode import action_json, deploy_json, switch_json, watch_json
from watchdog.deploys.reading import read_event
from watchdog.model import Action, SwitchState

BECAUSE_MAX = 500
RUN_MAX = 200


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


async def heartbeat(request: web.Request) -> web.Response:
    """Take in what a job says of its run. Body: `state`, and optionally `run` and `exit`."""
    body = await _object(request)
    _refuse_unknown(body, {"state", "run", "exit"})
    return await _hear(request, body.get("state"), body.get("run", ""), body.get("exit"))


async def heartbeat_by_url(request: web.Request) -> web.Response:
    """The same without a body, for a job that has no more than curl: `…/success?run=7`, `…/fail?exit=3`."""
    if request[IDENTITY].by_cookie:
        # A form could send this without the browser asking for permission.
        raise Problem(403, "A browser session cannot report heartbeats. Send a token.", at="Cookie")
    query = dict(request.query)
    _refuse_unknown(query, {"run", "exit"})
    exit_code = query.get("exit")
    told = int(exit_code) if exit_code is not None and exit_code.isdecimal() else exit_code
    return await _hear(request, request.match_info["state"], query.get("run", ""), told)


async def _hear(request: web.Request, state: Any, run: Any, exit_code: Any) -> web.Response:
    ports = request.app[PORTS]
    if state not in ("start", "success", "fail"):
        raise Problem(422, "state must be start, success or fail.", at="state")
    if not isinstance(run, str) or len(run) > RUN_MAX or not run.isprintable():
        raise Problem(422, f"run must be one line of at most {RUN_MAX} characters.", at="run")
    if exit_code is not None and (type(exit_code) is not int or not 0 <= exit_code <= 255):
        raise Problem(422, "exit must be a whole number from 0 to 255.", at="exit")
    if state == "start" and exit_code is not None:
        raise Problem(422, "A run that starts has no exit code yet. Leave exit out.", at="exit")
    if state == "success" and exit_code:
        raise Problem(422, f"A run that ended with {exit_code} is no success. Report fail.", at="exit")
    beat = Beat(state=state, at=ports.clock.wall_s(), run=run, exit_code=exit_code)
    try:
        is_new = await ports.hear(request.match_info["service"], request.match_info["name"], beat)
    except LookupError as error:
        raise Problem(404, str(error.args[0]), at="name") from error
    return answer({"state": state, "at": beat.at, "duplicate": not is_new}, status=202 if is_new else 200)


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


def _refuse_unknown(body: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(body.keys() - known)
    if unknown:
        raise Problem(422, f"This key is not known. Known: {', '.join(sorted(known))}.", at=unknown[0][:64])


def _refused(error: ValueError) -> Problem:
    """`key: sentence` becomes the sentence at that key."""
    key, colon, sentence = str(error).partition(": ")
    if colon and key.replace("_", "").replace(".", "").isalnum():
        return Problem(422, sentence, at=key)
    return Problem(422, str(error))
