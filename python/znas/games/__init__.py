"""Cooperative games (equation 11): who deserves how much of the score, and which pairs need each other.

    found = GAMES["auto"].estimate(value, 8, rng=np.random.default_rng(0), precision=0.01)
    found.values, found.standard_errors   # float64 [8] each
    found.evaluations, found.rounds       # distinct coalitions valued, in so many batches

`GAMES` and `INTERACTIONS` are the whole registries; an estimator with other options is its class, called
with them: `Permutation(truncation=0.01)`, `Bandit(top=3)`.
"""

from __future__ import annotations

from znas.games.auto import Auto
from znas.games.bandit import Bandit, TopEstimate
from znas.games.base import Estimate, Estimator, Game, Value
from znas.games.exact import EXACT_LIMIT, Exact
from znas.games.interaction import ExactInteractions, SampledInteractions
from znas.games.permutation import Permutation
from znas.games.stratified import Stratified
from znas_engine.arguments import choice

__all__ = [
    "EXACT_LIMIT",
    "GAMES",
    "INTERACTIONS",
    "Auto",
    "Bandit",
    "Estimate",
    "Estimator",
    "Exact",
    "ExactInteractions",
    "Game",
    "Permutation",
    "SampledInteractions",
    "Stratified",
    "TopEstimate",
    "Value",
    "get_game",
    "get_interactions",
]

GAMES: dict[str, Estimator] = {
    "exact": Exact(),
    "permutation": Permutation(),
    "stratified": Stratified(),
    "bandit": Bandit(),
    "auto": Auto(Exact(), Permutation()),
}
"""Shapley values."""

INTERACTIONS: dict[str, Estimator] = {
    "exact": ExactInteractions(),
    "permutation": SampledInteractions(),
    "auto": Auto(ExactInteractions(), SampledInteractions()),
}
"""Pairwise Shapley interactions."""


def get_game(name: str) -> Estimator:
    """The Shapley estimator of that name, or InvalidValueError naming the nearest."""
    return GAMES[choice("game estimator", name, GAMES)]


def get_interactions(name: str) -> Estimator:
    """The interaction estimator of that name, or InvalidValueError naming the nearest."""
    return INTERACTIONS[choice("interaction estimator", name, INTERACTIONS)]
