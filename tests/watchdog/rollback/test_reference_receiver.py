"""The receiver we ship, told by the target we ship: one run per key, through restarts, nothing forged."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from tests.support.examples import INTENT
from tests.watchdog.rollback.test_target_conformance import ORDER, SECRET
from tests.watchdog.rollback.test_webhook_target import OTHER
from watchdog.model import Action
from watchdog.rollback.targets.webhook import WebhookTarget
from watchdog.signing import SigningKeys


def shipped() -> ModuleType:
    path = Path(__file__).parents[3] / "deploy" / "receiver" / "receiver.py"
    spec = importlib.util.spec_from_file_location("shipped_receiver", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Place:
    """Where the receiver keeps its state and the command leaves its traces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.traces = folder / "traces"
        self.exit_code = folder / "exit"
        script = (
            "import os, pathlib, sys\n"
            f"with open({str(self.traces)!r}, 'a') as out:\n"
            "    out.write(os.environ['SERVICE'] + ' ' + os.environ['TO_VERSION'] + '\\n')\n"
            f"code = pathlib.Path({str(self.exit_code)!r})\n"
            "sys.exit(int(code.read_text()) if code.exists() else 0)\n"
        )
        (folder / "roll_back.py").write_text(script)

    def runs(self) -> list[str]:
        return self.traces.read_text().splitlines() if self.traces.exists() else []

    @asynccontextmanager
    async def receiver(self) -> AsyncIterator[str]:
        """A running receiver; yields the URL of its endpoint."""
        command = [sys.executable, str(self.folder / "roll_back.py")]
        receiver = shipped().Receiver([SECRET, OTHER], command, str(self.folder / "receiver.db"))
        runner = web.AppRunner(receiver.app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/rollback"
        finally:
            await runner.cleanup()
            receiver.db.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def action_of(key: str = INTENT.key, epoch: int = 5, **changes: Any) -> Action:
    body = WebhookTarget(url="http://h").render(replace(ORDER, key=key, **changes))
    return replace(INTENT, key=key, body=body, epoch=epoch, attempts=1)


async def send(url: str, action: Action, secret: str = SECRET, age_s: float = 0.0) -> str:
    target = WebhookTarget(url=url, secret=SecretStr(secret), timeout_s=20.0)
    sent = await target.send(action, now=time.time() - age_s, timeout_s=20.0)
    await target.close()
    return f"{sent.outcome}: {sent.because}"


async def test_one_run_per_key_through_restarts(place: Place) -> None:
    async with place.receiver() as url:
        assert await send(url, action_of()) == "done: answered 200"
        assert await send(url, action_of()) == "done: answered 200"
        assert await send(url, action_of(), OTHER) == "done: answered 200", (
            "either secret, while one is changed"
        )
    async with place.receiver() as url:
        assert await send(url, action_of(epoch=6)) == "done: answered 200"
    assert place.runs() == ["checkout 4.11.3"]


async def test_the_same_key_at_once_is_one_run(place: Place) -> None:
    async with place.receiver() as url:
        said = await asyncio.gather(*(send(url, action_of()) for _ in range(5)))
    assert set(said) == {"done: answered 200"}
    assert place.runs() == ["checkout 4.11.3"]


async def test_another_body_while_the_first_still_runs_is_refused(place: Place) -> None:
    async with place.receiver() as url:
        said = await asyncio.gather(send(url, action_of()), send(url, action_of(to_version="4.11.2")))
    assert sorted(s[:21] for s in said) == ["done: answered 200", "refused: answered 422"]
    assert len(place.runs()) == 1


async def test_a_replaced_watchdog_is_told_so(place: Place) -> None:
    async with place.receiver() as url:
        assert await send(url, action_of("a" * 64, epoch=5)) == "done: answered 200"
    async with place.receiver() as url:
        assert (await send(url, action_of("b" * 64, epoch=4))).startswith("refused: answered 409")
        assert await send(url, action_of("a" * 64, epoch=4)) == "done: answered 200", "harmless: it is done"
        assert await send(url, action_of("c" * 64, epoch=5)) == "done: answered 200"
    assert len(place.runs()) == 2


async def test_a_failed_command_can_be_tried_again(place: Place) -> None:
    place.exit_code.write_text("3")
    async with place.receiver() as url:
        assert (await send(url, action_of())).startswith("unknown: answered 500")
        place.exit_code.write_text("0")
        assert await send(url, action_of()) == "done: answered 200"
    assert len(place.runs()) == 2


async def test_the_same_key_with_another_body_is_refused(place: Place) -> None:
    async with place.receiver() as url:
        assert await send(url, action_of()) == "done: answered 200"
        assert (await send(url, action_of(to_version="4.11.2"))).startswith("refused: answered 422")
    assert place.runs() == ["checkout 4.11.3"]


async def test_nothing_forged_or_old_runs(place: Place) -> None:
    stranger = "whsec_" + "A" * 43 + "="
    action = action_of()
    good = SigningKeys.parse([SECRET]).headers(message_id=action.key, at=time.time(), body=action.body)
    async with place.receiver() as url:
        assert (await send(url, action, stranger)).startswith("refused: answered 401")
        assert (await send(url, action, age_s=302)).startswith("refused: answered 401")
        assert (await send(url, action, age_s=-302)).startswith("refused: answered 401")
        async with aiohttp.ClientSession() as session:
            for headers, body in [
                ({}, action.body),
                (good, action.body + b" "),
                ({**good, "webhook-id": "x"}, action.body),
                ({**good, "webhook-timestamp": "\u00b2"}, action.body),
                ({**good, "webhook-signature": "v1,\u00e9"}, action.body),
                ({**good, "webhook-signature": ""}, action.body),
            ]:
                async with session.post(url, data=body, headers=headers) as response:
                    assert response.status == 401
            # Genuine, but no order: the epoch is missing.
            async with session.post(url, data=action.body, headers=good) as response:
                assert response.status == 422
            async with session.get(url) as response:
                assert response.status == 405
    assert place.runs() == []


def test_without_a_secret_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no secret"):
        shipped().Receiver([], ["true"], str(tmp_path / "r.db"))
