"""A past of a shop as a newcomer has it: a configuration, an OpenMetrics file and a deploy log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FIRST_AT = 1_790_035_200  # 2026-09-22 00:00 UTC
STEP_S = 60
HOUR_S, DAY_S = 3_600, 86_400

SERVICE = """
  checkout:
    history: {history}
    history_min: 1h
    rollout_max: 5m
    watch: {{for: 30m, warm_up: 2m}}
    series:
      errors:
        kind: ratio
        numerator: 'requests_total{{app="checkout",ok="n"}}'
        denominator: 'requests_total{{app="checkout"}}'
      latency: {{kind: latency, gauge: 'latency_seconds{{app="checkout"}}'}}
      orders: {{kind: count, counter: 'orders_total{{app="checkout"}}'}}
      memory: {{kind: gauge, gauge: 'memory_bytes{{app="checkout"}}', acts: false}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """From `at` (seconds since FIRST_AT) for `for_s`: that share of failures, and orders times `orders`."""

    at: int
    for_s: int
    errors: float = 0.01
    orders: float = 1.0
    latency: float = 1.0


@dataclass(frozen=True, slots=True)
class ShopPast:
    """Files in a folder. options: what a backtest of them is called with, but for `-c`."""

    folder: Path
    days: float

    @property
    def config(self) -> Path:
        return self.folder / "watchdog.yaml"

    @property
    def file(self) -> Path:
        return self.folder / "history.om"

    @property
    def deploys(self) -> Path:
        return self.folder / "deploys.jsonl"

    @property
    def options(self) -> list[str]:
        until = FIRST_AT + round(self.days * DAY_S)
        return [
            "--since",
            str(FIRST_AT),
            "--until",
            str(until),
            "--deploys",
            str(self.deploys),
            "--jobs",
            "1",
        ]


@dataclass(slots=True)
class Shop:
    """Draws the past of one shop, minute by minute. deploys: as the API takes them."""

    days: float
    faults: Sequence[Fault] = ()
    deploys: list[Mapping[str, Any]] = field(default_factory=list)
    seed: int = 7

    def ship(self, at: int, version: str, **more: Any) -> None:
        """A deploy that began `at` seconds after FIRST_AT and took two minutes."""
        times = {"started_at": FIRST_AT + at, "finished_at": FIRST_AT + at + 120}
        self.deploys.append({"service": "checkout", "version": version, **times, **more})

    def streams(self) -> dict[str, npt.NDArray[np.float64]]:
        """Series of the file to their values, one a minute."""
        rng = np.random.default_rng(self.seed)
        n = round(self.days * DAY_S / STEP_S)
        at = STEP_S * np.arange(1, n + 1)
        errors, orders, latency = np.full(n, 0.01), np.ones(n), np.full(n, 0.2)
        for fault in self.faults:
            is_hit = (at > fault.at) & (at <= fault.at + fault.for_s)
            errors[is_hit], orders[is_hit] = fault.errors, fault.orders
            latency[is_hit] *= fault.latency
        requests = rng.poisson(600 + 200 * np.sin(2 * np.pi * at / DAY_S))
        failed = rng.binomial(requests, errors)
        app = 'app="checkout",job="shop",instance="a"'
        return {
            f'requests_total{{{app},ok="n"}}': np.cumsum(failed).astype(np.float64),
            f'requests_total{{{app},ok="y"}}': np.cumsum(requests - failed).astype(np.float64),
            f"orders_total{{{app}}}": np.cumsum(rng.poisson(60 * orders)).astype(np.float64),
            f"latency_seconds{{{app}}}": latency * np.exp(rng.normal(0.0, 0.08, n)),
            f"memory_bytes{{{app}}}": 4e8 + 1e7 * rng.normal(0.0, 1.0, n),
        }

    def write(self, folder: Path, *, url: str = "http://127.0.0.1:1", history: str = "12h") -> ShopPast:
        """The files, in a folder that exists; url: of the Prometheus in the configuration."""
        past = ShopPast(folder, self.days)
        lines = []
        for name, values in self.streams().items():
            rows = zip(values.tolist(), range(FIRST_AT + STEP_S, 10**11, STEP_S), strict=False)
            # Scraped five seconds before the step ends.
            lines += [f"{name} {value!r} {at - 5}" for value, at in rows]
        past.file.write_text("\n".join([*lines, "# EOF", ""]))
        past.deploys.write_text("".join(f"{json.dumps(deploy)}\n" for deploy in self.deploys))
        self.configure(past, url=url, history=history)
        return past

    def configure(self, past: ShopPast, *, url: str, history: str = "12h") -> None:
        """Write the configuration again."""
        head = f"state_dir: {past.folder}/state\nsources: {{prom: {{kind: prometheus, url: '{url}'}}}}\n"
        past.config.write_text(f"{head}services:{SERVICE.format(history=history)}")
