"""One clear answer is a version; everything else is None."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from config.schema import VersionSignal
from tests.support.servers import free_port
from watchdog.deploys.version import BODY_BYTES_MAX, VersionReader
from watchdog.sources.protocol import Grid, Query, Source, SourceReading

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


class Labelled:
    """A source that knows labels only."""

    def __init__(self, *labels: Mapping[str, str]) -> None:
        self.labels = list(labels)
        self.asked: list[tuple[str, float, float]] = []

    async def read(
        self, queries: Sequence[Query], grid: Grid, *, now: float, timeout_s: float
    ) -> list[SourceReading]:
        raise AssertionError("nobody reads values here")

    async def label_sets(self, selector: str, *, now: float, timeout_s: float) -> list[Mapping[str, str]]:
        self.asked.append((selector, now, timeout_s))
        return self.labels

    async def close(self) -> None:
        return


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
    source = Labelled(*labels)
    reader = VersionReader(VersionSignal(series='build_info{app="checkout"}'), {"prom": source})
    assert await reader.read(NOW, 2.0) == version
    assert source.asked == [('build_info{app="checkout"}', NOW, 2.0)]


async def test_the_source_that_is_named_is_asked_for_the_label_that_is_named() -> None:
    sources = {"old": Labelled({"tag": "1"}), "new": Labelled({"tag": "2", "version": "3"})}
    signal = VersionSignal(series="build_info", source="new", label="tag")
    assert await VersionReader(signal, sources).read(NOW, 2.0) == "2"
    assert sources["old"].asked == []


@pytest.mark.parametrize("sources", [{}, {"prom": Labelled()}])
def test_a_source_that_does_not_exist_is_refused_at_the_start(sources: Mapping[str, Source]) -> None:
    with pytest.raises(ValueError, match=r"^source: there is no `new`"):
        VersionReader(VersionSignal(series="build_info", source="new"), sources)
