"""The dashboard's routes: read what a page needs, hand it to the page, put it into the frame."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import parse_qsl

from aiohttp import web

from watchdog.api.answers import Problem
from watchdog.api.auth import SESSION_COOKIE, SESSION_S
from watchdog.api.bodies import read_body
from watchdog.api.charts import chart
from watchdog.api.context import BOUNDS, DOOR, IDENTITY, PORTS
from watchdog.api.dashboard.deploy import DeployView, deploy_body
from watchdog.api.dashboard.frame import Header, page, static_file
from watchdog.api.dashboard.html import el, join
from watchdog.api.dashboard.now import now_body
from watchdog.api.dashboard.service import DEPLOYS_MAX, service_body
from watchdog.api.dashboard.words import sign_of, when
from watchdog.api.picture import RECENT_MAX, look, rollbacks_today
from watchdog.api.protocol import Ports
from watchdog.api.reads import LIMIT_MAX, packet_of, the_deploy, watch_of
from watchdog.model import Action, Deploy


async def now_page(request: web.Request) -> web.Response:
    """Everything at a glance."""
    picture = await look(request.app[PORTS])
    waiting = len(picture.in_group("needs_you"))
    title = f"{waiting} need you" if waiting else "Now"
    return page(title, now_body(picture), header=await _header(request, picture.actions))


async def deploy_page(request: web.Request) -> web.Response:
    """One deploy."""
    ports = request.app[PORTS]
    deploy = await the_deploy(ports, request.match_info["id"])
    watch = await watch_of(ports, deploy)
    packet = await packet_of(ports, watch) if watch else None
    everybody = await ports.store.actions(limit=RECENT_MAX)
    actions = [action for action in everybody if action.deploy_id == deploy.id]
    siblings = await ports.store.deploys(service=deploy.service, limit=LIMIT_MAX)
    before, after = _neighbours(deploy, siblings)
    service = ports.settings.services.get(deploy.service)
    view = DeployView(
        deploy=deploy,
        watch=watch,
        packet=packet,
        chart=await asyncio.to_thread(chart, packet, watch, points_max=300) if packet and watch else None,
        actions=actions,
        attempts={action.key: await ports.store.attempts(action.key) for action in actions[:5]},
        decisions=await ports.store.decisions(watch.id) if watch else [],
        names=await _names(ports, watch.suspect_ids if watch else ()),
        switch=await ports.kill_switch(),
        runbook=service.runbook if service else None,
        owner=service.owner if service else None,
        now=ports.clock.wall_s(),
        before=before,
        after=after,
    )
    word = sign_of(watch.state).word if watch else "not watched"
    title = f"{word}: {deploy.service} {deploy.to_version}"
    body = await asyncio.to_thread(deploy_body, view)
    return page(title, body, header=await _header(request, everybody), has_charts=True)


async def service_page(request: web.Request) -> web.Response:
    """One service."""
    ports, name = request.app[PORTS], request.match_info["service"]
    service = ports.settings.services.get(name)
    if service is None:
        raise Problem(404, "There is no service of this name. Start at the page Now.", at="service")
    picture = await look(ports)
    view = next(view for view in picture.services if view.name == name)
    body = service_body(
        view,
        service,
        await ports.store.deploys(service=name, limit=DEPLOYS_MAX),
        await ports.store.watches(service=name, limit=LIMIT_MAX),
        await ports.store.actions(service=name, limit=LIMIT_MAX),
        ports.settings.environment,
        ports.board.readings(name),
    )
    return page(name, body, header=await _header(request, picture.actions))


async def audit_page(request: web.Request) -> web.Response:
    """The newest audit rows."""
    ports = request.app[PORTS]
    rows = [
        el(
            "tr",
            el("td", when(row.at, "day"), data_label="time (UTC)"),
            el("td", row.who, data_label="who"),
            el("td", row.what, data_label="what", class_="long"),
            el("td", el("code", row.key[:24]), data_label="key"),
            el("td", el("code", row.digest[:12]), data_label="chain"),
            data_row=True,
            data_find=f"{row.who} {row.what} {row.key}".lower(),
        )
        for row in await ports.store.audit(limit=200)
    ]
    table = el(
        "table",
        el(
            "thead",
            el("tr", [el("th", head, scope="col") for head in ("time (UTC)", "who", "what", "key", "chain")]),
        ),
        el("tbody", rows),
        class_="stack",
    )
    body = join(
        el("h1", "Audit"),
        el(
            "p",
            "Each row's digest covers the row before it. The newest 200 are shown, newest first.",
            class_="dim",
        ),
        el(
            "section",
            table if rows else el("p", "Nothing was decided or done yet.", class_="empty"),
            id="audit",
            data_live=True,
            data_list=True,
        ),
    )
    return page("Audit", body, header=await _header(request, await ports.store.actions(limit=RECENT_MAX)))


async def login_page(request: web.Request) -> web.Response:
    """The form for a token."""
    return _login(None, 200)


async def log_in(request: web.Request) -> web.Response:
    """Exchange a token for a session cookie, so that the token itself is not kept by the browser."""
    door = request.app[DOOR]
    body = await read_body(request, request.app[BOUNDS])
    fields = parse_qsl(body.decode("utf-8", "replace")[:4096])
    given = dict(fields).get("token", "").strip()
    try:
        identity = door.by_token(request, given)
    except Problem as problem:
        return _login(problem.error, problem.status)
    response = web.Response(status=303, headers={"Location": "/"})
    response.set_cookie(
        SESSION_COOKIE,
        door.open_session(identity),
        max_age=int(SESSION_S),
        path="/",
        httponly=True,
        samesite="Strict",
        secure=door.is_secure(request),
    )
    return response


async def log_out(request: web.Request) -> web.Response:
    """Forget the session here and in the browser."""
    request.app[DOOR].close_session(request)
    response = web.Response(status=303, headers={"Location": "/login"})
    response.del_cookie(SESSION_COOKIE, path="/")
    return response


async def static(request: web.Request) -> web.Response:
    """One of our own files."""
    found = static_file(request.match_info["name"])
    if found is None:
        raise Problem(404, "There is no such file. Start at the page Now.", at="name")
    return found


def problem_page(problem: Problem) -> web.Response:
    """A refusal as a page; it tells nothing about the daemon."""
    body = join(el("h1", str(problem.status)), el("p", problem.error), el("p", el("a", "Now", href="/")))
    response = page(f"{problem.status}", body, header=None, status=problem.status)
    response.headers.update(problem.headers)
    return response


def _login(error: str | None, status: int) -> web.Response:
    body = el(
        "form",
        el("h1", "Deploy Watchdog"),
        el("p", error, role="alert", class_="wrong") if error else None,
        el(
            "label",
            "Token",
            el(
                "input",
                type="password",
                name="token",
                autocomplete="current-password",
                required=True,
                autofocus=True,
            ),
        ),
        el("button", "Log in"),
        el("p", "Tokens are made with ", el("code", "deploy-watchdog token"), ".", class_="dim"),
        method="post",
        action="/login",
        class_="login",
    )
    return page("Log in", body, header=None, status=status)


async def _header(request: web.Request, actions: Sequence[Action]) -> Header:
    ports = request.app[PORTS]
    now = ports.clock.wall_s()
    return Header(
        environment=ports.settings.environment,
        now=now,
        switch=await ports.kill_switch(),
        rollbacks_today=rollbacks_today(actions, now),
        rollbacks_max=ports.settings.limits.rollbacks_per_day,
        identity=request.get(IDENTITY),
    )


async def _names(ports: Ports, deploy_ids: Sequence[str]) -> dict[str, str]:
    found = [await ports.store.deploy(deploy_id) for deploy_id in deploy_ids[:10]]
    return {deploy.id: f"{deploy.service} {deploy.to_version}" for deploy in found if deploy is not None}


def _neighbours(deploy: Deploy, siblings: Sequence[Deploy]) -> tuple[str | None, str | None]:
    ids = [sibling.id for sibling in siblings]
    if deploy.id not in ids:
        return None, None
    n = ids.index(deploy.id)
    return (ids[n + 1] if n + 1 < len(ids) else None), (ids[n - 1] if n else None)
