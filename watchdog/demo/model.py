"""How the shop behaves, as numbers: the live shop draws from them, and so does its simulated history.

One module for both, because a history drawn from other numbers than the live shop would look to the judge
like a change that no deploy made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Orders a second, over all customers. Each order is a request to all three services; 60 requests a second
# keep two slow cores about a fifth busy, and 20 orders a step are enough to see 3 % within seconds.
ORDERS_PER_S = 20.0

# Of the cards that are asked; a declined card is business, not an error.
DECLINED_SHARE = 0.02

# Upper bounds of the latency histograms. Dense where the shop works, because a quantile is read
# from them by interpolation.
LATENCY_BUCKETS_S = (
    *(0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.24, 0.26, 0.28, 0.3),
    *(0.33, 0.36, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 1.0, 1.5, 2.0, 5.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceModel:
    """One healthy service.

    errors: share of its requests that it answers 500 of its own accord. work_median_s, work_spread: median
    and standard deviation of the logarithm of the time it works on one request, calls to others apart.
    """

    errors: float
    work_median_s: float
    work_spread: float


# Work takes so long that what a slow machine adds to it (a few milliseconds) is small beside it.
SERVICES: Mapping[str, ServiceModel] = {
    "checkout": ServiceModel(errors=0.001, work_median_s=0.05, work_spread=0.25),
    "payments": ServiceModel(errors=0.001, work_median_s=0.08, work_spread=0.25),
    "stock": ServiceModel(errors=0.001, work_median_s=0.06, work_spread=0.25),
}


@dataclass(slots=True, kw_only=True)
class Weather:
    """What hits every service alike. Factors of arrivals and of working time, and added error share."""

    arrivals: float = 1.0
    errors: float = 0.0
    slowness: float = 1.0
