"""Random orders in which the players join, and what each adds on joining."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from znas.games.base import Game


@dataclass(frozen=True, eq=False)
class Walks:
    """m samples of one order each, or of an order and its reverse."""

    orders: NDArray[np.int64]
    """int64 [m, 1 or 2, n]: who joins first, second, ..."""
    wanted: NDArray[np.bool_]
    """bool [n]: the players whose marginal contributions are asked for."""

    @classmethod
    def draw(
        cls, rng: np.random.Generator, samples: int, wanted: NDArray[np.bool_], *, antithetic: bool
    ) -> Walks:
        """Uniform orders of all players; `antithetic` adds the reverse of each to its sample."""
        forward = rng.permuted(np.tile(np.arange(len(wanted)), (samples, 1, 1)), axis=-1)
        orders = np.concatenate([forward, forward[..., ::-1]], axis=1) if antithetic else forward
        return cls(orders, wanted)

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """int64 [m, w, n]: the position of each player."""
        return self.orders.argsort(axis=-1)

    @cached_property
    def prefixes(self) -> NDArray[np.bool_]:
        """bool [m, w, n + 1, n]: the coalition after 0, 1, ..., n players have joined."""
        joined = np.arange(len(self.wanted) + 1)[:, None]
        after: NDArray[np.bool_] = self.ranks[..., None, :] < joined
        return after

    @cached_property
    def needed(self) -> NDArray[np.bool_]:
        """bool [m, w, n + 1]: the prefixes around wanted players, and always the first and the last."""
        wanted = self.wanted[self.orders]
        needed = np.ones(self.prefixes.shape[:-1], dtype=np.bool_)
        needed[..., 1:-1] = wanted[..., :-1] | wanted[..., 1:]
        return needed

    def affordable(self, game: Game) -> Walks:
        """The leading samples that the budget allows, were none of them truncated."""
        count = game.affordable(
            prefixes[needed] for prefixes, needed in zip(self.prefixes, self.needed, strict=True)
        )
        return Walks(self.orders[:count], self.wanted)

    def marginals(self, game: Game, *, truncation: float = 0.0) -> NDArray[np.float64]:
        """float64 [m, w, n]: what each player adds to those before it; NaN for some that are not wanted.

            for each order, for each player i in it:
                marginal[i] = v(those before i, and i) - v(those before i)

        One call of the game. With a truncation above 0 a walk ends once |v(all) - v(prefix)| < truncation,
        and the players that have not joined by then are given 0 (Ghorbani & Zou 2019). All walks go in
        lockstep, one call per position. The empty prefix ends no walk: a game whose whole is worth
        nothing still has players worth something.
        """
        if not len(self.orders):
            return np.empty(self.orders.shape)
        values = np.full(self.needed.shape, np.nan)
        if truncation == 0:
            values[self.needed] = game(self.prefixes[self.needed])
        else:
            self._lockstep(game, values, truncation)
        return np.take_along_axis(np.diff(values, axis=-1), self.ranks, axis=-1)

    def _lockstep(self, game: Game, values: NDArray[np.float64], truncation: float) -> None:
        nobody, everybody = game(self.prefixes[0, 0, [0, -1]])
        values[..., 0] = nobody
        settled = np.full(values.shape[:-1], np.nan)  # the value at which a walk ended
        for position in range(1, values.shape[-1] - 1):
            ask = np.isnan(settled) & self.needed[..., position]
            now = settled.copy()
            now[ask] = game(self.prefixes[ask, position])
            values[..., position] = now
            ended = ask & (np.abs(everybody - now) < truncation)
            settled[ended] = now[ended]
        values[..., -1] = np.where(np.isnan(settled), everybody, settled)
