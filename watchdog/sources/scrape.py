"""Kind `scrape`: reads the services' own /metrics pages, for a team without a Prometheus.

One scrape per step and step size, at the first read that falls in the step; what it saw belongs to the step
it happened in, never to an earlier one, because an effect dated before its deploy would acquit the deploy.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import aiohttp
import numpy as np
from pydantic import SecretStr

from detectors.model import WIDTHS
from watchdog.sources.counters import LOOK_BACK
from watchdog.sources.exposition import Demand, Sums, read_exposition
from watchdog.sources.fetch import check_url, fetch, open_session, without_secrets
from watchdog.sources.protocol import Grid, Query, SourceReading
from watchdog.sources.selector import parse_selector
from watchdog.sources.streams import Assembly, Stream, subject
from watchdog.sources.unreadable import Unreadable


@dataclass(frozen=True, slots=True)
class _Scrape:
    """One look at all pages. pages: url to what was asked for; problems: url to why it has no page."""

    pages: Mapping[str, Sums]
    problems: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class ScrapeSource:
    """Pages in the Prometheus text format, one per process.

    url or urls: full addresses, e.g. http://checkout:8000/metrics; behind a load balancer every process needs
    its own. bearer_token: sent to all of them. headers: sent with every request. Holds the last 12 steps in
    memory, so an older history is missing; the daemon keeps its own in samples.db.
    """

    url: str | None = None
    urls: tuple[str, ...] = ()
    bearer_token: SecretStr | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    BODY_BYTES_MAX: ClassVar[int] = 8_000_000
    URLS_MAX: ClassVar[int] = 200
    REQUESTS_MAX: ClassVar[int] = 8
    KEPT_STEPS: ClassVar[int] = LOOK_BACK + 6
    DEMANDS_MAX: ClassVar[int] = 5_000
    # A tick due at the end of a step may come a little early by the wall clock; it still opens the next step.
    EARLY_STEPS: ClassVar[float] = 0.05

    _session: aiohttp.ClientSession | None = field(init=False, repr=False, default=None)
    _lock: asyncio.Lock = field(init=False, repr=False, default_factory=asyncio.Lock)
    _slots: asyncio.Semaphore = field(init=False, repr=False)
    _assembly: Assembly = field(init=False, repr=False, default_factory=lambda: Assembly(("url",)))
    _demands: set[Demand] = field(init=False, repr=False, default_factory=set)
    # Step size to step number to the scrape made in that step.
    _scrapes: dict[float, dict[int, _Scrape]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if (self.url is None) == (not self.urls):
            raise ValueError("url: give it, or a list of `urls`, not both")
        for url in self._pages():
            check_url("url" if self.url is not None else "urls", url)
        if len(set(self._pages())) < len(self._pages()) or len(self.urls) > self.URLS_MAX:
            raise ValueError(f"urls: name every page once, {self.URLS_MAX} at most")
        self._slots = asyncio.Semaphore(self.REQUESTS_MAX)

    async def read(
        self, queries: Sequence[Query], grid: Grid, *, now: float, timeout_s: float
    ) -> list[SourceReading]:
        """One reading per query, in order; see `Source.read`. Scrapes if this step was not scraped yet.

        An increase is that between the last scrapes of two neighbouring steps; after a failed scrape the next
        increase would cover two steps and is missing too.
        """
        for query in queries:
            self._register(query)
        late = None
        try:
            async with asyncio.timeout(timeout_s), self._lock:
                await self._scrape_once(grid.step_s, now, timeout_s)
        except TimeoutError:
            # Another read's scrape, or the loop itself, took too long: answer from what is there.
            late = f"no scrape within {timeout_s:g} s"
        return [self._reading(query, grid, late) for query in queries]

    async def label_sets(self, selector: str, *, now: float, timeout_s: float) -> list[Mapping[str, str]]:
        """See `Source.label_sets`. Looks at the pages anew, and keeps nothing of them."""
        try:
            demand = Demand(parse_selector(selector), None)
        except ValueError:
            return []
        scrape = await self._scrape(frozenset({demand}), timeout_s)
        if scrape.problems:
            return []
        return [dict(labels) for sums in scrape.pages.values() for labels in sums.get(demand, {})]

    async def close(self) -> None:
        """Release connections; may be called twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _pages(self) -> tuple[str, ...]:
        return self.urls if self.url is None else (self.url,)

    def _register(self, query: Query) -> None:
        try:
            wanted = _demands(query)
        except Unreadable:
            return
        if len(self._demands) < self.DEMANDS_MAX:
            self._demands.update(wanted)

    async def _scrape_once(self, step_s: float, now: float, timeout_s: float) -> None:
        scrapes = self._scrapes.setdefault(step_s, {})
        number = math.floor(now / step_s + self.EARLY_STEPS) + 1
        if number in scrapes:
            return
        scrapes[number] = await self._scrape(frozenset(self._demands), timeout_s)
        for old in [n for n in scrapes if n <= number - self.KEPT_STEPS]:
            del scrapes[old]

    async def _scrape(self, demands: frozenset[Demand], timeout_s: float) -> _Scrape:
        """Every page now, each with its sums or its problem."""
        pages: dict[str, Sums] = {}
        problems: dict[str, str] = {}

        async def look(url: str) -> None:
            try:
                # A little less than the caller waits, so that one dead page does not cost the others theirs.
                async with asyncio.timeout(0.9 * timeout_s):
                    pages[url] = await self._page(url, demands)
            except Unreadable as error:
                problems[url] = str(error)
            except TimeoutError:
                problems[url] = f"{without_secrets(url)}: no answer within {0.9 * timeout_s:g} s"

        async with asyncio.TaskGroup() as group:
            for url in self._pages():
                group.create_task(look(url))
        return _Scrape(pages, problems)

    async def _page(self, url: str, demands: frozenset[Demand]) -> Sums:
        if self._session is None:
            secret = self.bearer_token
            headers = {} if secret is None else {"Authorization": f"Bearer {secret.get_secret_value()}"}
            accept = {"Accept": "text/plain;version=0.0.4"}
            self._session = open_session({**self.headers, **headers, **accept}, self.REQUESTS_MAX)
        async with self._slots:
            status, _, body = await fetch(self._session, "GET", url, body_bytes_max=self.BODY_BYTES_MAX)
        if status >= 300:
            raise Unreadable(f"{without_secrets(url)} answered {status}")
        try:
            # A large page takes longer than the event loop can be kept waiting.
            return await asyncio.to_thread(read_exposition, body, demands)
        except Unreadable as error:
            raise Unreadable(f"{without_secrets(url)}: {error}") from error

    def _reading(self, query: Query, grid: Grid, problem: str | None) -> SourceReading:
        values = np.full((grid.n, WIDTHS[query.kind]), np.nan)
        # Only these steps can be known; the rest of a long history is missing.
        n = min(grid.n, self.KEPT_STEPS)
        first_at = grid.last_at - (n + LOOK_BACK - 1) * grid.step_s
        asked = Grid(first_at=first_at, last_at=grid.last_at, step_s=grid.step_s)
        try:
            demands = _demands(query)
            parts = [self._streams(demand, asked) for demand in demands]
            values[-n:] = self._assembly.rows(query, parts, asked)[LOOK_BACK:]
            problem = problem or self._problem(demands[-1], query, grid.step_s)
            problem = problem or self._assembly.remark(query, grid.last_at)
        except Unreadable as error:
            problem = str(error)
        return SourceReading(series_id=query.series_id, values=values, problem=problem)

    def _problem(self, demand: Demand, query: Query, step_s: float) -> str | None:
        """What was wrong with the newest scrape, as far as this query is concerned."""
        scrapes = self._scrapes.get(step_s)
        if not scrapes:
            return None
        newest = scrapes[max(scrapes)]
        if newest.problems:
            return next(iter(newest.problems.values()))
        if not any(sums.get(demand) for sums in newest.pages.values()):
            return f"no usable sample of {subject(query)} on the page"
        return None

    def _streams(self, demand: Demand, grid: Grid) -> list[Stream]:
        scrapes = self._scrapes.get(grid.step_s, {})
        streams: dict[tuple[str, object], Stream] = {}
        for i in range(grid.n):
            scrape = scrapes.get(round(grid.first_at / grid.step_s) + i)
            for url, sums in scrape.pages.items() if scrape is not None else ():
                for labels, total in sums.get(demand, {}).items():
                    key = (url, labels)
                    if key not in streams:
                        streams[key] = Stream({**dict(labels), "url": url}, np.full(grid.n, np.nan))
                    streams[key].values[i] = total
        return list(streams.values())


def _demands(query: Query) -> list[Demand]:
    """What a page must be searched for: one demand, or numerator and denominator. Raises Unreadable."""
    try:
        if query.kind == "ratio":
            if query.numerator is None or query.denominator is None:
                raise Unreadable("a ratio needs `numerator` and `denominator`, so that its counts are known")
            return [
                Demand(parse_selector(query.numerator), query.by),
                Demand(parse_selector(query.denominator), query.by),
            ]
        if query.is_native:
            raise Unreadable(
                "a page of text has no native histograms: give the `_bucket` series of a classic one"
            )
        if query.histogram is not None:
            return [Demand(parse_selector(query.histogram), (*query.by, "le"))]
        if query.counter is not None:
            return [Demand(parse_selector(query.counter), query.by)]
        if query.gauge is not None:
            return [Demand(parse_selector(query.gauge), None)]
    except ValueError as error:
        raise Unreadable(str(error)) from error
    raise Unreadable(
        "a scrape source has no PromQL: use `counter`, `histogram` or `gauge` instead of `query`"
    )
