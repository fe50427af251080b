"""Exact where that is possible, sampled where it is not."""

from __future__ import annotations

import numpy as np

from znas.games.base import Estimate, Estimator, Game
from znas.games.exact import EXACT_LIMIT


class Auto(Estimator):
    """`exact` for at most 8 players and a budget that holds all 2^n coalitions, `sampled` otherwise.

    `Estimate.exact` says which it was.
    """

    def __init__(self, exact: Estimator, sampled: Estimator) -> None:
        self.exact, self.sampled = exact, sampled
        self.least_players = max(exact.least_players, sampled.least_players)

    def run(self, game: Game, rng: np.random.Generator, precision: float | None) -> Estimate:
        allowed = game.max_evaluations
        small = game.players <= EXACT_LIMIT and (allowed is None or allowed >= 2**game.players)
        return (self.exact if small else self.sampled).run(game, rng, precision)
