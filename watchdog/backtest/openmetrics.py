"""An OpenMetrics file as a source: the history that `promtool tsdb create-blocks-from` would take.

Selectors mean what they mean to Prometheus, and samples become rows by the arithmetic of every other source
(`sources.streams.Assembly`), so a file and a Prometheus that imported it are judged alike.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from detectors.model import WIDTHS, FloatArray
from watchdog.sources.prometheus import PrometheusSource
from watchdog.sources.protocol import Grid, Query, Source, SourceReading
from watchdog.sources.selector import Selector, parse_selector
from watchdog.sources.streams import Assembly, Stream
from watchdog.sources.unreadable import Unreadable

FILE_BYTES_MAX = 4_000_000_000
_STREAMS_MAX = 100_000
_CHUNK_STEPS = 1_000
_SERIES = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")


class BadFile(ValueError):
    """The file cannot be read as OpenMetrics; names file, line and remedy."""


@dataclass(slots=True)
class _Samples:
    """One series of the file. Times ascend."""

    name: str
    labels: Mapping[str, str]
    at: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))


@dataclass(slots=True)
class OpenMetricsHistory:
    """Implements `sources.protocol.Source` on a file read by `read_file`.

    target_labels: those that tell scraped processes apart, as of the Prometheus source.
    """

    series: Mapping[str, Sequence[_Samples]]
    target_labels: tuple[str, ...]
    _assembly: Assembly = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._assembly = Assembly(self.target_labels)

    @property
    def span(self) -> tuple[float, float]:
        """Times of the oldest and the newest sample, epoch seconds."""
        kept = [samples.at for group in self.series.values() for samples in group]
        return min(at[0] for at in kept), max(at[-1] for at in kept)

    async def read(
        self, queries: Sequence[Query], grid: Grid, *, now: float, timeout_s: float
    ) -> list[SourceReading]:
        """One reading per query, in order; see `Source.read`. The file does not keep anybody waiting."""
        return [self._read_one(query, grid) for query in queries]

    async def label_sets(self, selector: str, *, now: float, timeout_s: float) -> list[Mapping[str, str]]:
        """Labels of every series in the file that the selector matches, whenever it was there."""
        return [samples.labels for samples in self._matching(parse_selector(selector))]

    async def close(self) -> None:
        """Nothing to release."""

    def _read_one(self, query: Query, grid: Grid) -> SourceReading:
        values = np.full((grid.n, WIDTHS[query.kind]), np.nan)
        problem = None
        try:
            parts = [
                (self._matching(selector), labels) for selector, labels in _parts(query, self.target_labels)
            ]
            done = 0
            while done < grid.n:
                first_at = grid.first_at + done * grid.step_s
                back = self._assembly.look_back(query, first_at, grid.step_s)
                n = min(_CHUNK_STEPS, grid.n - done)
                asked = Grid(
                    first_at=first_at - back * grid.step_s,
                    last_at=first_at + (n - 1) * grid.step_s,
                    step_s=grid.step_s,
                )
                streams = [_streams(found, labels, asked) for found, labels in parts]
                values[done : done + n] = self._assembly.rows(query, streams, asked)[back:]
                done += n
            if np.isnan(values).all():
                problem = "the file has no usable sample of it in this span"
        except Unreadable as error:
            problem = str(error)
        return SourceReading(series_id=query.series_id, values=values, problem=problem)

    def _matching(self, selector: Selector) -> list[_Samples]:
        found = self.series.get(selector.name, ())
        return [samples for samples in found if selector.matches(samples.name, samples.labels)]


def read_file(path: Path, target_labels: tuple[str, ...]) -> OpenMetricsHistory:
    """The whole file in memory, 16 bytes a sample. Raises BadFile."""
    by_text: dict[str, _Samples] = {}
    is_complete = False
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise BadFile(f"{path}: larger than {FILE_BYTES_MAX / 1e9:.0f} GB; give a shorter span")
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.startswith("#"):
                    is_complete = line.startswith("# EOF")
                elif not line.isspace():
                    is_complete = False
                    _keep(path, number, line, by_text)
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}; give a file that can be read") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: not UTF-8 at byte {error.start}; give OpenMetrics text") from error
    if not is_complete:
        raise BadFile(f"{path}: does not end with `# EOF`, so it may be cut off; export it again")
    if not by_text:
        raise BadFile(f"{path}: holds no sample; export a span in which there are some")
    series: dict[str, list[_Samples]] = {}
    for samples in by_text.values():
        series.setdefault(samples.name, []).append(samples)
    return OpenMetricsHistory(series=series, target_labels=target_labels)


def read_for(path: Path | None, sources: Iterable[Source]) -> OpenMetricsHistory | None:
    """`read_file` with the target labels of the first Prometheus among the sources, or the usual ones; None
    without a file. Raises BadFile."""
    if path is None:
        return None
    named = [source.target_labels for source in sources if isinstance(source, PrometheusSource)]
    usual = PrometheusSource(url="http://localhost:9090").target_labels
    return read_file(path, named[0] if named else usual)


def _keep(path: Path, number: int, line: str, by_text: dict[str, _Samples]) -> None:
    if " # " in line:
        line = _without_exemplar(line)
    try:
        text, written, time = line.rsplit(None, 2)
        value, at = float(written), float(time)
    except ValueError:
        raise BadFile(
            f"{path}:{number}: not `name{{labels}} value seconds`; "
            "give OpenMetrics text with a time on every sample"
        ) from None
    samples = by_text.get(text)
    if samples is None:
        if len(by_text) >= _STREAMS_MAX:
            raise BadFile(f"{path}:{number}: more than {_STREAMS_MAX} series; export only what is judged")
        samples = by_text[text] = _named(path, number, text)
    if not math.isfinite(at) or at > 1e11:
        raise BadFile(f"{path}:{number}: {at:g} is no time in seconds; divide milliseconds by 1000")
    if samples.at and at <= samples.at[-1]:
        raise BadFile(f"{path}:{number}: a series goes back in time; sort its samples by time")
    samples.at.append(at)
    samples.values.append(value)


def _without_exemplar(line: str) -> str:
    """The line up to an exemplar, which begins with ` # {` outside of label values."""
    is_quoted = False
    i = 0
    while i < len(line):
        if line[i] == "\\" and is_quoted:
            i += 1
        elif line[i] == '"':
            is_quoted = not is_quoted
        elif not is_quoted and line.startswith(" # ", i):
            return line[:i]
        i += 1
    return line


def _named(path: Path, number: int, text: str) -> _Samples:
    found = _SERIES.fullmatch(text)
    labels: dict[str, str] = {}
    inside = (found[2] or "") if found else ""
    at = 0
    while found and at < len(inside):
        label = _LABEL.match(inside, at)
        if label is None:
            found = None
            break
        labels[label[1]] = _ESCAPED.sub(lambda m: "\n" if m[1] == "n" else m[1], label[2])
        at = label.end()
    if found is None:
        raise BadFile(f'{path}:{number}: `{text[:80]}` is no series; write name{{label="value"}}')
    return _Samples(found[1], labels)


def _parts(query: Query, target_labels: tuple[str, ...]) -> Iterator[tuple[Selector, tuple[str, ...] | None]]:
    """Selector and kept labels of each part of a query; None keeps all of them. As Prometheus is asked."""
    labels = tuple(dict.fromkeys((*target_labels, *query.by)))
    if query.is_native:
        raise Unreadable("a file holds no native histograms: give the selector of a `_bucket` counter")
    try:
        if query.kind == "ratio":
            for selector in (query.numerator, query.denominator):
                yield parse_selector(selector or ""), labels
        elif query.histogram is not None:
            yield parse_selector(query.histogram), (*labels, "le")
        elif query.counter is not None:
            yield parse_selector(query.counter), labels
        else:
            yield parse_selector(query.gauge or query.query or ""), None
    except ValueError as error:
        raise Unreadable(f"a file cannot answer PromQL, give a selector: {error}") from error


def _streams(found: Sequence[_Samples], labels: tuple[str, ...] | None, grid: Grid) -> list[Stream]:
    """`sum by (labels) (last_over_time(selector[step]))` over the grid; without labels, each by itself."""
    summed: dict[tuple[tuple[str, str], ...], Stream] = {}
    for samples in found:
        names = samples.labels if labels is None else [name for name in labels if name in samples.labels]
        key = tuple(sorted((name, samples.labels[name]) for name in names))
        row = _last_over_time(samples, grid)
        known = summed.get(key)
        if known is None:
            summed[key] = Stream(dict(key), row)
        else:
            both = np.where(np.isnan(row), 0.0, row) + np.where(np.isnan(known.values), 0.0, known.values)
            summed[key] = Stream(dict(key), np.where(np.isnan(row) & np.isnan(known.values), np.nan, both))
    return [stream for stream in summed.values() if np.isfinite(stream.values).any()]


def _last_over_time(samples: _Samples, grid: Grid) -> FloatArray:
    """The newest sample within each step, (end - step_s, end]; NaN where there is none."""
    at = np.frombuffer(samples.at, dtype=np.float64)
    values = np.frombuffer(samples.values, dtype=np.float64)
    ends = grid.first_at + np.arange(grid.n) * grid.step_s
    newest = np.searchsorted(at, ends, side="right") - 1
    is_there = (newest >= 0) & (at[np.maximum(newest, 0)] > ends - grid.step_s)
    row = np.where(is_there, values[np.maximum(newest, 0)], np.nan)
    return np.where(np.isfinite(row), row, np.nan)
