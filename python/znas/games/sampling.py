"""The loop that all sampling estimators share: whole rounds until precise enough, or out of budget."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from znas.games.base import Estimate, Estimator, Game
from znas.games.moments import Moments
from znas_engine.arguments import check_between
from znas_engine.errors import InvalidValueError


class Sampler(Estimator):
    """Rounds of independent samples.

    until every standard error <= precision, or the budget is spent:
        draw the coalitions of one round, as many of its samples as are affordable
        value them in one batch
        merge them into means and standard errors

    samples_per_round: 2 or more. More make larger batches, and standard errors that are safer at the
        first look; fewer stop closer to the precision.
    max_rounds: the last resort where neither precision nor budget ends the run (a small game whose every
        coalition is known costs nothing to sample further).
    """

    name: ClassVar[str]

    def __init__(self, *, samples_per_round: int, max_rounds: int = 1000) -> None:
        self.samples_per_round = check_between("samples_per_round", samples_per_round, 2, 10**6)
        self.max_rounds = check_between("max_rounds", max_rounds, 1, None)

    def run(self, game: Game, rng: np.random.Generator, precision: float | None) -> Estimate:
        if precision is None and game.max_evaluations is None:
            raise InvalidValueError("sampling needs an end: give `precision`, `max_evaluations` or both")
        game.require(self.two_samples(game.players), self.name)
        return self.sample(game, rng, precision)

    @abstractmethod
    def two_samples(self, players: int) -> int:
        """Evaluations that the first two samples need at most: below that there is no standard error."""

    @abstractmethod
    def sample(self, game: Game, rng: np.random.Generator, precision: float | None) -> Estimate:
        """`run` with its limits checked."""


class MeanSampler(Sampler):
    """Estimates that are means of independent, identically drawn samples of all values at once."""

    def sample(self, game: Game, rng: np.random.Generator, precision: float | None) -> Estimate:
        moments = Moments(self.shape(game.players))
        for _ in range(self.max_rounds):
            samples = self.draw(game, rng)
            moments.add(samples)
            summary = self.summary(moments)
            if len(samples) < self.samples_per_round or reached(summary[1], precision):
                break
        values, standard_errors, degrees_of_freedom = summary
        return Estimate(
            values=values,
            standard_errors=standard_errors,
            degrees_of_freedom=degrees_of_freedom,
            evaluations=game.evaluations,
            rounds=game.rounds,
            exact=False,
            converged=precision is None or reached(standard_errors, precision),
        )

    @abstractmethod
    def shape(self, players: int) -> tuple[int, ...]:
        """Of one sample."""

    @abstractmethod
    def draw(self, game: Game, rng: np.random.Generator) -> NDArray[np.float64]:
        """One round: float64 [m, *shape], m below `samples_per_round` where the budget ends."""

    def summary(
        self, moments: Moments
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """(values, standard errors, degrees of freedom), each shaped like `Estimate.values`."""
        return moments.mean, moments.standard_error, moments.degrees_of_freedom


def reached(standard_errors: NDArray[np.float64], precision: float | None) -> bool:
    return precision is not None and bool((standard_errors <= precision).all())
