"""A cooperative game that is paid for by the coalition, and what an estimator answers.

The players are the operations of one edge, or the edges; the value is the intervened score of the
coalition's mask (equation 11). One call of `Value` becomes one batch of masked forward passes, so that
the number of distinct coalitions is the cost, and the number of calls the number of batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import check_between, fraction, function, generator, positive
from znas_engine.errors import InvalidValueError, NonFiniteScoreError, briefly

Value: TypeAlias = Callable[[NDArray[np.bool_]], NDArray[np.float64]]
"""coalitions bool [B, n] -> their values float64 [B]; the same coalition must always have the same value."""

#: Of a game: beyond that a single round of coalitions does not fit into memory.
MOST_PLAYERS = 1024


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a game says about its n players."""

    values: NDArray[np.float64]
    """float64 [n], Shapley values; float64 [n, n], symmetric with a zero diagonal, for interactions."""
    standard_errors: NDArray[np.float64]
    """Like `values`: of the sampling of coalitions, not of the scores; 0 where exact."""
    degrees_of_freedom: NDArray[np.float64]
    """Like `values`: of each standard error; infinite where exact."""
    evaluations: int
    """Distinct coalitions that were valued: the cost."""
    rounds: int
    """Batches in which they were valued."""
    exact: bool
    """Nothing was sampled."""
    converged: bool
    """False only where a precision was asked for and the budget ended first."""

    def interval(self, confidence: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(low, high), each like `values`: the two-sided Student t interval of every value on its own.

        Its coverage is nominal for a fixed number of samples. A run that stops at a `precision` stops
        sooner where its standard errors came out small by chance, and covers slightly less.
        """
        from scipy.special import stdtrit  # imported only for those who ask

        confidence = fraction("confidence", confidence)
        radius = -stdtrit(self.degrees_of_freedom, (1 - confidence) / 2) * self.standard_errors
        return self.values - radius, self.values + radius


class Game:
    """A value function that is never asked twice for the same coalition.

    values = game(coalitions)   # bool [..., n] -> float64 [...]

        new = the distinct coalitions that were never valued before
        if new: remember value(new)     # ONE call, in order of first appearance
        return what is remembered

    A `Game` is itself a `Value`: hand one to several estimators and they share what was valued.
    """

    def __init__(self, value: Value, players: int, *, max_evaluations: int | None = None) -> None:
        self.players = check_between("players", players, 1, MOST_PLAYERS)
        self.max_evaluations = (
            None if max_evaluations is None else check_between("max_evaluations", max_evaluations, 1, None)
        )
        self.rounds = 0
        self._value: Value = function("value", value)
        self._known: dict[bytes, float] = {}

    @property
    def evaluations(self) -> int:
        """Distinct coalitions valued so far."""
        return len(self._known)

    def __call__(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        """bool [..., n] -> float64 [...]. Raises NonFiniteScoreError naming the coalition."""
        keys = self._keys(coalitions)
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        if new:
            self._known |= zip(new, self._ask(new), strict=True)
            self.rounds += 1
        values = np.fromiter((self._known[key] for key in keys), np.float64, count=len(keys))
        return values.reshape(coalitions.shape[:-1])

    def affordable(self, groups: Iterable[NDArray[np.bool_]]) -> int:
        """How many leading groups, each bool [..., n], can be valued within `max_evaluations`.

        The answer depends on who is in the coalitions, never on their values, and treats all players
        alike: samples that are dropped because they are not affordable do not bias those that remain.
        """
        count, new = 0, set[bytes]()
        for group in groups:
            new.update(key for key in self._keys(group) if key not in self._known)
            if self.max_evaluations is not None and self.evaluations + len(new) > self.max_evaluations:
                break
            count += 1
        return count

    def require(self, evaluations: int, what: str) -> None:
        """InvalidValueError unless the budget allows so many evaluations (or the whole game)."""
        least = min(evaluations, 2**self.players)
        if self.max_evaluations is not None and self.max_evaluations < least:
            raise InvalidValueError(
                f"`max_evaluations` must be at least {least:,} for {what} of {self.players} players "
                f"but got {self.max_evaluations:,}"
            )

    def _keys(self, coalitions: NDArray[np.bool_]) -> list[bytes]:
        if not isinstance(coalitions, np.ndarray):
            raise InvalidValueError(
                f"`coalitions` must be bool [..., {self.players}] but got {briefly(coalitions)}"
            )
        if coalitions.dtype != np.bool_ or coalitions.ndim < 1 or coalitions.shape[-1] != self.players:
            raise InvalidValueError(
                f"`coalitions` must be bool [..., {self.players}] "
                f"but got {coalitions.dtype} {list(coalitions.shape)}"
            )
        return [row.tobytes() for row in np.packbits(coalitions.reshape(-1, self.players), axis=1)]

    def _ask(self, keys: list[bytes]) -> list[float]:
        packed = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1)
        coalitions = np.unpackbits(packed, axis=1, count=self.players).astype(np.bool_)
        returned: Any = self._value(coalitions.copy())
        try:
            values = np.asarray(returned, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidValueError(
                f"`value` must return float64 [{len(keys)}] for {len(keys)} coalitions "
                f"but got {briefly(returned)}"
            ) from error
        if values.shape != (len(keys),):
            raise InvalidValueError(
                f"`value` must return float64 [{len(keys)}] for {len(keys)} coalitions "
                f"but got {list(values.shape)}"
            )
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            members = ", ".join(map(str, np.flatnonzero(coalitions[bad])))
            raise NonFiniteScoreError(
                f"the value of coalition {{{members}}} of {self.players} players is {values[bad]}"
            )
        numbers: list[float] = values.tolist()
        return numbers


class Estimator(ABC):
    """One way to get at the Shapley values (or interactions) of a game."""

    least_players = 1

    def estimate(
        self,
        value: Value,
        players: int,
        *,
        rng: np.random.Generator,
        precision: float | None = None,
        max_evaluations: int | None = None,
    ) -> Estimate:
        """The values of all players, to a precision or within a budget.

        value: coalitions bool [B, n] -> float64 [B], once per round and never for a known coalition. The
            empty coalition is asked for too (drop(e)), and need not be worth 0.
        players: n, 1 or more (interactions: 2 or more).
        rng: draws the coalitions; the same state gives the same estimate.
        precision: stop once every standard error is at most this; in units of the value.
        max_evaluations: value at most this many distinct coalitions.

        Sampling estimators need `precision`, `max_evaluations` or both.
        Raises InvalidValueError, and NonFiniteScoreError with the coalition whose value is NaN or infinite.
        """
        game = Game(value, players, max_evaluations=max_evaluations)
        if game.players < self.least_players:
            raise InvalidValueError(
                f"`players` must be {self.least_players} or more for interactions but got {game.players}"
            )
        generator("rng", rng)
        return self.run(game, rng, None if precision is None else positive("precision", precision))

    @abstractmethod
    def run(self, game: Game, rng: np.random.Generator, precision: float | None) -> Estimate:
        """`estimate` with its arguments checked."""


def exactly(game: Game, values: NDArray[np.float64]) -> Estimate:
    """The estimate of a game of which every coalition was valued."""
    return Estimate(
        values=values,
        standard_errors=np.zeros(values.shape),
        degrees_of_freedom=np.full(values.shape, np.inf),
        evaluations=game.evaluations,
        rounds=game.rounds,
        exact=True,
        converged=True,
    )
