"""Kind `http`: one request, timed by stage, judged by one expression."""

from __future__ import annotations

from dataclasses import dataclass, field

from checks.blame import Problem
from checks.exchange import Stages, open_session, trace_id
from checks.expression import Expression
from checks.model import CheckResult, World
from checks.request import Request, compiled, judge
from checks.text import Mask, finish


@dataclass(slots=True, kw_only=True, repr=False)
class HttpCheck(Request):
    """Send one request and expect something of its answer.

    Readings: dns_s, connect_s (with TLS), first_byte_s and total_s from the start, body_bytes; only of
    answers that came, so that a fast refusal never looks like a low latency.
    """

    _expect: Expression = field(init=False, repr=False, compare=False)
    _mask: Mask = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Request.__post_init__(self)
        if self.placeholders(in_body=False) - {"run_id"}:
            raise ValueError(
                f"{self.method.lower()}: only {{run_id}} can be filled in here; use kind scenario"
            )
        self._expect = compiled("expect", self.expect)
        self._mask = Mask(self.secrets())

    async def run(self, world: World) -> CheckResult:
        """Observe once; see `Check.run`."""
        stages = Stages(world.mono_s)
        values = {"run_id": world.run_id}
        place = self.place()
        async with open_session(world, keeps_cookies=False) as session:
            answer = await self.send(session, world, values, stages, timeout_s=world.timeout_s)
        if isinstance(answer, Problem):
            details = (f"FAIL {place}", f"trace {trace_id(world.run_id)}")
            return finish(answer.outcome, answer.because, readings={}, details=details, mask=self._mask)
        problem = judge(answer, self._expect, {}, place)
        details = (
            f"{'FAIL' if problem else ' ok '} {place}  {answer.status}  {stages.line()}",
            f"trace {trace_id(world.run_id)}",
        )
        return finish(
            problem.outcome if problem else "pass",
            problem.because if problem else "",
            readings=stages.readings(),
            details=details,
            mask=self._mask,
        )
