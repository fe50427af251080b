"""Worlds in which the true score of every mask is known, for what observes them with noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from znas.interventions.base import Floats
from znas.interventions.gaussian import GaussianIntervention
from znas.interventions.knowledge import Neutral
from znas.interventions.query import Query
from znas.interventions.scorer import IntervenedScorer
from znas_engine.spaces import SearchSpace


@dataclass(slots=True)
class World:
    """V(mask) = sum_e mask[e] . single[e] + sum_{e<f} mask[e] . pairs[e, f] . mask[f]

    single: Gaussian with deviation 1 around `level` / E, [E, O]. interacting: mean and deviation of `pairs`,
    [E O, E O], above the diagonal of edges.
    noise: the deviation of what an environment adds to every mask, independent between masks.
    """

    space: SearchSpace[Any]
    seed: int
    environments: int = 1
    noise: float = 0.0
    interacting: tuple[float, float] = (0.0, 0.0)
    level: float = 100.0
    single: Floats = field(init=False)
    pairs: Floats = field(init=False)
    _seen: dict[bytes, Floats] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        edges, operations = self.space.shape
        self.single = rng.normal(self.level / edges, 1, (edges, operations))
        blocks = np.triu(np.ones((edges, edges)), 1).repeat(operations, 0).repeat(operations, 1)
        self.pairs = rng.normal(*self.interacting, blocks.shape) * blocks

    def true(self, mask: Any) -> float:
        """Without an environment's noise."""
        flat = mask.ravel()
        return float(flat @ self.single.ravel() + flat @ self.pairs @ flat)

    def of(self, selected: Any) -> float:
        """Of an architecture, int [E]."""
        return self.true(np.eye(self.space.shape[1])[selected])

    def __call__(self, queries: Sequence[Query]) -> Floats:
        """float64 [K, G]"""
        for query in queries:
            key = query.mask.tobytes()
            if key not in self._seen:
                rng = np.random.default_rng([self.seed, *key])
                self._seen[key] = self.true(query.mask) + self.noise * rng.normal(size=self.environments)
        return np.stack([self._seen[query.mask.tobytes()] for query in queries], axis=1)

    def scorer(self, p: Any, seed: int = 0, **changes: Any) -> IntervenedScorer:
        """What asks it."""
        return IntervenedScorer(
            **{
                "observe": self,
                "rows": self.environments,
                "edges": len(self.space.edges),
                "p": p,
                "knowledge": Neutral(),
                "intervention": GaussianIntervention(),
                "rng_replaced": np.random.default_rng([seed, 1]),
                "rng_draws": np.random.default_rng([seed, 2]),
            }
            | changes
        )
