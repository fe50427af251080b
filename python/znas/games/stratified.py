"""Shapley values from coalitions drawn size by size."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from znas.games.base import Estimate, Game
from znas.games.exact import Exact
from znas.games.moments import Moments
from znas.games.sampling import MeanSampler


class Stratified(MeanSampler):
    """One stratum per player and coalition size (Maleki et al. 2013, Castro et al. 2017).

    for each player i, for each size s = 0 ... n - 1:
        mean[i, s], variance[i, s] of v(S + i) - v(S) over m random S of s players, i not among them
    value[i] = mean over s of mean[i, s]
    standard error[i] = sqrt(sum over s of variance[i, s] / m) / n

    The spread between sizes, which is most of it in many games, is no error here. Sizes 0, 1, n - 2 and
    n - 1 have at most n - 1 sets each: these are listed, not drawn, and contribute no error either; with
    four players or fewer that is the whole game, and the answer exact. Degrees of freedom are Welch and
    Satterthwaite's. The values add up to v(all) - v(nobody) in expectation only.

    samples_per_round: S per stratum. Where all m of a stratum agree by chance its error comes out as 0. If
        one set in 1 / q differs from the others, that happens with probability (1 - q)^m: seldom for counts
        and m of 20, often in games like v(S) = max over S, where few sets let a weak player count. No number
        is safe for every game.

    A sample (one S in every stratum) costs at most 2 n (n - 4) evaluations, and the listed sizes n^2 + n + 2
    once: per evaluation it pays where sizes differ much and players of one size little.
    """

    name = "stratified sampling"

    def __init__(self, *, samples_per_round: int = 4, max_rounds: int = 1000) -> None:
        super().__init__(samples_per_round=samples_per_round, max_rounds=max_rounds)

    def two_samples(self, players: int) -> int:
        return players**2 + players + 2 + 2 * 2 * players * max(players - 4, 0)

    def shape(self, players: int) -> tuple[int, ...]:
        return (players, players)

    def sample(self, game: Game, rng: np.random.Generator, precision: float | None) -> Estimate:
        if _listed(game.players).all():
            return Exact().run(game, rng, precision)
        return super().sample(game, rng, precision)

    def draw(self, game: Game, rng: np.random.Generator) -> NDArray[np.float64]:
        """float64 [m, player, size]; the listed sizes are the same in every sample."""
        n = game.players
        sizes = np.arange(n)
        drawn_sizes = sizes[~_listed(n)]
        lists = {int(size): _every_subset(n, int(size)) for size in sizes[_listed(n)]}
        drawn = _random_subsets(n, drawn_sizes, self.samples_per_round, rng)

        listed = np.concatenate([_with_and_without(subsets) for subsets in lists.values()], axis=1)
        first = np.concatenate([listed.reshape(-1, n), _with_and_without(drawn[0]).reshape(-1, n)])
        drawn = drawn[: game.affordable([first, *map(_with_and_without, drawn[1:])])]
        if not len(drawn):
            return np.empty((0, n, n))
        game(np.concatenate([first, *(_with_and_without(d).reshape(-1, n) for d in drawn[1:])]))

        samples = np.empty((len(drawn), n, n))
        for size, subsets in lists.items():
            samples[:, :, size] = _marginals(game, subsets).mean(1)
        samples[:, :, drawn_sizes] = np.stack([_marginals(game, subsets) for subsets in drawn])
        return samples

    def summary(
        self, moments: Moments
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        drawn = ~_listed(len(moments.mean))
        errors = moments.standard_error[:, drawn] ** 2  # a listed stratum has none
        total = errors.sum(1)
        squares = (errors**2 / moments.degrees_of_freedom[:, drawn]).sum(1)
        varied = squares > 0
        freedom = np.where(varied, total**2 / np.where(varied, squares, 1), np.inf)
        return moments.mean.mean(1), np.sqrt(total) / len(total), freedom


def _listed(players: int) -> NDArray[np.bool_]:
    """bool [n], by size of S: its sets are few enough to take them all."""
    sizes = np.arange(players)
    few: NDArray[np.bool_] = (sizes <= 1) | (sizes >= players - 2)
    return few


def _every_subset(players: int, size: int) -> NDArray[np.bool_]:
    """bool [n, sets, n]: for each player, all sets of `size` others."""
    eye = np.eye(players, dtype=np.bool_)
    return np.array(
        [
            [eye[list(members)].any(0) for members in combinations(others, size)]
            for others in ([j for j in range(players) if j != i] for i in range(players))
        ]
    )


def _random_subsets(
    players: int, sizes: NDArray[np.int64], samples: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """bool [samples, n, sizes, n]: for each player and size, a uniform set of that many others."""
    keys = rng.random((samples, players, len(sizes), players))
    keys += 2 * np.eye(players)[:, None, :]  # a player comes last in its own line
    subsets: NDArray[np.bool_] = keys.argsort(-1).argsort(-1) < sizes[:, None]
    return subsets


def _with_and_without(subsets: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [n, sets, n] -> bool [n, 2 sets, n]: each S, and each S + i"""
    return np.concatenate([subsets, _joined(subsets)], axis=1)


def _joined(subsets: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return subsets | np.eye(len(subsets), dtype=np.bool_)[:, None, :]


def _marginals(game: Game, subsets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """bool [n, sets, n] -> float64 [n, sets]"""
    return game(_joined(subsets)) - game(subsets)
