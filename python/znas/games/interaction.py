"""Pairwise Shapley interactions: what two players are worth to each other.

A skip connection that is worth having only beside a convolution has a small Shapley value and a large
interaction with that convolution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from znas.games.base import Estimate, Estimator, Game, exactly
from znas.games.exact import value_cube, weights
from znas.games.sampling import MeanSampler


class ExactInteractions(Estimator):
    """The pairwise Shapley interaction index (Grabisch & Roubens 1999), 2^n coalitions in one batch.

    for each pair i, j:
        value[i, j] = sum over S without i and j:  |S|! (n - |S| - 2)! / (n - 1)!
                      * (v(S + i + j) - v(S + i) - v(S + j) + v(S))

    Above 0 the two help each other, below 0 one replaces the other. Refuses more than 8 players.
    """

    least_players = 2

    def run(self, game: Game, rng: np.random.Generator, precision: float | None) -> Estimate:
        n = game.players
        cube = value_cube(game, "Shapley interactions", "permutation")
        values = np.zeros((n, n))
        for i, j in zip(*np.triu_indices(n, 1), strict=True):
            together = np.diff(np.diff(cube, axis=i), axis=j).squeeze((i, j))
            values[i, j] = values[j, i] = (weights(n, 2) * together).sum()
        return exactly(game, values)


class SampledInteractions(MeanSampler):
    """The same index from random orders in which the two players are neighbours.

    for each sample:
        label the players at random, and take the n zigzag orders 0, 1, n-1, 2, n-2, ... (each shifted by
        0 ... n - 1): every pair is adjacent in exactly two of them
        for each adjacent pair i, j, with S the players before it:
            sample[i, j] += (v(S + i + j) - v(S + i) - v(S + j) + v(S)) / 2
    value[i, j] = mean of the samples, m - 1 degrees of freedom

    Every sample has all pairs, each with one random S and with the rest of the players as another (an
    antithetic pair). It costs at most 2 n (n - 1) evaluations, half of what its differences would one by one.
    """

    name = "interaction sampling"
    least_players = 2

    def __init__(self, *, samples_per_round: int = 4, max_rounds: int = 1000) -> None:
        super().__init__(samples_per_round=samples_per_round, max_rounds=max_rounds)

    def two_samples(self, players: int) -> int:
        return 2 + 2 * 2 * players * (players - 1)

    def shape(self, players: int) -> tuple[int, ...]:
        return (players, players)

    def draw(self, game: Game, rng: np.random.Generator) -> NDArray[np.float64]:
        n = game.players
        labels = rng.permuted(np.tile(np.arange(n), (self.samples_per_round, 1)), axis=1)
        orders = labels[:, zigzags(n)]
        first, second = orders[..., :-1], orders[..., 1:]
        joined = np.arange(n + 1)[:, None]
        prefixes = orders.argsort(-1)[..., None, :] < joined
        alone = prefixes[..., :-2, :] | np.eye(n, dtype=np.bool_)[second]  # S + j
        coalitions = np.concatenate([prefixes, alone], axis=-2)

        affordable = game.affordable(coalitions)
        values = game(coalitions[:affordable])
        along, aside = values[..., : n + 1], values[..., n + 1 :]
        together = (along[..., 2:] - along[..., 1:-1]) - (aside - along[..., :-2])  # 0 for a null player
        samples = np.zeros((affordable, n, n))
        which = np.arange(affordable)[:, None, None]
        np.add.at(samples, (which, first[:affordable], second[:affordable]), together / 2)
        return samples + samples.transpose(0, 2, 1)


def zigzags(players: int) -> NDArray[np.int64]:
    """int64 [n, n]: orders of which exactly two have i and j as neighbours, for every pair (Walecki)."""
    steps = np.arange(players)
    zigzag = np.where(steps % 2, (steps + 1) // 2, -(steps // 2))
    return (zigzag + steps[:, None]) % players
