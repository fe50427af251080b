"""Shapley values from random orders of the players."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from znas.games.base import Game
from znas.games.sampling import MeanSampler
from znas.games.walks import Walks
from znas_engine.arguments import number, truth
from znas_engine.errors import InvalidValueError


class Permutation(MeanSampler):
    """Marginal contributions along random orders (Castro et al. 2009), in antithetic pairs.

    for each sample:
        for order in (a random order, its reverse):
            for each player i in it: marginal[i] = v(those before i, and i) - v(those before i)
        sample[i] = mean of the two marginals
    value[i] = mean of the samples; its standard error from their spread, m - 1 degrees of freedom

    The samples are independent, the two orders in one are not: that is why errors are computed from
    pairs. Without truncation the values of every sample add up to v(all) - v(nobody). A sample costs at
    most 2 (n - 1) evaluations.

    antithetic: pairs lower the variance, never raise it, where what a player adds only grows, or only
        shrinks, with those already there (convex and concave games); Mitchell et al. 2022 find the same
        for most models. They can raise it elsewhere, up to twofold for a majority vote, where player i
        decides in an order exactly if it decides in the reverse: pass False there.
    truncation: end a walk once |v(all) - v(prefix)| is below this, in units of the value, and give 0 to the
        players that have not joined (Data Shapley, Ghorbani & Zou 2019). 0 ends none. A larger one costs
        fewer evaluations, but one batch per position instead of one per round; it biases the values, and
        the standard errors do not show it.
    """

    name = "permutation sampling"

    def __init__(
        self,
        *,
        antithetic: bool = True,
        truncation: float = 0.0,
        samples_per_round: int = 16,
        max_rounds: int = 1000,
    ) -> None:
        super().__init__(samples_per_round=samples_per_round, max_rounds=max_rounds)
        self.antithetic = truth("antithetic", antithetic)
        self.truncation = tolerance(truncation)

    def two_samples(self, players: int) -> int:
        return 2 + 2 * (players - 1) * (2 if self.antithetic else 1)

    def shape(self, players: int) -> tuple[int, ...]:
        return (players,)

    def draw(self, game: Game, rng: np.random.Generator) -> NDArray[np.float64]:
        everybody = np.ones(game.players, dtype=np.bool_)
        walks = Walks.draw(rng, self.samples_per_round, everybody, antithetic=self.antithetic)
        marginals = walks.affordable(game).marginals(game, truncation=self.truncation)
        return np.asarray(marginals.mean(1))


def tolerance(truncation: float) -> float:
    """`truncation`, or InvalidValueError."""
    wanted = "finite and 0 or more"
    found = number("truncation", truncation, wanted)
    if found < 0:
        raise InvalidValueError(f"`truncation` must be {wanted} but got {found!r}")
    return found
