"""`/probe?module=&target=`: one probe on request, for a Prometheus that used to ask blackbox_exporter."""

from __future__ import annotations

import math

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from config.probes import Refused
from watchdog.api.answers import Problem
from watchdog.api.context import PORTS
from watchdog.checking.probing import Busy

# The module that blackbox_exporter takes when none is named.
_DEFAULT = "http_2xx"
_SCRAPE_TIMEOUT = "X-Prometheus-Scrape-Timeout-Seconds"


async def probe(request: web.Request) -> web.Response:
    """The metrics of one probe; 404 while no module is configured."""
    ask = request.app[PORTS].probe
    if ask is None:
        raise Problem(404, "No module is configured. Write one under probe.modules.")
    target, module = request.query.get("target", ""), request.query.get("module", _DEFAULT)
    if not target:
        raise Problem(400, "Say what to probe: target=https://host/path.", at="target")
    try:
        page = await ask(module, target, _scrape_timeout_s(request))
    except LookupError:
        raise Problem(
            400, "There is no such module. See probe.modules in the configuration.", at="module"
        ) from None
    except Refused as refused:
        raise Problem(403, str(refused), at="target") from None
    except Busy:
        raise Problem(
            503,
            "As many probes run as may. Ask again, or raise probe.concurrency.",
            headers={"Retry-After": "1"},
        ) from None
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _scrape_timeout_s(request: web.Request) -> float | None:
    """How long the scrape waits, None where it does not say."""
    text = request.headers.get(_SCRAPE_TIMEOUT)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds < math.inf:
        raise Problem(400, f"{_SCRAPE_TIMEOUT} is not a number of seconds.")
    return seconds
