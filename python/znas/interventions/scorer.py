"""Answers queries by measuring or by drawing, and keeps the account of which it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from znas.interventions.base import Floats, Intervention
from znas.interventions.knowledge import Knowledge
from znas.interventions.probability import (
    AutoP,
    Probability,
    draw_replaced,
    latent_mean,
    p_per_edge,
    proposition_1,
)
from znas.interventions.query import Query

#: Neurons that p = auto measures before it decides, at least; a tenth of them if that is more.
PILOT = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """V of one query: float64 [K], one value per environment and score, measured or drawn."""

    values: Floats
    intervened: bool


@dataclass(slots=True)
class Account:
    """Distinct queries answered. Neurons include coalitions of a game; ensembles are dropped edges."""

    observed: int = 0
    intervened: int = 0
    ensembles_observed: int = 0
    ensembles_intervened: int = 0


@dataclass(slots=True)
class IntervenedScorer:
    """Equation 8 for any number of rounds.

        for each query that was not answered before:
            B ~ Bernoulli(p of its edge)
            V = draw from D(Z) if B else measured score

    A query is a mask; asked again it gets the same answer and costs nothing. What is measured in one call
    goes to the evaluator as one batch.

    observe: G queries -> scores float64 [K, G] of their masks. rows: K, environments times scores. edges: E.
    """

    observe: Callable[[Sequence[Query]], Floats]
    rows: int
    edges: int
    p: Probability
    knowledge: Knowledge
    intervention: Intervention
    rng_replaced: np.random.Generator
    rng_draws: np.random.Generator
    account: Account = field(default_factory=Account)
    auto: AutoP | None = None
    _answers: dict[bytes, Answer] = field(default_factory=dict)
    _measured: list[tuple[Query, Floats]] = field(default_factory=list)

    def __call__(self, queries: Sequence[Query]) -> list[Answer]:
        """V of every query, in order."""
        new = list({q.mask.tobytes(): q for q in queries if q.mask.tobytes() not in self._answers}.values())
        if new and self.p == "auto":
            new = self._settle_p(new)
        if new:
            replaced = draw_replaced(self._p_of(new), self.rng_replaced)
            self._measure([q for q, b in zip(new, replaced, strict=True) if not b])
            self._draw([q for q, b in zip(new, replaced, strict=True) if b])
        return [self._answers[q.mask.tobytes()] for q in queries]

    @property
    def measured(self) -> Floats:
        """All scores measured so far, float64 [K, m]."""
        columns = [values for _, values in self._measured]
        return np.stack(columns, axis=1) if columns else np.empty((self.rows, 0))

    @property
    def settled_p(self) -> float | tuple[float, ...]:
        """p in use; with "auto" that is known from the first round on."""
        if isinstance(self.p, str):
            raise AssertionError("p = auto was not settled")
        return self.p

    def _p_of(self, queries: Sequence[Query]) -> NDArray[np.float64]:
        per_edge = p_per_edge(self.settled_p, self.edges)
        return np.array([per_edge[list(q.edges)].mean() if q.edges else per_edge.mean() for q in queries])

    def _settle_p(self, queries: list[Query]) -> list[Query]:
        """Measures a pilot, settles p by Proposition 1, and returns the queries that are left."""
        size = min(len(queries), max(PILOT, len(queries) // 10))
        chosen = set(self.rng_replaced.choice(len(queries), size, replace=False).tolist())
        pilot = [q for i, q in enumerate(queries) if i in chosen]
        self._measure(pilot)
        observed = self.measured.mean(0)
        belief = self.knowledge.belief(pilot, np.empty((1, 0)))
        mu_do = float(belief.mean.mean())
        variance_do = float(belief.variance.mean() + belief.mean.var())
        self.auto = proposition_1(
            mu_z=latent_mean(observed, mu_do, variance_do),
            mu_observed=float(observed.mean()),
            mu_do=mu_do,
            pilot=size,
        )
        self.p = self.auto.p
        return [q for i, q in enumerate(queries) if i not in chosen]

    def _measure(self, queries: list[Query]) -> None:
        if not queries:
            return
        values = self.observe(queries)
        for query, column in zip(queries, values.T, strict=True):
            self._measured.append((query, column))
            self._record(query, column, intervened=False)

    def _draw(self, queries: list[Query]) -> None:
        if not queries:
            return
        belief = self.knowledge.belief(queries, self.measured)
        evidence = [[self._evidence(k, q) for q in queries] for k in range(self.rows)]
        values = self.intervention.draw(belief, evidence, self.rng_draws)
        for query, column in zip(queries, values.T, strict=True):
            self._record(query, column, intervened=True)

    def _evidence(self, row: int, query: Query) -> Floats:
        """What this environment and score measured for the same operations on other edges."""
        same = [v[row] for q, v in self._measured if q.operations == query.operations]
        return np.array(same, dtype=np.float64)

    def _record(self, query: Query, values: Floats, *, intervened: bool) -> None:
        self._answers[query.mask.tobytes()] = Answer(values, intervened)
        kind = "" if query.neurons else "ensembles_"
        what = f"{kind}{'intervened' if intervened else 'observed'}"
        setattr(self.account, what, getattr(self.account, what) + 1)
