"""The JSON routes that only read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from watchdog.api.answers import Problem, answer
from watchdog.api.charts import chart
from watchdog.api.context import PORTS, STREAMS
from watchdog.api.encode import action_json, audit_json, deploy_json, switch_json, watch_json
from watchdog.api.picture import look, service_json
from watchdog.api.protocol import Ports
from watchdog.model import Deploy, Watch

LIMIT_MAX = 500


async def livez(request: web.Request) -> web.Response:
    """200 while the event loop and the daemon's tasks run, else 503."""
    if request.app[PORTS].is_alive():
        return answer({"alive": True})
    return answer({"alive": False}, status=503)


async def readyz(request: web.Request) -> web.Response:
    """200 once the daemon can judge and act, else 503 with sentences saying what is missing."""
    because = request.app[PORTS].readiness()
    return answer({"ready": not because, "because": because}, status=503 if because else 200)


async def metrics(request: web.Request) -> web.Response:
    """The daemon's metrics in the Prometheus text format."""
    text = await asyncio.to_thread(generate_latest, request.app[PORTS].registry)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def services(request: web.Request) -> web.Response:
    """Every configured service as it stands."""
    ports = request.app[PORTS]
    picture = await look(ports)
    return answer(
        {
            "at": picture.at,
            "environment": ports.settings.environment,
            "services": [
                {**service_json(view), "readings": ports.board.readings(view.name)}
                for view in picture.services
            ],
            "sources": dict(picture.sources),
        }
    )


async def watches(request: web.Request) -> web.Response:
    """Watches, newest first; `service`, `open` (true or false) and `limit` narrow them."""
    found = await request.app[PORTS].store.watches(
        service=request.query.get("service"), is_open=_flag(request, "open"), limit=_limit(request)
    )
    return answer({"watches": [watch_json(watch) for watch in found]})


async def watch(request: web.Request) -> web.Response:
    """One watch with its deploy, newest verdict and evidence, and its decisions."""
    ports = request.app[PORTS]
    found = await the_watch(ports, request.match_info["id"])
    deploy = await ports.store.deploy(found.deploy_id)
    packet = await packet_of(ports, found)
    decisions = await ports.store.decisions(found.id)
    return answer(
        {
            "watch": watch_json(found),
            "deploy": deploy_json(deploy) if deploy else None,
            "verdict": (packet or {}).get("verdict"),
            "evidence": (packet or {}).get("evidence") or [],
            "decisions": [{"at": at, "do": do, "because": because} for at, do, because in decisions],
        }
    )


async def packet(request: web.Request) -> web.Response:
    """The evidence packet of a watch, as stored or as of the last tick: it replays to the same verdict."""
    # A week of samples is megabytes of text: made in a thread, so that no tick waits for it.
    return await asyncio.to_thread(answer, {"packet": await _the_packet(request)})


async def watch_chart(request: web.Request) -> web.Response:
    """What the charts of a watch draw; see `watchdog.api.charts.chart`."""
    found = await the_watch(request.app[PORTS], request.match_info["id"])
    packet = await _the_packet(request)
    return await asyncio.to_thread(lambda: answer({"chart": chart(packet, found)}))


async def deploy(request: web.Request) -> web.Response:
    """One deploy with its watch, verdict and actions: what a pipeline waiting for the verdict asks."""
    ports = request.app[PORTS]
    found = await the_deploy(ports, request.match_info["id"])
    watched = await watch_of(ports, found)
    packet = await packet_of(ports, watched) if watched else None
    actions = await ports.store.actions(service=found.service, limit=LIMIT_MAX)
    return answer(
        {
            "deploy": deploy_json(found),
            "watch": watch_json(watched),
            "verdict": (packet or {}).get("verdict"),
            "actions": [action_json(action) for action in actions if action.deploy_id == found.id],
        }
    )


async def actions(request: web.Request) -> web.Response:
    """Rollback actions, newest first."""
    found = await request.app[PORTS].store.actions(
        service=request.query.get("service"), limit=_limit(request)
    )
    return answer({"actions": [action_json(action) for action in found]})


async def action(request: web.Request) -> web.Response:
    """One action with its attempts."""
    store = request.app[PORTS].store
    found = await store.action(request.match_info["key"])
    if found is None:
        raise Problem(404, "There is no action with this key. List them at /api/v1/actions.", at="key")
    return answer({"action": action_json(found, await store.attempts(found.key))})


async def audit(request: web.Request) -> web.Response:
    """Audit rows, newest first."""
    rows = await request.app[PORTS].store.audit(limit=_limit(request))
    return answer({"audit": [audit_json(row) for row in rows]})


async def kill_switch(request: web.Request) -> web.Response:
    """Whether actions are stopped, since when, by whom and why."""
    return answer({"kill_switch": switch_json(await request.app[PORTS].kill_switch())})


async def events(request: web.Request) -> web.StreamResponse:
    """Server-sent events `state`; see `watchdog.api.live`."""
    return await request.app[STREAMS].serve(request)


async def the_deploy(ports: Ports, deploy_id: str) -> Deploy:
    """The deploy of that id. Raises Problem 404."""
    found = await ports.store.deploy(deploy_id)
    if found is None:
        raise Problem(404, "There is no deploy with this id. List services at /api/v1/services.", at="id")
    return found


async def the_watch(ports: Ports, watch_id: str) -> Watch:
    """The watch of that id. Raises Problem 404."""
    found = await ports.store.watch(watch_id)
    if found is None:
        raise Problem(404, "There is no watch with this id. List them at /api/v1/watches.", at="id")
    return found


async def watch_of(ports: Ports, deploy: Deploy) -> Watch | None:
    """The newest watch of a deploy among the last of its service."""
    found = await ports.store.watches(service=deploy.service, limit=LIMIT_MAX)
    return next((watch for watch in found if watch.deploy_id == deploy.id), None)


async def packet_of(ports: Ports, watch: Watch) -> Mapping[str, Any] | None:
    """The evidence packet of a watch: live while it is open here, else as stored."""
    return ports.board.live_packet(watch.id) or await ports.store.packet(watch.id)


async def _the_packet(request: web.Request) -> Mapping[str, Any]:
    found = await the_watch(request.app[PORTS], request.match_info["id"])
    packet = await packet_of(request.app[PORTS], found)
    if packet is None:
        raise Problem(
            404, "This watch has no evidence yet: nothing was judged so far. Ask again later.", at="id"
        )
    return packet


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "100")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIMIT_MAX):
        raise Problem(400, f"limit must be a whole number from 1 to {LIMIT_MAX}.", at="limit")
    return int(text)


def _flag(request: web.Request, name: str) -> bool | None:
    text = request.query.get(name)
    if text not in (None, "true", "false"):
        raise Problem(400, f"{name} must be true or false.", at=name)
    return None if text is None else text == "true"
