"""Perturbation-based selection: DARTS+PT's rule, on an untrained supernet or on a prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from znas.interventions.knowledge import FromPrior, Observed
from znas.interventions.query import Query
from znas.interventions.scorer import Answer
from znas.priors import Prior
from znas.searchers.base import MOST, Searcher, Task
from znas.selection.aggregate import mean
from znas.selection.criteria import Ask, LeaveOneOut, spread
from znas.selection.operations import argmax_random_ties, one_hot
from znas.selection.strategies import Sequential
from znas.selection.topology import drop_worths, select_edges
from znas_engine.arguments import check_between, instance
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask


@dataclass(frozen=True, slots=True)
class ZeroCostPT(Searcher):
    """Zero-Cost-PT (Xiang et al., AAAI 2023, arXiv:2106.06799) on the score.

        repeat `iterations` times:
            for each edge, in random order:
                keep the operation whose removal leaves the lowest score; fix the edge to it
            DARTS: keep, per node, the two edges whose removal leaves the lowest score
        answer: the found architecture with the best score of its own (one iteration needs none)

    It is this engine's own `Sequential` strategy with the criterion `LeaveOneOut`. The publication repeats
    ten times; cost is proportional.
    """

    iterations: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "iterations", check_between("iterations", self.iterations, 1, MOST))

    def choose(self, task: Task) -> Mask:
        found = np.stack([perturb(task, _measure(task)) for _ in range(self.iterations)])
        values = task.aggregate(task.observe(found)) if self.iterations > 1 else np.zeros(1)
        best: Mask = found[argmax_random_ties(values, task.rng)]
        return best


@dataclass(frozen=True, slots=True)
class DartsPT(Searcher):
    """DARTS+PT (Wang et al., ICLR 2021, arXiv:2108.04392) with the mean of a prior for the supernet.

    The publication trains a supernet and measures its accuracy without each operation. A one-shot prior
    holds such accuracies per operation, and `FromPrior` believes an edge without one to be like the average
    of the others; so nothing is measured here, and what it cost is what the prior cost. InvalidValueError
    for a prior of another space.
    """

    prior: Prior

    def __post_init__(self) -> None:
        instance("prior", self.prior, Prior, ": znas.priors.load reads one")

    def choose(self, task: Task) -> Mask:
        if self.prior.space.name != task.space.name:
            raise InvalidValueError(f"the prior is for {self.prior.space.name}, not for {task.space.name}")
        knowledge = FromPrior(self.prior, aligned=False)

        def ask(queries: Sequence[Query]) -> list[Answer]:
            if not queries:
                return []
            belief = knowledge.belief(queries, Observed.nothing(1))
            return [Answer(column, intervened=True) for column in belief.mean.T]

        return perturb(task, ask)


def perturb(task: Task, ask: Ask) -> Mask:
    """Edge by edge in random order, then the topology; `ask` answers with the score of masks."""
    space, rng = task.space, task.rng
    decision = Sequential(LeaveOneOut(), "random", rng).decide(ask, space, mean, rng)
    scores = spread(space, [worth.values.mean(0) for worth in decision.worths])
    selected = space.repair(scores, decision.selected)
    worths = {e: float(w.values.mean()) for e, w in drop_worths(ask, space, decision.base).items()}
    kept = select_edges(space, worths, rng)
    mask: Mask = one_hot(selected, len(space.operations)) * kept[:, None]
    return mask


def _measure(task: Task) -> Ask:
    """Scores from the supernet; those of one call are comparable."""

    def ask(queries: Sequence[Query]) -> list[Answer]:
        if not queries:
            return []
        values = task.aggregate(task.observe(np.stack([query.mask for query in queries])))
        return [Answer(values[i : i + 1], intervened=False) for i in range(len(queries))]

    return ask
