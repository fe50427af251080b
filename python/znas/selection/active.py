"""Which architecture to measure next: a Bayesian model of what is known, and the search that it leads.

    y(m, k) = c + b ahead(m) + V(m) + noise(m, k),   V ~ GP(0, w1 K1 + w2 K2),   noise ~ N(0, s)

    K1(m, m') = sum over edges e of <m_e, m'_e> / E
    K2(m, m') = sum over pairs e < f of <m_e, m'_e> <m_f, m'_f> / (E (E - 1) / 2)

y(m, k): what is compared of the mask m in environment k, ahead: what scores without a pass say of it. It is
the linear model V(m) = sum m[e, o] a[e, o] + sum m[e, o] m[f, q] I[e, o, f, q] with independent effects a, of
equal variances, and interactions I likewise (Rasmussen & Williams 2006, section 2.1), so it holds for
whatever is a mask. The supernet's, do(e, o) and coalitions, have another level and another scale:

    y(m, k) = c' + r V(m) + noise(m, k)

c, b and c' have a wide prior (section 2.7 there), w1, w2, r and s the values of the largest marginal
likelihood (equation 5.8 there).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from znas.selection.criteria import Floats
from znas_engine.spaces import Mask

Rows = NDArray[np.int64]
#: Rows of the pool, an environment -> what is seen of them there, float64 [m].
Observe = Callable[[Rows, int], Floats]

#: Variance of c, b and c' in variances of y, and what is added to a covariance that it can be solved.
WIDE, JITTER = 100.0, 1e-9
#: Logarithms of w1, w2, r, s in variances of y: where the likelihood is climbed from, and limits.
START, LIMITS = (-1.0, -1.0, -1.0, -2.0), (-12.0, 6.0)
#: Masks that weights are learnt from, at most.
LEARNT = 250
#: How often a search looks at what it has seen before it goes on; deviations that it hopes for.
ROUNDS, HOPE = 12, 1.0


@dataclass(frozen=True, slots=True)
class Weights:
    """single, pairs: w1, w2. shown: r. noise: s."""

    single: float
    pairs: float
    shown: float
    noise: float


@dataclass(frozen=True, eq=False)
class Seen:
    """masks float [n, E, O], different ones. values, counts: of each the mean and the number of what was
    observed, float64 [n]. apart: the squared deviations from these means, summed. ahead: float64 [n], 0 for
    the supernet's. whole: bool [n], architectures; the others are the supernet's."""

    masks: Mask
    values: Floats
    counts: Floats
    apart: float
    ahead: Floats
    whole: NDArray[np.bool_]

    @classmethod
    def of(cls, masks: Mask, values: Floats, ahead: Floats, *, whole: bool) -> Seen:
        """values: float64 [n, K], NaN where nothing was observed, but in one environment of each at least."""
        means = np.nanmean(values, axis=1)
        return cls(
            masks,
            means,
            (~np.isnan(values)).sum(1).astype(np.float64),
            float(np.nansum((values - means[:, None]) ** 2)),
            ahead,
            np.full(len(masks), whole),
        )

    def beside(self, other: Seen) -> Seen:
        """Both."""
        return Seen(
            np.concatenate([self.masks, other.masks]),
            np.concatenate([self.values, other.values]),
            np.concatenate([self.counts, other.counts]),
            self.apart + other.apart,
            np.concatenate([self.ahead, other.ahead]),
            np.concatenate([self.whole, other.whole]),
        )

    def some(self, rows: Rows) -> Seen:
        """A part of them; `apart` is its share of all."""
        again, of_these = float((self.counts - 1).sum()), float((self.counts[rows] - 1).sum())
        return Seen(
            self.masks[rows],
            self.values[rows],
            self.counts[rows],
            self.apart * of_these / again if again else 0.0,
            self.ahead[rows],
            self.whole[rows],
        )


def kernels(one: Mask, other: Mask) -> tuple[Floats, Floats]:
    """masks [n, E, O] and [m, E, O] -> K1 and K2, float64 [n, m]."""
    edges = one.shape[1]
    total, squares = np.zeros((len(one), len(other))), np.zeros((len(one), len(other)))
    for e in range(edges):
        same = one[:, e].astype(np.float64) @ other[:, e].astype(np.float64).T
        total += same
        squares += same**2
    return total / edges, (total**2 - squares) / max(1, edges * (edges - 1))


def variances(masks: Mask) -> tuple[Floats, Floats]:
    """K1 and K2 of every mask with itself, float64 [n]."""
    own = (masks.astype(np.float64) ** 2).sum(2)
    edges = own.shape[1]
    return own.sum(1) / edges, (own.sum(1) ** 2 - (own**2).sum(1)) / max(1, edges * (edges - 1))


@dataclass(frozen=True, eq=False)
class Belief:
    """What is believed after `seen`. weights: in units of y. lower: Cholesky factor of the covariance of what
    was seen, and solved: its inverse times that, [n, n] and [n]. unit, centre: y is unit times what the
    covariance is of, plus centre."""

    seen: Seen
    weights: Weights
    lower: Floats
    solved: Floats
    unit: float
    centre: float

    @classmethod
    def after(cls, seen: Seen, weights: Weights) -> Belief:
        """seen: two masks at least."""
        unit, centre = _scale(seen)
        logs = _logs(weights, unit)
        single, pairs = kernels(seen.masks, seen.masks)
        covariance, _ = _covariance(logs, single, pairs, seen)
        lower: Floats = np.asarray(np.linalg.cholesky(covariance), np.float64)
        solved: Floats = np.linalg.solve(lower.T, np.linalg.solve(lower, (seen.values - centre) / unit))
        return cls(seen, weights, lower, solved, unit, centre)

    def of(self, masks: Mask, ahead: Floats) -> tuple[Floats, Floats]:
        """Of architectures, [n, E, O] and [n], the mean and the deviation of y without noise, float64 [n]."""
        from scipy.linalg import solve_triangular

        single, pairs, shown, _ = np.exp(_logs(self.weights, self.unit))
        kernel, other = kernels(masks, self.seen.masks)
        scale = np.where(self.seen.whole, 1.0, shown)
        ones = np.ones(len(masks), np.bool_)
        basis, own = _basis(ahead, ones), _basis(self.seen.ahead, self.seen.whole)
        across = (single * kernel + pairs * other) * scale + WIDE * basis @ own.T
        of_one, of_pairs = variances(masks)
        before = single * of_one + pairs * of_pairs + WIDE * (basis**2).sum(1)
        explained = (solve_triangular(self.lower, across.T, lower=True) ** 2).sum(0)
        mean = self.centre + self.unit * (across @ self.solved)
        return mean, self.unit * np.sqrt(np.maximum(before - explained, 0.0))


def learn(seen: Seen, rng: np.random.Generator) -> Weights:
    """The weights of the largest marginal likelihood of `seen`, or of LEARNT of its masks."""
    from scipy.optimize import minimize

    if len(seen.values) > LEARNT:
        seen = seen.some(np.sort(rng.choice(len(seen.values), LEARNT, replace=False)))
    unit, centre = _scale(seen)
    single, pairs = kernels(seen.masks, seen.masks)
    y = (seen.values - centre) / unit

    def loss(logs: Floats) -> tuple[float, Floats]:
        value, gradient = _surprise(logs, single, pairs, y, seen, seen.apart / unit**2)
        # A weak prior on every scale: nothing runs away where the observations do not say.
        return value + 0.01 * float(logs @ logs), gradient + 0.02 * logs

    with threadpool_limits(1, user_api="blas"):  # these matrices are small
        found = minimize(
            loss, START, jac=True, method="L-BFGS-B", bounds=[LIMITS] * 4, options={"maxiter": 40}
        )
    w1, w2, r, s = np.exp(found.x)
    return Weights(float(w1 * unit**2), float(w2 * unit**2), float(r), float(s * unit**2))


def explore(
    masks: Mask,
    ahead: Floats,
    known: Floats,
    observe: Observe,
    count: int,
    rng: np.random.Generator,
    shown: Seen | None = None,
) -> Floats:
    """What is expected of every architecture of a pool, float64 [n], after `count` more observations.

        until `count` were made, in ROUNDS rounds:
            observe those with the largest  expected + HOPE * deviation,  each in its next environment

    A repeated observation tells an architecture from its neighbours, another one tells both. masks: [n, E,
    O]. ahead: float64 [n]. known: float64 [n, K], NaN where an architecture was not observed; this is filled
    in. shown: what the supernet's masks have shown before. Ends earlier where all is known.
    """
    with threadpool_limits(1, user_api="blas"):
        weights: Weights | None = None
        learnt_from, left = 0, count
        for turn in range(ROUNDS + 1):
            there = ~np.isnan(known).all(1)
            seen = Seen.of(masks[there], known[there], ahead[there], whole=True)
            seen = seen if shown is None else seen.beside(shown)
            if weights is None or len(seen.values) >= 1.5 * learnt_from:
                weights, learnt_from = learn(seen, rng), len(seen.values)
            mean, deviation = Belief.after(seen, weights).of(masks, ahead)
            open_ = np.isnan(known).any(1)
            if turn == ROUNDS or not left or not open_.any():
                break
            hoped = np.where(open_, mean + HOPE * deviation, -np.inf)
            most = -(-left // (ROUNDS - turn))
            best = np.argsort(-hoped, kind="stable")[: min(most, int(open_.sum()))]
            left -= len(best)
            next_ = np.isnan(known[best]).argmax(1)
            for k in np.unique(next_):
                rows = best[next_ == k]
                known[rows, k] = observe(rows, int(k))
        return mean


def _surprise(
    logs: Floats, single: Floats, pairs: Floats, y: Floats, seen: Seen, apart: float
) -> tuple[float, Floats]:
    """-2 log p(observations | weights) up to a constant, and its gradient by `logs`: of the means, whose
    noise is s / counts, and of what repeated observations deviate from them."""
    covariance, parts = _covariance(logs, single, pairs, seen)
    lower = np.linalg.cholesky(covariance)
    half = np.linalg.inv(lower)
    inverse = half.T @ half
    solved = inverse @ y
    again, noise = float((seen.counts - 1).sum()), float(np.exp(logs[3]))
    value = float(y @ solved) + 2 * float(np.log(np.diag(lower)).sum()) + again * logs[3] + apart / noise
    gradient = np.array([np.einsum("ij,ij->", inverse, part) - solved @ part @ solved for part in parts])
    gradient[3] += again - apart / noise
    return value, gradient


def _covariance(logs: Floats, single: Floats, pairs: Floats, seen: Seen) -> tuple[Floats, list[Floats]]:
    """Of the means that were seen, [n, n], and its derivatives by `logs`. single, pairs: K1 and K2."""
    w1, w2, r, s = np.exp(logs)
    scale = np.where(seen.whole, 1.0, r)
    both = np.outer(scale, scale)
    one, two, noise = w1 * single * both, w2 * pairs * both, np.diag(s / seen.counts)
    times = (~seen.whole).astype(np.float64)
    by_scale = (one + two) * (times[:, None] + times[None])
    basis = _basis(seen.ahead, seen.whole)
    total = one + two + noise + WIDE * basis @ basis.T + JITTER * WIDE * np.eye(len(single))
    return total, [one, two, by_scale, noise]


def _basis(ahead: Floats, whole: NDArray[np.bool_]) -> Floats:
    """What c, b and c' are multiplied by, float64 [n, 3]."""
    return np.stack([whole, np.where(whole, ahead, 0.0), ~whole], axis=1).astype(np.float64)


def _scale(seen: Seen) -> tuple[float, float]:
    """(unit, centre) of what was seen; a unit of 1 where all is equal."""
    return float(seen.values.std()) or 1.0, float(seen.values.mean())


def _logs(weights: Weights, unit: float) -> Floats:
    w1, w2, s = (value / unit**2 for value in (weights.single, weights.pairs, weights.noise))
    found: Floats = np.log(np.array([w1, w2, weights.shown, s]))
    return found
