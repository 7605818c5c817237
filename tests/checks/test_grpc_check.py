"""Kind grpc against a real server with the health service."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from pydantic import SecretStr

from checks.grpc import GrpcCheck, Tls
from checks.model import World
from tests.support.grpc_server import serving
from tests.support.servers import binary

Status = health_pb2.HealthCheckResponse.ServingStatus


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that is up, with one service that is up and one that is not."""
    servicer = health.aio.HealthServicer()
    await servicer.set("", Status.SERVING)
    await servicer.set("shop.Orders", Status.SERVING)
    await servicer.set("shop.Stock", Status.NOT_SERVING)
    async with serving(servicer) as number:
        yield number


class Odd(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated code has no types
    """Answers as `answer(request, context)` does."""

    def __init__(self, answer: Callable[[Any, Any], Any]) -> None:
        self.answer = answer

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 the protocol's name
        return await self.answer(request, context)


async def test_a_service_that_serves_passes(world: World, port: int) -> None:
    for service in ("", "shop.Orders"):
        result = await GrpcCheck(host="127.0.0.1", port=port, service=service).run(world)
        assert result.outcome == "pass", result
        assert result.readings.keys() == {"total_s"}
        assert 0 < result.readings["total_s"] < 5
    assert result.details[0].startswith(f" ok  GRPC 127.0.0.1:{port} shop.Orders  SERVING")


async def test_one_that_does_not_serve_fails_unless_that_is_expected(world: World, port: int) -> None:
    check = GrpcCheck(host="127.0.0.1", port=port, service="shop.Stock")
    result = await check.run(world)
    assert (result.outcome, result.because) == (
        "fail",
        f"127.0.0.1:{port} shop.Stock: status is NOT_SERVING, expected SERVING",
    )
    assert "total_s" in result.readings
    expected = replace(check, expect_status="NOT_SERVING")
    assert (await expected.run(world)).outcome == "pass"


async def test_an_unknown_service_and_a_missing_health_service_fail(world: World, port: int) -> None:
    unknown = await GrpcCheck(host="127.0.0.1", port=port, service="shop.Gone").run(world)
    assert unknown.outcome == "fail"
    assert "the server does not know the service" in unknown.because
    async with serving(None) as bare:
        missing = await GrpcCheck(host="127.0.0.1", port=bare).run(world)
    assert missing.outcome == "fail"
    assert "the server has no health service" in missing.because


async def test_a_status_that_the_protocol_lacks_fails(world: World) -> None:
    async def answer(_: Any, __: Any) -> Any:
        return health_pb2.HealthCheckResponse(status=77)

    async with serving(Odd(answer)) as port:
        result = await GrpcCheck(host="127.0.0.1", port=port).run(world)
    assert result.because == f"127.0.0.1:{port}: status is 77, which the protocol lacks, expected SERVING"


async def test_metadata_are_sent_and_stay_secret(world: World) -> None:
    async def answer(_: Any, context: Any) -> Any:
        sent = dict(context.invocation_metadata())["authorization"]
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"not with {sent}")

    async with serving(Odd(answer)) as port:
        metadata = {"authorization": SecretStr("Bearer open-sesame")}
        check = GrpcCheck(host="127.0.0.1", port=port, metadata=metadata)
        result = await check.run(world)
    assert (result.outcome, result.because) == (
        "error",
        f"127.0.0.1:{port}: the server refuses our credentials (not with ***)",
    )
    assert "open-sesame" not in f"{result}{check!r}"


async def test_a_call_that_fails_is_told_by_its_status(world: World) -> None:
    async def answer(_: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.INTERNAL, "database is gone")

    async with serving(Odd(answer)) as port:
        result = await GrpcCheck(host="127.0.0.1", port=port).run(world)
    assert (result.outcome, result.because) == ("fail", f"127.0.0.1:{port}: INTERNAL (database is gone)")


async def test_a_giant_answer_is_not_read(world: World) -> None:
    async def answer(_: Any, __: Any) -> Any:
        response = health_pb2.HealthCheckResponse(status=Status.SERVING)
        # An unknown field, as a newer server may send, of a megabyte.
        response.MergeFromString(b"\x7a\x80\x80\x40" + b"x" * 2**20)
        return response

    async with serving(Odd(answer)) as port:
        result = await GrpcCheck(host="127.0.0.1", port=port).run(world)
    assert result.outcome == "fail"
    assert "RESOURCE_EXHAUSTED" in result.because


async def test_silence_is_a_failure_and_an_unknown_name_our_error(world: World) -> None:
    async def answer(_: Any, __: Any) -> Any:
        await asyncio.Event().wait()

    async with serving(Odd(answer)) as port:
        silent = await GrpcCheck(host="127.0.0.1", port=port).run(replace(world, timeout_s=0.3))
    assert (silent.outcome, silent.because) == ("fail", f"127.0.0.1:{port}: no answer within 0.3 s")
    unknown = await GrpcCheck(host="nosuch.invalid", port=50051).run(world)
    assert (unknown.outcome, unknown.because) == ("error", "nosuch.invalid:50051: cannot resolve the name")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate that vouches for itself, and its key."""

    cert: Path
    key: Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Good for the name `shop.example` only."""
    folder = tmp_path_factory.mktemp("tls")
    pair = Pair(folder / "cert.pem", folder / "key.pem")
    command = [binary("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=shop", "-addext", "subjectAltName=DNS:shop.example"]
    command += ["-keyout", str(pair.key), "-out", str(pair.cert)]
    subprocess.run(command, check=True, capture_output=True)
    return pair


@asynccontextmanager
async def secure(pair: Pair, *, asks_for_ours: bool = False) -> AsyncIterator[int]:
    """The port of a server with TLS."""
    cert = pair.cert.read_bytes()
    credentials = grpc.ssl_server_credentials(
        [(pair.key.read_bytes(), cert)],
        root_certificates=cert if asks_for_ours else None,
        require_client_auth=asks_for_ours,
    )
    servicer = health.aio.HealthServicer()
    await servicer.set("", Status.SERVING)
    async with serving(servicer, credentials) as port:
        yield port


async def test_tls_is_verified_by_authority_and_name(world: World, pair: Pair) -> None:
    async with secure(pair) as port:
        good = Tls(ca_file=str(pair.cert), server_name="shop.example")
        assert (await GrpcCheck(host="127.0.0.1", port=port, tls=good).run(world)).outcome == "pass"
        unknown = await GrpcCheck(host="127.0.0.1", port=port, tls=Tls(server_name="shop.example")).run(world)
        assert unknown.outcome == "error"
        assert "certificate not trusted here" in unknown.because
        other = await GrpcCheck(
            host="127.0.0.1", port=port, tls=Tls(ca_file=str(pair.cert), server_name="x.example")
        ).run(world)
        assert other.outcome == "fail", other
        assert other.because == f"127.0.0.1:{port}: certificate refused (it is for another name)"
        plain = await GrpcCheck(host="127.0.0.1", port=port).run(world)
        assert plain.outcome == "fail"


async def test_tls_that_is_none_fails(world: World, port: int) -> None:
    result = await GrpcCheck(host="127.0.0.1", port=port, tls=Tls()).run(world)
    assert (result.outcome, result.because) == ("fail", f"127.0.0.1:{port}: TLS handshake failed")


async def test_our_own_certificate_is_shown(world: World, pair: Pair, tmp_path: Path) -> None:
    trusted = Tls(ca_file=str(pair.cert), server_name="shop.example")
    ours = replace(trusted, cert_file=str(pair.cert), key_file=str(pair.key))
    async with secure(pair, asks_for_ours=True) as port:
        assert (await GrpcCheck(host="127.0.0.1", port=port, tls=ours).run(world)).outcome == "pass"
        assert (await GrpcCheck(host="127.0.0.1", port=port, tls=trusted).run(world)).outcome != "pass"
    rotated = tmp_path / "ca.pem"
    rotated.write_bytes(pair.cert.read_bytes())
    check = GrpcCheck(host="127.0.0.1", port=1, tls=Tls(ca_file=str(rotated)))
    rotated.unlink()
    result = await check.run(world)
    assert (result.outcome, result.because) == (
        "error",
        "127.0.0.1:1: a file of tls cannot be read (No such file or directory)",
    )


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"host": "http://host"}, "host: 'http://host' is not a host name or address"),
        ({"host": "host:1"}, "host: "),
        ({"port": 0}, "port: 0 is not a port"),
        ({"metadata": {"Upper": SecretStr("x")}}, "metadata: 'Upper' cannot be sent"),
        ({"metadata": {"a-bin": SecretStr("x")}}, "metadata: 'a-bin' cannot be sent"),
        ({"metadata": {"grpc-x": SecretStr("x")}}, "metadata: 'grpc-x' cannot be sent"),
        ({"metadata": {"a": SecretStr("é")}}, "metadata: the value of a must be printable"),
    ],
)
def test_bad_configuration_names_its_key(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        GrpcCheck(**({"host": "h", "port": 1} | params))


def test_without_the_extra_it_says_what_to_install() -> None:
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    code = """
import sys
sys.modules["grpc"] = sys.modules["grpc_health"] = None
from checks import CHECKS
try:
    CHECKS["grpc"](host="h", port=1)
except ValueError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "kind: grpc is an optional extra; pip install 'deploy-watchdog[grpc]'"
