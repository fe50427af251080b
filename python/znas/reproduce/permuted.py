"""The default search with what it measured of operations made meaningless: a negative control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from znas.hooks import QUIET, Hooks
from znas.method import Method
from znas.request import Request
from znas.result import SearchResult
from znas.search import select
from znas.selection.criteria import Ask, Worth
from znas.selection.strategies import Aggregate, Decision, Strategy, pick
from znas.setup import Setup
from znas_engine.spaces import SearchSpace


@dataclass(frozen=True, slots=True)
class Permuted(Strategy):
    """Decides by the worths of `inner`, permuted among all neurons, every row of scores alike.

    What is measured and what it costs stays; which neuron it was measured of is lost. A search that finds as
    much with it owes nothing to its interventions.
    """

    inner: Strategy
    rng: np.random.Generator

    def decide(
        self, ask: Ask, space: SearchSpace[Any], aggregate: Aggregate, ties: np.random.Generator
    ) -> Decision:
        found = self.inner.decide(ask, space, aggregate, ties)
        values = np.concatenate([worth.values for worth in found.worths], axis=1)
        drawn = [
            flag for worth in found.worths for flag in worth.intervened or [False] * worth.values.shape[1]
        ]
        order = self.rng.permutation(values.shape[1])
        ends = np.cumsum([worth.values.shape[1] for worth in found.worths])
        worths = [Worth(values[:, own], tuple(drawn[i] for i in own)) for own in np.split(order, ends[:-1])]
        selected = [pick(space.options(e), worth, aggregate, ties) for e, worth in enumerate(worths)]
        return Decision(np.array(selected), worths, found.base)


class PermutedMethod(Method):
    """A method whose strategy is `Permuted`."""

    __slots__ = ()

    def strategy(self) -> Strategy:
        return Permuted(super().strategy(), self.rng("permuted"))


def permuted(request: Request, hooks: Hooks = QUIET) -> SearchResult:
    """`znas.search` for this request, with the worths of its operations permuted before they select."""
    setup = Setup(request, hooks)
    return select(setup, PermutedMethod.of(request.settled(), setup.space, setup.scores))
