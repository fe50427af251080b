"""Shapley values from every coalition: for games of at most 8 players."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from znas.games.base import Estimate, Estimator, Game, exactly
from znas_engine.errors import InvalidValueError

EXACT_LIMIT = 8
"""Players: 256 coalitions, one batch. Every player more doubles it."""


class Exact(Estimator):
    """The definition (Shapley 1953), 2^n coalitions in one batch, no sampling.

    for each player i:
        value[i] = sum over S without i:  |S|! (n - |S| - 1)! / n!  *  (v(S + i) - v(S))

    Refuses more than 8 players; `precision` is always met.
    """

    def run(self, game: Game, rng: np.random.Generator, precision: float | None) -> Estimate:
        cube = value_cube(game, "Shapley values", "permutation, stratified or bandit")
        values = [
            float((weights(game.players, 1) * np.diff(cube, axis=i).squeeze(i)).sum())
            for i in range(game.players)
        ]
        return exactly(game, np.array(values))


def value_cube(game: Game, what: str, instead: str) -> NDArray[np.float64]:
    """Every coalition's value, float64 [2] * n: index 1 along axis i where player i is in."""
    n = game.players
    if n > EXACT_LIMIT:
        raise InvalidValueError(
            f"exact {what} take at most {EXACT_LIMIT} players but the game has {n}: use {instead}"
        )
    game.require(2**n, f"exact {what}")
    return game(np.moveaxis(np.indices((2,) * n), 0, -1).astype(np.bool_))


def weights(players: int, order: int) -> NDArray[np.float64]:
    """float64 [2] * (n - order): the weight of each S among the players other than `order` given ones.

    The chance that these, tied together, join a random order of all right after S:
    1 / (n - order + 1) for the size of S, shared by all sets of that size.
    """
    others = players - order
    by_size = np.array([1 / ((others + 1) * comb(others, size)) for size in range(others + 1)])
    each: NDArray[np.float64] = by_size[np.indices((2,) * others).sum(0)]
    return each
