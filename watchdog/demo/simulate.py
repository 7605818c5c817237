"""Hours of the healthy shop in a moment: order by order, from the numbers the live shop draws from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from watchdog.demo.model import DECLINED_SHARE, LATENCY_BUCKETS_S, ORDERS_PER_S, SERVICES

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What /metrics of one service would have counted in each step.

    requests, errors: shape (n,), requests answered and those answered 5xx. durations: shape (n, k + 1),
    requests per latency bucket, the last one above all bounds. mean_s: mean time to answer over all steps.
    """

    requests: Counts
    errors: Counts
    durations: Counts
    mean_s: float


def simulate(
    n: int, step_s: float, *, seed: int, extra_s: Mapping[str, float] | None = None
) -> tuple[Mapping[str, Figures], Counts]:
    """`n` steps of the healthy shop: the figures of each service, and the paid orders per step, shape (n,).

    extra_s: mean time that the machine adds to a request of each service beside its work.
    The same seed gives the same figures.
    """
    random = np.random.default_rng(seed)
    extra = {name: (extra_s or {}).get(name, 0.0) for name in SERVICES}
    arrived_s = np.sort(random.uniform(0.0, n * step_s, random.poisson(ORDERS_PER_S * n * step_s)))
    size = arrived_s.size

    def worked_s(name: str) -> Counts:
        model = SERVICES[name]
        work = random.lognormal(math.log(model.work_median_s), model.work_spread, size)
        return work + (random.exponential(extra[name], size) if extra[name] > 0.0 else 0.0)

    def fails(name: str) -> npt.NDArray[np.bool_]:
        return random.random(size) < SERVICES[name].errors

    own_s, stock_s, payments_s = worked_s("checkout"), worked_s("stock"), worked_s("payments")
    checkout_fails, stock_fails, payments_fails = fails("checkout"), fails("stock"), fails("payments")
    # The order of the calls is that of shop.checkout_app: who fails early is never asked for the rest.
    asks_stock = ~checkout_fails
    asks_payments = asks_stock & ~stock_fails
    is_charged = asks_payments & ~payments_fails
    is_paid = is_charged & (random.random(size) >= DECLINED_SHARE)
    stock_done_s = arrived_s + own_s + stock_s
    payments_done_s = stock_done_s + payments_s
    done_s = arrived_s + own_s + np.where(asks_stock, stock_s, 0.0) + np.where(asks_payments, payments_s, 0.0)

    def counted(
        at_s: Counts, took_s: Counts, is_error: npt.NDArray[np.bool_], is_asked: npt.NDArray[np.bool_]
    ) -> Figures:
        step = np.floor(at_s[is_asked] / step_s).astype(np.intp)
        is_inside = step < n
        step, took, error = step[is_inside], took_s[is_asked][is_inside], is_error[is_asked][is_inside]
        bucket = np.searchsorted(LATENCY_BUCKETS_S, took, side="left")
        width = len(LATENCY_BUCKETS_S) + 1
        durations = np.bincount(step * width + bucket, minlength=n * width).astype(np.float64)
        return Figures(
            requests=np.bincount(step, minlength=n).astype(np.float64),
            errors=np.bincount(step[error], minlength=n).astype(np.float64),
            durations=durations.reshape(n, width),
            mean_s=float(took.mean()) if took.size else 0.0,
        )

    everyone = np.ones(size, dtype=np.bool_)
    figures = {
        "checkout": counted(done_s, done_s - arrived_s, ~is_charged, everyone),
        "stock": counted(stock_done_s, stock_s, stock_fails, asks_stock),
        "payments": counted(payments_done_s, payments_s, payments_fails, asks_payments),
    }
    paid_step = np.floor(done_s[is_paid] / step_s).astype(np.intp)
    paid = np.bincount(paid_step[paid_step < n], minlength=n).astype(np.float64)
    return figures, paid


def machine_extra_s(measured_s: Mapping[str, float], *, seed: int) -> Mapping[str, float]:
    """What this machine adds to a request of each service, from the mean times measured on the live shop.

    Never negative. Checkout waits for the two others, so what they add is taken off its own.
    """
    modelled, _ = simulate(2000, 1.0, seed=seed)
    extra = {name: max(0.0, measured_s[name] - modelled[name].mean_s) for name in SERVICES}
    extra["checkout"] = max(0.0, extra["checkout"] - extra["stock"] - extra["payments"])
    return extra
