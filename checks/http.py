"""Kind `http`: one request, timed by stage, judged by one expression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from checks.blame import Problem
from checks.expressions.expression import Expression, compiled
from checks.model import CheckResult, Outcome, World
from checks.text import Mask, finish, sign
from checks.web.messages import VARIABLES, Answer
from checks.web.request import Request


@dataclass(slots=True, kw_only=True, repr=False)
class HttpCheck(Request):
    """Send one request and expect something of its answer.

    keep_alive: use the same connection again while the server keeps it open and it has rested for 15 s at
    most, which spares both sides; in a roll-out it stays with the old instance until that closes it. Not for
    post and patch, nor with unix_socket, resolve or an expect of certificate_days.
    Readings: dns_s, connect_s (TCP), tls_s, first_byte_s and total_s from the start, body_bytes,
    certificate_days (to the first expiry in the chain); only of answers that came, so that a fast refusal
    never looks like a low latency.
    """

    keep_alive: bool = False
    _expect: Expression = field(init=False, repr=False, compare=False)
    _mask: Mask | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Request.__post_init__(self)
        if self.placeholders(in_body=False) - {"run_id"}:
            raise ValueError(
                f"{self.method.lower()}: only {{run_id}} can be filled in here; use kind scenario"
            )
        self._expect = compiled("expect", self.expect, VARIABLES)
        if self.keep_alive:
            self._refuse_what_needs_a_new_connection()
        # Tokens change from run to run, everything else that is secret does not.
        self._mask = Mask(self.secrets()) if self.auth is None else None

    def _refuse_what_needs_a_new_connection(self) -> None:
        if self.method in ("POST", "PATCH"):
            # The server may close a kept connection just then, and only what changes nothing is sent again.
            raise ValueError(
                f"keep_alive: a {self.method} cannot be repeated when a kept connection has ended"
            )
        if self.unix_socket is not None or self.resolve is not None:
            raise ValueError("keep_alive: excludes unix_socket and resolve")
        if "certificate_days" in self._expect.names:
            raise ValueError("keep_alive: a kept connection shows no certificate; use kind tls for its days")

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        result, _ = await self.observe(world)
        return result

    def blames(self, answer: Answer) -> Literal["status", "content", ""]:
        """What of an answer that failed was wrong; empty where the expression speaks of neither."""
        if self._expect.denies("status", answer.values(self._expect.names)):
            return "status"
        return "content" if self._expect.names & {"text", "json", "headers"} else ""

    async def observe(self, world: World) -> tuple[CheckResult, Answer | None]:
        """Observe once, and what was answered if anything was."""
        place = self.place
        answer = await self.send(
            world, {"run_id": world.run_id}, None, timeout_s=world.timeout_s, keep_alive=self.keep_alive
        )
        mask = self._mask or Mask(self.secrets())
        if isinstance(answer, Problem):
            told = (f"{sign(answer.outcome)} {place}", f"trace {world.run_id}")
            return finish(answer.outcome, answer.because, readings={}, details=told, mask=mask), None
        problem = self.judge(answer, self._expect, {}, place)
        outcome: Outcome = problem.outcome if problem else "pass"
        details: tuple[str, ...] = ()
        if world.wants_details:
            shown = f"{sign(outcome)} {place}  {answer.status}  {answer.stages.line()}"
            details = (shown, f"trace {world.run_id}")
        result = finish(
            outcome,
            problem.because if problem else "",
            readings=answer.stages.readings(),
            details=details,
            mask=mask,
        )
        return result, answer
