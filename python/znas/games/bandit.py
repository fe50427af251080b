"""The best players of a game, without pinning down the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from znas.games.base import Estimate, Game
from znas.games.moments import Moments
from znas.games.permutation import tolerance
from znas.games.sampling import Sampler
from znas.games.walks import Walks
from znas_engine.arguments import check_between, fraction, positive
from znas_engine.errors import InvalidValueError


@dataclass(frozen=True, eq=False)
class TopEstimate(Estimate):
    """An estimate whose players were sampled unequally: `top` is its answer, `values` are by-products."""

    top: NDArray[np.bool_]
    """bool [n]: the best players, as far as is known."""
    decided: NDArray[np.bool_]
    """bool [n]: membership in the top is known at the confidence asked for."""


class Bandit(Sampler):
    """The truncated multi-armed bandit of Neuron Shapley (Ghorbani & Zou 2020).

    until every player is decided, or precise enough, or the budget is spent:
        sample marginal contributions of the undecided players along antithetic pairs of random orders
        low[i], high[i] = the intersection of all confidence intervals of i so far
        i is in the top k   if high[j] < low[i] for at least n - k players j
        i is not            if low[j] > high[i] for at least k players j

    (Ghorbani & Zou ask whether an interval contains the k-th largest estimate; to compare intervals with
    each other instead makes the answer right whenever all intervals are.) All intervals of all rounds hold
    at once with probability `confidence`: round r spends (1 - confidence) / (n r (r + 1)) on each player.

    Players that are undecided but whose standard error is at most `precision` are sampled no further: equal
    players can never be told apart. `converged` says that nobody is left to sample. Of decided players
    only the side is known, and `values` do not add up to v(all) - v(nobody).

    top: k, how many best players to find; 1 is the argmax that operation selection needs.
    confidence: between 0 and 1, that all decisions are right. Higher costs more.
    marginal_range: the width of an interval that holds every marginal contribution, if known (2 for an
        accuracy). With it the intervals are Maurer & Pontil's empirical Bernstein bounds (2009, theorem 4),
        valid for any number of samples and costly; without it they are Student t intervals, valid as the
        samples become many (16 pairs at the first look, by default).
    truncation: as for `Permutation`; the confidence is then about the truncated values.
    """

    name = "the bandit"

    def __init__(
        self,
        *,
        top: int = 1,
        confidence: float = 0.95,
        marginal_range: float | None = None,
        truncation: float = 0.0,
        samples_per_round: int = 16,
        max_rounds: int = 1000,
    ) -> None:
        super().__init__(samples_per_round=samples_per_round, max_rounds=max_rounds)
        self.top = check_between("top", top, 1, None)
        self.confidence = fraction("confidence", confidence)
        self.marginal_range = None if marginal_range is None else positive("marginal_range", marginal_range)
        self.truncation = tolerance(truncation)

    def two_samples(self, players: int) -> int:
        return 2 + 2 * 2 * (players - 1)

    def sample(self, game: Game, rng: np.random.Generator, precision: float | None) -> TopEstimate:
        n = game.players
        if self.top >= n:
            raise InvalidValueError(f"`top` must be below the number of players, {n}, but got {self.top}")
        moments = Moments((n,))
        low, high = np.full(n, -np.inf), np.full(n, np.inf)
        inside = outside = np.zeros(n, dtype=np.bool_)
        open_ = np.ones(n, dtype=np.bool_)
        for number in range(1, self.max_rounds + 1):
            walks = Walks.draw(rng, self.samples_per_round, open_, antithetic=True).affordable(game)
            moments.add(walks.marginals(game, truncation=self.truncation).mean(1), open_)
            radius = self._radius(moments, (1 - self.confidence) / (n * number * (number + 1)))
            low = np.where(open_, np.maximum(low, moments.mean - radius), low)
            high = np.where(open_, np.minimum(high, moments.mean + radius), high)
            inside = (high[None, :] < low[:, None]).sum(1) >= n - self.top
            outside = (low[None, :] > high[:, None]).sum(1) >= self.top
            open_ = ~(inside | outside)
            if precision is not None:
                open_ &= moments.standard_error > precision
            if not open_.any() or len(walks.orders) < self.samples_per_round:
                break
        best = np.lexsort((moments.mean, inside.astype(int) - outside))[-self.top :]
        return TopEstimate(
            values=moments.mean,
            standard_errors=moments.standard_error,
            degrees_of_freedom=moments.degrees_of_freedom,
            evaluations=game.evaluations,
            rounds=game.rounds,
            exact=False,
            converged=not open_.any(),
            top=np.isin(np.arange(n), best),
            decided=inside | outside,
        )

    def _radius(self, moments: Moments, failure: float) -> NDArray[np.float64]:
        """float64 [n]: |mean - value| is at most this, except with probability `failure` for each player."""
        if self.marginal_range is None:
            from scipy.special import stdtrit  # imported only for those who ask

            quantile: NDArray[np.float64] = -stdtrit(moments.count - 1.0, failure / 2)
            return quantile * moments.standard_error
        log = math.log(4 / failure)
        spread = math.sqrt(2 * log) * moments.standard_error
        radius: NDArray[np.float64] = spread + 7 * self.marginal_range * log / (3 * (moments.count - 1))
        return radius
