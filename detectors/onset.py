"""When the change began, and which deploy that makes responsible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.innovations import REACH, Noise
from detectors.mixture import log_mixture
from detectors.model import DeployInterval, FloatArray

# Of the changes seen, 9 of 10 come from a deploy when there is one (reference: pi = .9, A >= .95).
_FROM_DEPLOY = 0.9
_NO_CHANGE = 0.5
_MASS = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset:
    """Posterior of the onset. at: the likeliest first changed tick (index); low, high: 90 % credible.

    probability: of an onset in or after this deploy, given that there was one. shares: deploy id, "before"
    and "none" to a probability; they sum to 1.
    """

    at: int
    low: int
    high: int
    probability: float
    shares: Mapping[str, float]


def onset_evidence(noise: Noise, r: FloatArray, w: FloatArray) -> FloatArray:
    """log E of a step at each tick against no step, the level being unknown; shape (T,).

    r, w: residuals (NaN = missing) and weights, oldest first. Generalised least squares on the AR
    innovations: S(tau) less the part the level explains, in O(T) for all tau together.
    """
    seen = np.isfinite(r)
    p = len(noise.phi)
    filled = np.clip(np.where(seen, r, 0.0), -REACH, REACH)
    weight = np.where(seen, w, 0.0)
    padded_r, padded_w = np.concatenate([np.zeros(p), filled]), np.concatenate([np.zeros(p), weight])
    # responses[k]: to a step that began k ticks ago (all of its past is known for k = p).
    responses = [weight.copy()]
    e = filled.copy()
    for k in range(1, p + 1):
        e -= noise.phi[k - 1] * padded_r[p - k : len(padded_r) - k]
        responses.append(responses[-1] - noise.phi[k - 1] * padded_w[p - k : len(padded_w) - k])
    score = np.where(seen, noise.scores(e), 0.0)
    x = [np.where(seen, a, 0.0) / noise.unit for a in responses]
    level = x[p]

    def late(values: FloatArray) -> FloatArray:
        """Sum over t >= tau + p, for each tau."""
        total = np.cumsum(values[::-1])[::-1]
        result: FloatArray = np.concatenate([total[p:], np.zeros(min(p, len(total)))])
        return result

    s, v = late(level * score), late(level * level)
    m = v.copy()
    for k in range(min(p, len(r))):
        part, to = x[k][k:], len(r) - k
        s[:to] += part * score[k:]
        v[:to] += part * part
        m[:to] += part * level[k:]
    base = max(float(np.sum(level * level)), 1e-300)
    v = np.maximum(v - m * m / base, 0.0)
    s = s - m * float(np.sum(level * score)) / base
    return log_mixture(s, v)


def deploy_prior(end_at: FloatArray, step_s: float, deploy: DeployInterval, half_life: float) -> FloatArray:
    """Prior of the onset at each tick if this deploy is to blame: even inside, then halving per half_life."""
    ticks_after = np.maximum((end_at - step_s - deploy.finished_at) / step_s, 0.0)
    inside = max((deploy.finished_at - deploy.started_at) / step_s, 0.0) + 1.0
    total = inside + 1.0 / (1.0 - 0.5 ** (1.0 / half_life))
    result: FloatArray = np.where(end_at > deploy.started_at, 0.5 ** (ticks_after / half_life), 0.0) / total
    return result


def locate(
    evidence: FloatArray,
    end_at: FloatArray,
    step_s: float,
    deploy: DeployInterval,
    others: Sequence[DeployInterval],
    half_life: float,
) -> Onset:
    """Posterior of the onset over ticks ending at `end_at` from log evidence per tick, both shape (T,)."""
    after = end_at > deploy.started_at
    group = [deploy, *others]
    priors = [_FROM_DEPLOY / len(group) * deploy_prior(end_at, step_s, d, half_life) for d in group]
    priors.append(np.where(after, 0.0, (1.0 - _FROM_DEPLOY) / max(int((~after).sum()), 1)))
    prior = np.sum(priors, axis=0)
    with np.errstate(divide="ignore"):
        log_post = evidence + np.log((1.0 - _NO_CHANGE) * prior)
    top = max(float(log_post.max()), float(np.log(_NO_CHANGE)))
    mass = np.exp(log_post - top)
    none = float(np.exp(np.log(_NO_CHANGE) - top))
    changed = max(float(mass.sum()), 1e-300)
    part = mass / np.maximum(prior, 1e-300)
    shares = {d.id: float(np.sum(part * q)) / (changed + none) for d, q in zip(group, priors, strict=False)}
    shares["before"] = float(np.sum(part * priors[-1])) / (changed + none)
    shares["none"] = none / (changed + none)
    order = np.argsort(-mass, kind="stable")
    inside = order[: int(np.searchsorted(np.cumsum(mass[order]), _MASS * changed)) + 1]
    return Onset(
        at=int(order[0]),
        low=int(inside.min()),
        high=int(inside.max()),
        probability=float(mass[after].sum()) / changed,
        shares=shares,
    )
