"""Kind `grpc`: the standard health protocol, `grpc.health.v1.Health/Check`, which most gRPC servers serve.

The protocol: https://github.com/grpc/grpc/blob/master/doc/health-checking.md. The client library is an
optional extra, imported where a check of this kind is configured, because that costs a tenth of a second.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from checks.blame import Problem
from checks.model import CheckResult, Outcome, World
from checks.text import Mask, finish, sign
from checks.wire.dial import refuse_address
from checks.wire.trust import Tls

MESSAGE_BYTES_MAX = 65_536  # an answer of the protocol has a few bytes
ATTEMPT_BEYOND_CALL_MS = 250
_METADATA_KEY = re.compile(r"[0-9a-z_.-]+")
# What the library says of a failed connection -> whose doing that is, and one phrase for it.
_WORDS: tuple[tuple[str, Outcome, str], ...] = (
    ("lookup failed", "error", "cannot resolve the name"),
    ("dns resolution failed", "error", "cannot resolve the name"),
    ("unable to get local issuer", "error", "certificate not trusted here; write its authority as ca_file"),
    ("self-signed certificate", "error", "certificate not trusted here; write its authority as ca_file"),
    ("self signed certificate", "error", "certificate not trusted here; write its authority as ca_file"),
    ("hostname verification check failed", "fail", "certificate refused (it is for another name)"),
    ("tls handshake failed", "fail", "TLS handshake failed"),
    ("ssl handshake failed", "fail", "TLS handshake failed"),
    ("connection refused", "fail", "connection refused"),
    ("connection reset", "fail", "connection reset"),
)


@dataclass(slots=True, kw_only=True)
class GrpcCheck:
    """Ask a server for its health by the gRPC health protocol. Needs the extra `deploy-watchdog[grpc]`.

    service: full name of the service to ask about; empty means the server as a whole. tls: `{}` trusts the
    system's authorities; without it the connection is in the clear. metadata: sent along; values are treated
    as secrets.
    expect_status: what the answer must be. A server that does not know the service, or has no health service,
    fails; one that refuses our credentials is an `error`.
    Readings: total_s, connecting included; only of answers that came.
    """

    host: str
    port: int
    service: str = ""
    tls: Tls | None = None
    metadata: Mapping[str, SecretStr] = field(default_factory=dict)
    expect_status: Literal["SERVING", "NOT_SERVING", "UNKNOWN"] = "SERVING"
    _mask: Mask = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Else the library writes to our error output, at each failed connection, what the result says.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        try:
            for module in ("grpc.aio", "grpc_health.v1.health_pb2_grpc"):
                import_module(module)
        except ModuleNotFoundError:
            raise ValueError("kind: grpc is an optional extra; pip install 'deploy-watchdog[grpc]'") from None
        refuse_address(self.host, self.port)
        for key, value in self.metadata.items():
            secret = value.get_secret_value()
            if not _METADATA_KEY.fullmatch(key) or key.endswith("-bin") or key.startswith("grpc-"):
                raise ValueError(f"metadata: {key!r} cannot be sent; write lower case, no -bin, no grpc-")
            if not secret.isascii() or not secret.isprintable():
                raise ValueError(f"metadata: the value of {key} must be printable ASCII")
        self._mask = Mask(value.get_secret_value() for value in self.metadata.values())

    @property
    def _target(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        began_s = world.mono_s()
        place = f"{self._target} {self.service}".rstrip()
        answer = await self._ask(world.timeout_s)
        total_s = world.mono_s() - began_s
        if isinstance(answer, Problem):
            because = f"{place}: {answer.because}"
            details = (f"{sign(answer.outcome)} GRPC {because}",)
            return finish(answer.outcome, because, readings={}, details=details, mask=self._mask)
        is_expected = answer == self.expect_status
        outcome: Outcome = "pass" if is_expected else "fail"
        return finish(
            outcome,
            "" if is_expected else f"{place}: status is {answer}, expected {self.expect_status}",
            readings={"total_s": total_s},
            details=(f"{sign(outcome)} GRPC {place}  {answer}  {total_s * 1000:.0f} ms",),
            mask=self._mask,
        )

    async def _ask(self, timeout_s: float) -> str | Problem:
        """The status the server says."""
        import grpc.aio
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        metadata = [(key, value.get_secret_value()) for key, value in self.metadata.items()]
        try:
            async with self._channel(grpc, timeout_s) as channel:
                answer = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(service=self.service), timeout=timeout_s, metadata=metadata
                )
        except OSError as error:
            return Problem("error", f"a file of tls cannot be read ({error.strerror})")
        except grpc.aio.AioRpcError as error:
            return _blame(error.code().name, error.details() or "", timeout_s)
        statuses = health_pb2.HealthCheckResponse.ServingStatus
        known = answer.status in statuses.values()
        return str(statuses.Name(answer.status)) if known else f"{answer.status}, which the protocol lacks"

    def _channel(self, grpc: Any, timeout_s: float) -> Any:
        """A new connection each time: a kept one would stay with the old instance during a roll-out."""
        options: list[tuple[str, int | str]] = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            # Channels to one target share their connections otherwise.
            ("grpc.use_local_subchannel_pool", 1),
            # An attempt to connect outlives its channel until it gives up, by default after 20 s. How long it
            # tries is the larger of these two. It must outlast the call: a second attempt that begins while
            # the channel is being closed is never given up.
            ("grpc.min_reconnect_backoff_ms", int(timeout_s * 1000) + ATTEMPT_BEYOND_CALL_MS),
            ("grpc.initial_reconnect_backoff_ms", 100),
        ]
        if self.tls is None:
            return grpc.aio.insecure_channel(self._target, options=options)
        if self.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_content(self.tls.ca_file or ssl.get_default_verify_paths().cafile),
            private_key=_content(self.tls.key_file),
            certificate_chain=_content(self.tls.cert_file),
        )
        return grpc.aio.secure_channel(self._target, credentials, options=options)


def _content(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def _blame(code: str, details: str, timeout_s: float) -> Problem:
    """Whose doing a call without an answer is."""
    match code:
        case "DEADLINE_EXCEEDED":
            return Problem("fail", f"no answer within {timeout_s:g} s")
        case "NOT_FOUND":
            return Problem("fail", f"the server does not know the service ({details or code})")
        case "UNIMPLEMENTED":
            return Problem("fail", f"the server has no health service ({details or code})")
        case "UNAUTHENTICATED" | "PERMISSION_DENIED":
            return Problem("error", f"the server refuses our credentials ({details or code})")
    lower = details.lower()
    if "timed out" in lower:
        return Problem("fail", f"no answer within {timeout_s:g} s (connecting)")
    for words, outcome, phrase in _WORDS if code == "UNAVAILABLE" else ():
        if words in lower:
            return Problem(outcome, phrase)
    return Problem("fail", f"{code} ({details.rpartition('last error: ')[2]})")
