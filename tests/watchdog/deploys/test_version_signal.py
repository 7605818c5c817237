"""One clear answer is a version; everything else is None."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from config.schema import VersionSignal
from tests.support.servers import free_port
from watchdog.deploys.version import BODY_BYTES_MAX, VersionReader, prometheus_label_sets

NOW = 1_780_000_000.0
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def saying(body: bytes, **more: Any) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, **more)

    return answer


async def read(answer: Answer, path: str = "$.version", timeout_s: float = 5.0) -> str | None:
    async with serving(answer) as url:
        reader = VersionReader(VersionSignal(http=f"{url}/version", path=path))
        try:
            return await reader.read(NOW, timeout_s)
        finally:
            await reader.close()
            await reader.close()


@pytest.mark.parametrize(
    ("body", "path", "version"),
    [
        (b'{"version": "4.9.1"}', "$.version", "4.9.1"),
        (b'{"version": 491}', "$.version", "491"),
        (b'{"build": {"tags": ["a", "4.9.1"]}}', "$.build.tags[1]", "4.9.1"),
        (b'[{"v": "4.9.1"}, {"v": "4.9.1"}]', "$[*].v", "4.9.1"),
        (b'[{"v": "4.9.1"}, {"v": "4.9.0"}]', "$[*].v", None),
        (b'{"other": 1}', "$.version", None),
        (b'{"version": null}', "$.version", None),
        (b'{"version": true}', "$.version", None),
        (b'{"version": ""}', "$.version", None),
        (b'{"version": "4\\n9"}', "$.version", None),
        (b'{"version": ["4.9.1"]}', "$.version", None),
        (b'"4.9.1"', "$", None),
        (b"<html>log in</html>", "$.version", None),
        (b"\xff\xfe", "$.version", None),
        (b"", "$.version", None),
        (b"[" * 100_000, "$.version", None),
        (b'{"version": "' + b"9" * 201 + b'"}', "$.version", None),
        (b'{"version": "4.9.1", "pad": "' + b"x" * BODY_BYTES_MAX + b'"}', "$.version", None),
    ],
)
async def test_what_a_body_says(body: bytes, path: str, version: str | None) -> None:
    assert await read(saying(body), path) == version


@pytest.mark.parametrize("status", [500, 404, 204])
async def test_another_status_says_nothing(status: int) -> None:
    assert await read(saying(b'{"version": "4.9.1"}' if status != 204 else b"", status=status)) is None


async def test_a_redirect_is_not_followed() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/version":
            raise web.HTTPFound("/elsewhere")
        return web.Response(body=b'{"version": "4.9.1"}')

    assert await read(answer) is None


async def test_a_server_that_does_not_answer_costs_the_timeout_only() -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    assert await read(answer, timeout_s=0.05) is None


async def test_nobody_there_says_nothing() -> None:
    reader = VersionReader(VersionSignal(http=f"http://127.0.0.1:{free_port()}/"))
    assert await reader.read(NOW, 5.0) is None
    await reader.close()


@pytest.mark.parametrize(
    ("signal", "sentence"),
    [
        ({}, "version: name either http"),
        ({"http": "http://x", "series": "y"}, "version: name either http"),
        ({"http": "http://x", "path": "$["}, r"path: \$\[ is no JSONPath"),
    ],
)
def test_a_bad_signal_is_refused_at_the_start(signal: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        VersionReader(VersionSignal.model_validate(signal))


@pytest.mark.parametrize(
    ("labels", "version"),
    [
        ([{"version": "4.9.1", "pod": "a"}, {"version": "4.9.1", "pod": "b"}], "4.9.1"),
        ([{"version": "4.9.1"}, {"version": "4.9.0"}], None),
        ([{"version": "4.9.1"}, {}], None),
        ([], None),
    ],
)
async def test_the_label_of_a_series(labels: list[Mapping[str, str]], version: str | None) -> None:
    asked: list[tuple[str, float, float]] = []

    async def label_sets(selector: str, now: float, timeout_s: float) -> list[Mapping[str, str]]:
        asked.append((selector, now, timeout_s))
        return labels

    reader = VersionReader(VersionSignal(series='build_info{app="checkout"}'), label_sets)
    assert await reader.read(NOW, 2.0) == version
    assert asked == [('build_info{app="checkout"}', NOW, 2.0)]


async def test_a_series_that_nobody_looks_up_says_nothing() -> None:
    assert await VersionReader(VersionSignal(series="build_info")).read(NOW, 2.0) is None


@pytest.mark.parametrize(
    ("body", "version"),
    [
        (
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"version":"4.9.1"}}]}}',
            "4.9.1",
        ),
        (b'{"status":"success","data":{"resultType":"vector","result":[]}}', None),
        (b'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}', None),
        (b'{"status":"error","error":"bad"}', None),
        (
            (
                b'{"status":"success","warnings":["partial"],"data":'
                b'{"resultType":"vector","result":[{"metric":{"version":"4.9.1"}}]}}'
            ),
            None,
        ),
        (b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"version":7}}, 3]}}', None),
        (b"[1]", None),
    ],
)
async def test_an_instant_query(body: bytes, version: str | None) -> None:
    seen: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, request.query_string))
        return web.Response(body=body)

    async with serving(answer) as url, aiohttp.ClientSession() as session:
        reader = VersionReader(VersionSignal(series="build_info"), prometheus_label_sets(session, url + "/"))
        assert await reader.read(NOW, 5.0) == version
    assert seen == [("/api/v1/query", "query=build_info&time=1780000000.000")]
