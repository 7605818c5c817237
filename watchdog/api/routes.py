"""Every route of the API and the dashboard, with the scope it needs: the one place to look, and to test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from config.schema import Scope
from watchdog.api import probe, reads, writes
from watchdog.api.dashboard import pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. scope None: anybody may ask.

    is_page: HTML, so that a stranger is sent to /login. is_form: a POST of the dashboard's own form.
    is_signable: a Standard Webhooks signature stands for a token with the scope `deploy`.
    """

    method: str
    path: str
    scope: Scope | None
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    is_page: bool = False
    is_form: bool = False
    is_signable: bool = False


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/livez", scope=None, handler=reads.livez),
    Route(method="GET", path="/readyz", scope=None, handler=reads.readyz),
    Route(method="GET", path="/metrics", scope="read", handler=reads.metrics),
    Route(method="GET", path="/probe", scope="read", handler=probe.probe),
    Route(
        method="POST", path="/api/v1/deploys", scope="deploy", handler=writes.submit_deploy, is_signable=True
    ),
    Route(
        method="POST", path="/api/v1/heartbeats/{service}/{name}", scope="deploy", handler=writes.heartbeat
    ),
    Route(
        method="POST",
        path="/api/v1/heartbeats/{service}/{name}/{state}",
        scope="deploy",
        handler=writes.heartbeat_by_url,
    ),
    Route(method="GET", path="/api/v1/deploys/{id}", scope="read", handler=reads.deploy),
    Route(method="GET", path="/api/v1/services", scope="read", handler=reads.services),
    Route(method="GET", path="/api/v1/watches", scope="read", handler=reads.watches),
    Route(method="GET", path="/api/v1/watches/{id}", scope="read", handler=reads.watch),
    Route(method="GET", path="/api/v1/watches/{id}/packet", scope="read", handler=reads.packet),
    Route(method="GET", path="/api/v1/watches/{id}/chart", scope="read", handler=reads.watch_chart),
    Route(method="GET", path="/api/v1/actions", scope="read", handler=reads.actions),
    Route(method="GET", path="/api/v1/actions/{key}", scope="read", handler=reads.action),
    Route(method="POST", path="/api/v1/actions/{key}/approve", scope="approve", handler=writes.approve),
    Route(method="POST", path="/api/v1/actions/{key}/veto", scope="approve", handler=writes.veto),
    Route(method="GET", path="/api/v1/audit", scope="read", handler=reads.audit),
    Route(method="GET", path="/api/v1/kill-switch", scope="read", handler=reads.kill_switch),
    Route(method="POST", path="/api/v1/kill-switch", scope="admin", handler=writes.set_kill_switch),
    Route(method="GET", path="/api/v1/events", scope="read", handler=reads.events),
    Route(method="GET", path="/", scope="read", handler=pages.now_page, is_page=True),
    Route(method="GET", path="/d/{id}", scope="read", handler=pages.deploy_page, is_page=True),
    Route(method="GET", path="/s/{service}", scope="read", handler=pages.service_page, is_page=True),
    Route(method="GET", path="/audit", scope="read", handler=pages.audit_page, is_page=True),
    Route(method="GET", path="/login", scope=None, handler=pages.login_page, is_page=True),
    Route(method="POST", path="/login", scope=None, handler=pages.log_in, is_page=True, is_form=True),
    Route(method="POST", path="/logout", scope=None, handler=pages.log_out, is_page=True, is_form=True),
    Route(method="GET", path="/static/{name}", scope=None, handler=pages.static),
)
