"""Games whose answers are known, and the slowest way to find an answer. Used by test_games."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from znas.games import Value

Players = tuple[int, ...]


def table_game(table: NDArray[np.float64]) -> Value:
    """Every coalition's value as given: bit i of the position in `table` is player i."""
    bits = 2 ** np.arange(int(np.log2(len(table))))
    return lambda coalitions: table[coalitions @ bits]


def random_game(players: int, seed: int) -> Value:
    return table_game(np.random.default_rng(seed).normal(size=2**players))


def additive_game(worth: NDArray[np.float64]) -> Value:
    """v(S) = sum of worth over S: everyone's Shapley value is their worth, all interactions are 0."""
    return lambda coalitions: coalitions @ worth


def glove_game(left: int, right: int) -> Value:
    """v(S) = number of pairs that S can make; the first `left` players hold a left glove each."""
    return lambda coalitions: np.minimum(
        coalitions[:, :left].sum(1), coalitions[:, left : left + right].sum(1)
    ).astype(np.float64)


def max_game(worth: NDArray[np.float64]) -> Value:
    """v(S) = largest worth in S, 0 of nobody: the airport game (Littlechild and Owen 1973)."""
    return lambda coalitions: (coalitions * worth).max(1)


def majority_game(players: int) -> Value:
    return lambda coalitions: (coalitions.sum(1) > players / 2).astype(np.float64)


@dataclass(frozen=True)
class DividendGame:
    """v(S) = sum of the dividends of all groups within S (Harsanyi 1963): closed forms at any size."""

    players: int
    dividends: Mapping[Players, float]

    def __call__(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        total = np.zeros(len(coalitions))
        for group, dividend in self.dividends.items():
            total += dividend * coalitions[:, list(group)].all(1)
        return total

    @property
    def shapley(self) -> NDArray[np.float64]:
        values = np.zeros(self.players)
        for group, dividend in self.dividends.items():
            if group:
                values[list(group)] += dividend / len(group)
        return values

    @property
    def interactions(self) -> NDArray[np.float64]:
        values = np.zeros((self.players, self.players))
        for group, dividend in self.dividends.items():
            for i, j in permutations(group, 2):
                values[i, j] += dividend / (len(group) - 1)
        return values

    @property
    def marginal_range(self) -> float:
        """Every marginal contribution is within plus or minus half of this."""
        return 2 * max(
            sum(abs(dividend) for group, dividend in self.dividends.items() if i in group)
            for i in range(self.players)
        )


def dividend_game(players: int, rng: np.random.Generator, *, groups: int) -> DividendGame:
    """Everyone's own worth, and random groups of two to four who are worth something together."""
    dividends: dict[Players, float] = {(i,): rng.normal() for i in range(players)}
    for _ in range(groups):
        group = rng.choice(players, size=int(rng.integers(2, 5)), replace=False)
        dividends[tuple(sorted(group.tolist()))] = rng.normal()
    return DividendGame(players, dividends)


@dataclass
class Recorder:
    """Keeps what a value function was asked."""

    value: Value
    calls: list[NDArray[np.bool_]] = field(default_factory=list)

    def __call__(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        self.calls.append(coalitions.copy())
        return self.value(coalitions)


def brute_shapley(value: Value, players: int, present: Players = ()) -> NDArray[np.float64]:
    """The mean marginal contribution over all orders; `present` players are always there, and get 0."""
    others = [i for i in range(players) if i not in present]
    total = np.zeros(players)
    orders = list(permutations(others))
    for order in orders:
        coalition = np.zeros((1, players), dtype=np.bool_)
        coalition[0, list(present)] = True
        before = value(coalition)[0]
        for i in order:
            coalition[0, i] = True
            after = value(coalition)[0]
            total[i] += after - before
            before = after
    return total / len(orders)


def brute_interactions(value: Value, players: int) -> NDArray[np.float64]:
    """What j's presence adds to the Shapley value of i (Grabisch & Roubens's recursion)."""
    values = np.zeros((players, players))
    for j in range(players):

        def without_j(coalitions: NDArray[np.bool_], j: int = j) -> NDArray[np.float64]:
            kept = coalitions.copy()
            kept[:, j] = False
            return value(kept)

        # j is a null player of `without_j`: to leave it in changes nobody else's value
        values[:, j] = brute_shapley(value, players, (j,)) - brute_shapley(without_j, players)
    return values
