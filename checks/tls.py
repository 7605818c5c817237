"""Kind `tls`: a certificate that is trusted, carries the right name and lasts a while longer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from checks.blame import UNKNOWN_ISSUER, Problem, blame
from checks.expressions.expression import Expression, compiled
from checks.model import CheckResult, Outcome, World
from checks.text import finish, sign
from checks.web.stages import RESOLVING
from checks.wire.certificate import DAY_S, facts, first_expiry_s
from checks.wire.dial import connect, refuse_address, resolve
from checks.wire.starttls import DIALOGUES, NotOffered
from checks.wire.trust import Tls

VARIABLES: Mapping[str, str] = {
    # Of no declared type, so that it compares with 14 as with 14.5.
    "days": "dyn",
    "version": "string",
    "cipher": "string",
    "issuer": "string",
    "subject": "string",
    "names": "list<string>",
}
_EXPIRED = 10  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(slots=True)
class _Look:
    """What one run has seen so far."""

    world: World
    began_s: float
    stage: str = RESOLVING
    addresses: list[str] = field(default_factory=list)
    readings: dict[str, float] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class TlsCheck(Tls):
    """Connect, make the handshake, and expect something of what the server showed.

    starttls: what is spoken in the clear before TLS begins; without it TLS begins at once.
    expect: CEL over days (to the first expiry in the presented chain), version (`TLSv1.3`), cipher, issuer,
    subject (`O=Shop, CN=shop.example`) and names (a list). A certificate that has
    expired, carries another name or comes from an unknown authority fails before that. Readings: dns_s,
    connect_s (TCP, and the dialogue of starttls), tls_s, total_s, only of runs that passed;
    certificate_days whenever a certificate was seen.
    """

    protocols: ClassVar[tuple[str, ...]] = ()

    host: str
    port: int = 443
    starttls: Literal["smtp", "imap", "pop3", "ftp", "postgres"] | None = None
    expect: str = "days > 14"
    _expect: Expression = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Tls.__post_init__(self)
        refuse_address(self.host, self.port)
        self._expect = compiled("expect", self.expect, VARIABLES)

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        look = _Look(world, world.mono_s())
        problem = await self._look(look)
        place, spent_s = f"{self.host}:{self.port}", world.mono_s() - look.began_s
        if problem is None:
            look.readings["total_s"] = spent_s
        shown = "  {version}  {subject}  {days:g} days".format(**look.values) if look.values else ""
        outcome: Outcome = problem.outcome if problem else "pass"
        return finish(
            outcome,
            f"{place}: {problem.because}" if problem else "",
            readings={
                name: value
                for name, value in look.readings.items()
                if problem is None or not name.endswith("_s")
            },
            details=(f"{sign(outcome)} TLS {place}{shown}  total {spent_s * 1000:.0f} ms",),
        )

    async def _look(self, look: _Look) -> Problem | None:
        """None if the server showed what it should."""
        world = look.world
        try:
            context = await self.context()
        except ValueError as error:
            return Problem("error", str(error))
        try:
            async with asyncio.timeout(world.timeout_s):
                look.addresses = await resolve(self.host, self.port)
                look.readings["dns_s"] = world.mono_s() - look.began_s
                async with self._secured(look, context) as tls:
                    look.values = facts(tls, world.now_s())
        except TimeoutError:
            outcome: Outcome = "error" if look.stage == RESOLVING else "fail"
            return Problem(outcome, f"no answer within {world.timeout_s:g} s ({look.stage})")
        except NotOffered as error:
            return Problem("fail", str(error))
        except ssl.SSLCertVerificationError as error:
            return await self._refused(look, error)
        except OSError as error:
            return Problem(*blame(error))
        look.readings["certificate_days"] = look.values["days"]
        judgement = self._expect.judge(look.values)
        if judgement.kind == "true":
            return None
        return Problem(judgement.outcome, judgement.because)

    @asynccontextmanager
    async def _secured(self, look: _Look, context: ssl.SSLContext) -> AsyncIterator[ssl.SSLObject]:
        """The connection after its handshake."""
        mono_s, look.stage = look.world.mono_s, "connecting"
        began_s = mono_s()
        reader, writer = await connect(look.addresses, self.port)
        try:
            if self.starttls is not None:
                look.stage = f"connected, before TLS in {self.starttls}"
                await DIALOGUES[self.starttls](reader, writer)
            connected_s = mono_s()
            look.readings["connect_s"], look.stage = connected_s - began_s, "in the TLS handshake"
            await writer.start_tls(context, server_hostname=self.server_name or self.host)
            look.readings["tls_s"] = mono_s() - connected_s
            yield writer.get_extra_info("ssl_object")
        finally:
            # Not waited for: the other side may never close, and the deadline may be over.
            writer.transport.abort()

    async def _refused(self, look: _Look, error: ssl.SSLCertVerificationError) -> Problem:
        """Why the certificate was refused; since when, if it has expired."""
        if error.verify_code in UNKNOWN_ISSUER:
            return Problem("fail", f"certificate of an unknown issuer ({error.verify_message})")
        if error.verify_code != _EXPIRED:
            return Problem("fail", f"certificate refused ({error.verify_message.rstrip('.')})")
        world, end_s = look.world, None
        left_s = world.timeout_s - (world.mono_s() - look.began_s)
        # A failed handshake shows no certificate, so it is looked at once more; nothing is sent or judged.
        with suppress(OSError, NotOffered, ValueError):
            async with asyncio.timeout(left_s), self._secured(look, _unverified()) as tls:
                end_s = first_expiry_s(tls)
        if end_s is None or end_s > world.now_s():
            return Problem("fail", "a certificate of the chain has expired")
        look.readings["certificate_days"] = round((end_s - world.now_s()) / DAY_S, 2)
        return Problem(
            "fail", f"certificate expired since {datetime.fromtimestamp(end_s, UTC):%Y-%m-%d %H:%M} UTC"
        )


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
