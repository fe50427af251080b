"""A shortlist: what needs no pass says which architectures are worth one, and passes say which is best.

    pool      = every function of the space, or POOL random architectures where there are too many to list
    shortlist = the `finalists` that scores without a pass rank first in the pool
    all of these, and as many random ones, are measured in a first environment
    in every further environment only the better half of those that are left is, and the random ones again

Scores with passes are ranked among the random architectures and those without among the pool: ranks among
finalists, which are all good by what selected them, would weigh small differences like large ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.costs.limits import Budget
from znas.selection.criteria import Floats
from znas.selection.finalists import different, kept_by
from znas_engine.spaces import Mask, SearchSpace

Rows = NDArray[np.int64]
#: Random architectures among which the first are looked for where a space has too many to list.
POOL = 2_000
#: The prior precision of an effect, in observations: what was hardly seen is hardly believed.
PRECISION = 1.0


def pool(space: SearchSpace[Any], budget: Budget | None, rng: np.random.Generator) -> list[Mask]:
    """Admitted architectures of different functions, as one-hot masks; with a budget those that may keep
    it."""
    listed = space.functions()
    if listed is not None:
        every: Iterator[Mask] = map(space.mask, listed)
        return list(every if budget is None else kept_by(budget, every))
    drawn: Iterator[Mask] = (space.random_path(rng) for _ in range(POOL))
    return list(different(space, drawn if budget is None else kept_by(budget, drawn), set()))


def effects(space: SearchSpace[Any], masks: Mask, values: Floats) -> Floats:
    """What every operation adds to a value, float64 [E, O]: posterior means of an additive model.

        value[i] = m + sum over (e, o) of mask[i, e, o] * effect[e, o] + noise
        effect ~ N(0, noise / PRECISION)

    masks: [n, E, O]. values: float64 [n]. -inf where an operation is no candidate.
    """
    candidates = space.candidates
    x = masks[:, candidates].astype(np.float64)
    centred = x - x.mean(0)
    gram = centred.T @ centred + PRECISION * np.eye(x.shape[1])
    found = np.full(space.shape, -np.inf)
    found[candidates] = np.linalg.solve(gram, centred.T @ (values - values.mean()))
    return found


def edge_effects(space: SearchSpace[Any], added: Floats) -> dict[int, float]:
    """What a contested edge adds with its best operation. added: of `effects`."""
    return {e: float(added[e].max()) for into in space.contested_nodes() for e in into}


def from_best(values: Floats, rng: np.random.Generator) -> Rows:
    """The rows of values float64 [n] from the largest on, ties at random, int64 [n]."""
    rows = rng.permutation(len(values))
    return rows[np.argsort(-values[rows], kind="stable")]


#: masks [n, E, O], number of an environment -> what is compared there, float64 [n].
Total = Callable[[Sequence[Mask], int], Floats]


@dataclass(frozen=True, slots=True)
class Compared:
    """Architectures from the best on, and what was compared of them.

    masks: one-hot. totals: float64 [n, K], NaN in environments in which one was not measured.
    """

    masks: list[Mask]
    totals: Floats

    @property
    def means(self) -> Floats:
        """Over the environments in which each was measured, float64 [n]."""
        found: Floats = np.nanmean(self.totals, axis=1)
        return found


def halved(
    masks: list[Mask],
    began: Floats,
    always: NDArray[np.bool_],
    first: int,
    environments: int,
    total: Total,
    rng: np.random.Generator,
) -> Compared:
    """`halving` of architectures."""
    rows, totals = halving(
        began, always, first, environments, lambda rows, k: total([masks[i] for i in rows], k), rng
    )
    return Compared([masks[i] for i in rows], totals)


def halving(
    began: Floats,
    always: NDArray[np.bool_],
    first: int,
    environments: int,
    total: Callable[[Rows, int], Floats],
    rng: np.random.Generator,
) -> tuple[Rows, Floats]:
    """Successive halving over environments: all in the first, whose totals are `began`, float64 [n], then the
    best `first` / 2, / 4 ... of them by their means so far, and those that are `always` measured, bool [n].
    Ties at random.

    Returns rows from the best on, int64 [n], and their totals, float64 [n, K], NaN where it was not measured.
    An architecture that fell behind stays behind those that went on, whatever its mean.

    total: rows, number of an environment -> what is compared there.
    """
    totals = np.full((len(began), environments), np.nan)
    totals[:, 0] = began
    rounds = np.ones(len(began))
    shuffled = rng.permutation(len(began))
    left = shuffled
    for k in range(1, environments):
        means = np.nanmean(totals[left], axis=1)
        left = left[np.argsort(-means, kind="stable")][: -(-first // 2**k)]
        rounds[left] += 1
        measured = np.union1d(left, np.flatnonzero(always))
        totals[measured, k] = total(measured, k)
    means = np.nanmean(totals, axis=1)
    order = shuffled[np.lexsort((-means[shuffled], -rounds[shuffled]))]
    return order, totals[order]
