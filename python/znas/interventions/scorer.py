"""Answers queries by measuring or by drawing, and keeps the account of which it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from znas.interventions.base import Floats, Intervention
from znas.interventions.knowledge import Knowledge, Observed, interaction
from znas.interventions.probability import (
    AutoP,
    Probability,
    draw_replaced,
    latent_factor,
    p_per_edge,
    proposition_1,
)
from znas.interventions.query import Kind, Query

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
    goes to the evaluator as one batch. D(Z) is that of its kind of query.

    A pair is the sum of its parts and an interaction. One that is replaced is believed to interact like the
    average pair and says nothing for or against its neurons. Beside a drawn neuron a measured pair would undo
    the draw, so the pairs of a replaced neuron are replaced with it. A mask without any intervention is no
    neuron, and replaced at p = 1 alone.

    With p = auto a pilot is measured first; its neurons are then replaced like all others.

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
    _measured: dict[bytes, tuple[Query, Floats]] = field(default_factory=dict)

    def __call__(self, queries: Sequence[Query]) -> list[Answer]:
        """V of every query, in order."""
        self._answer([part for query in queries for part in query.parts])
        self._answer(queries)
        return [self._answers[q.mask.tobytes()] for q in queries]

    @property
    def settled_p(self) -> float | tuple[float, ...]:
        """p in use; with "auto" that is known from the first round on."""
        if isinstance(self.p, str):
            raise AssertionError("p = auto was not settled")
        return self.p

    def _answer(self, queries: Sequence[Query]) -> None:
        new = list({q.mask.tobytes(): q for q in queries if q.mask.tobytes() not in self._answers}.values())
        if not new:
            return
        if self.p == "auto":
            self._settle_p(new)
        replaced = draw_replaced(self._p_of(new), self.rng_replaced)
        replaced |= [any(self._answers[part.mask.tobytes()].intervened for part in q.parts) for q in new]
        kept = [q for q, b in zip(new, replaced, strict=True) if not b]
        self._measure(kept)
        for query in kept:
            self._record(query, self._measured[query.mask.tobytes()][1], intervened=False)
        kinds: dict[Kind, list[Query]] = {}
        for query, b in zip(new, replaced, strict=True):
            if b:
                kinds.setdefault(query.kind, []).append(query)
        for alike in kinds.values():
            self._draw(alike)

    def _p_of(self, queries: Sequence[Query]) -> NDArray[np.float64]:
        per_edge = p_per_edge(self.settled_p, self.edges)
        always = float(per_edge.min() == 1)
        return np.array([per_edge[list(q.edges)].mean() if q.edges else always for q in queries])

    def _settle_p(self, queries: list[Query]) -> None:
        """Measures a pilot and settles p by Proposition 1, of the D(Z) that draws are made from."""
        size = min(len(queries), max(PILOT, len(queries) // 10))
        chosen = self.rng_replaced.choice(len(queries), size, replace=False)
        pilot = [queries[i] for i in sorted(chosen.tolist())]
        self._measure(pilot)
        seen = self._seen()
        belief = self.knowledge.belief(pilot, seen)
        latent = latent_factor(seen.values, float(belief.mean.mean()), float(belief.variance.mean()))
        self.auto = proposition_1(latent, pilot=size)
        self.p = self.auto.p

    def _measure(self, queries: list[Query]) -> None:
        new = [q for q in queries if q.mask.tobytes() not in self._measured]
        if new:
            values = self.observe(new)
            self._measured |= {q.mask.tobytes(): (q, column) for q, column in zip(new, values.T, strict=True)}

    def _seen(self) -> Observed:
        """All that was measured so far; of pairs what they are worth beyond their parts."""
        found = list(self._measured.values())
        columns = [values - self._parts(query) for query, values in found]
        values = np.stack(columns, axis=1) if columns else np.empty((self.rows, 0))
        return Observed([query for query, _ in found], values)

    def _parts(self, query: Query) -> Floats:
        """V of a pair if its neurons do not interact, V(i) + V(j) - V(base); 0 of what is no pair. [K]"""
        if not query.parts:
            return np.zeros(self.rows)
        one, other, base = (self._answers[part.mask.tobytes()].values for part in query.parts)
        total: Floats = one + other - base
        return total

    def _draw(self, queries: list[Query]) -> None:
        """queries: of one kind."""
        seen = self._seen()
        same = seen.of(queries[0].kind)
        if queries[0].parts:
            values = np.stack([self._parts(query) + interaction(same) for query in queries], axis=1)
        else:
            belief = self.knowledge.belief(queries, seen)
            values = self.intervention.draw(belief, _evidence(queries, same), self.rng_draws)
        for query, column in zip(queries, values.T, strict=True):
            self._record(query, column, intervened=True)

    def _record(self, query: Query, values: Floats, *, intervened: bool) -> None:
        self._answers[query.mask.tobytes()] = Answer(values, intervened)
        kind = "" if query.neurons else "ensembles_"
        what = f"{kind}{'intervened' if intervened else 'observed'}"
        setattr(self.account, what, getattr(self.account, what) + 1)


def _evidence(queries: Sequence[Query], observed: Observed) -> list[list[Floats]]:
    """Per environment and query, what was measured for the same operations on other edges."""
    same: dict[tuple[int, ...], list[int]] = {}
    for i, query in enumerate(observed.queries):
        same.setdefault(query.operations, []).append(i)
    return [[row[same.get(query.operations, [])] for query in queries] for row in observed.values]
