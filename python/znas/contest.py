"""The contest of a shortlist: what is measured of whole architectures, and who wins (see
`znas.selection.shortlist`)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from znas.costs.limits import Budget
from znas.front import Axis
from znas.method import Method
from znas.selection.aggregate import ranks
from znas.selection.climb import climb
from znas.selection.criteria import Floats, Worth
from znas.selection.finalists import different, functions, references
from znas.selection.largest import largest
from znas.selection.limited import within
from znas.selection.shortlist import Compared, edge_effects, effects, from_best, halved, pool
from znas.selection.sure import Sure, beats, residuals
from znas.selection.topology import select_edges
from znas.setup import Setup
from znas_engine.scores import Score, StaticScore
from znas_engine.spaces import Mask

#: Under limits, architectures with the best sums of effects that join the pool, for each of the shortlist.
LOOKS = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """masks: those compared, from the best on, with their totals, float64 [n]. worths: per edge what its
    candidates add, by environment and score; scores: their sums over scores, means over environments, float64
    [E, O]."""

    masks: list[Mask]
    totals: Floats
    worths: list[Worth]
    scores: Floats
    sure: Sure
    note: str


@dataclass(slots=True)
class Contest:
    """One search by a shortlist. Scores without a pass are those of the first environment's weights."""

    setup: Setup
    method: Method
    axis: Axis | None
    pool: list[Mask] = field(default_factory=list)
    _among: Floats = field(default_factory=lambda: np.empty((0, 0)))
    #: By environment the masks that were measured there, and their values float64 [S, n].
    _measured: list[tuple[Sequence[Mask], Floats]] = field(default_factory=list)
    _references: list[Mask] = field(default_factory=list)

    @property
    def free(self) -> list[Score]:
        """Scores that need no pass."""
        return [score for score in self.setup.scores if isinstance(score, StaticScore)]

    @property
    def paid(self) -> list[Score]:
        return [score for score in self.setup.scores if not isinstance(score, StaticScore)]

    def __call__(self) -> Outcome:
        setup, method, budget = self.setup, self.method, self.setup.budget
        space, rng = setup.space, method.rng("shortlist")
        self.pool = pool(space, budget, rng)
        if budget is not None:
            self.pool = self._widened(budget, rng)
        ahead = self._ahead()
        added = effects(space, np.stack(self.pool), ahead)
        edges = edge_effects(space, added)
        shortlist = [self.pool[i] for i in from_best(ahead, rng)[: method.finalists]]
        self._references = references(space, len(shortlist), shortlist, method.rng("references"), budget)
        entrants = {mask.tobytes(): "shortlist" for mask in shortlist}
        entrants |= {mask.tobytes(): "random" for mask in self._references}
        masks = shortlist + self._references
        biggest = [] if budget is not None else [largest(space, setup.trained, method.rng("largest"))]
        for kind, others in (("largest", biggest), ("front", self._for_the_front(shortlist, added, edges))):
            new = list(different(space, others, functions(space, masks)))
            entrants |= {mask.tobytes(): kind for mask in new}
            masks = masks + new
        began = self._total(masks, 0)
        if budget is not None:
            count = len(shortlist)
            climbed, reached = climb(budget, masks, began, lambda new: self._total(list(new), 0), count)
            entrants |= {mask.tobytes(): "neighbour" for mask in climbed}
            masks, began = masks + climbed, np.concatenate([began, reached])
        big = functions(space, biggest)
        is_big = np.array([space.function_of(space.genotype(mask)) in big for mask in masks])
        is_random = np.array([entrants[mask.tobytes()] == "random" for mask in masks])
        found = halved(
            masks,
            began,
            is_big | is_random,
            method.finalists,
            setup.envs,
            self._total,
            method.rng("finalists"),
        )
        kinds = [entrants[mask.tobytes()] for mask in found.masks]
        worths = self._worths()
        return Outcome(
            masks=found.masks,
            totals=found.means,
            worths=worths,
            scores=self._scores(worths),
            sure=self._sure(found, kinds, big),
            note=self._note(found, kinds),
        )

    def _widened(self, budget: Budget, rng: np.random.Generator) -> list[Mask]:
        """The pool, of which few may keep tight limits, and the architectures within them that have the best
        sums of effects."""
        space = self.setup.space
        added = np.where(space.candidates, 0.0, -np.inf)
        if self.pool:
            added = effects(space, np.stack(self.pool), self._ahead())
        edges = edge_effects(space, added)
        kept = select_edges(space, edges, rng)
        sums = within(budget, added, edges, kept, LOOKS * self.method.finalists)
        return list(different(space, self.pool + sums, set()))

    def _ahead(self) -> Floats:
        """What scores without a pass say of the pool, float64 [n]; nothing where there are none."""
        if not self.free:
            return np.zeros(len(self.pool))
        self._among = self._values_ahead(self.pool)
        return self.method.combine(self._among)

    def _values_ahead(self, masks: Sequence[Mask]) -> Floats:
        return self.setup.measure(np.stack(masks), scores=self.free, environments=slice(0, 1))

    def _for_the_front(self, shortlist: list[Mask], added: Floats, edges: dict[int, float]) -> list[Mask]:
        """Architectures of every cost, where a front is asked for."""
        if self.axis is None:
            return []
        rng, budget = self.method.rng("front"), self.setup.budget
        return self.axis.ladder(shortlist, added, edges, budget, len(shortlist), rng)

    def _total(self, masks: Sequence[Mask], environment: int) -> Floats:
        """What is compared, float64 [n]. In an environment the random architectures are measured first, with
        the masks of the first call."""
        parts: list[tuple[Floats, int]] = []
        if self.free:
            ahead = self.method.combine(self._values_ahead(masks), self._among)
            parts.append((ahead, len(self.free)))
        if self.paid:
            values = self.setup.measure(
                np.stack(masks), scores=self.paid, environments=slice(environment, environment + 1)
            )
            if environment == len(self._measured):
                self._measured.append((masks, values))
            parts.append((self.method.combine(values, self._of_references(environment)), len(self.paid)))
        if self.method.aggregate == "rank":  # a mean over scores, not a sum
            whole = sum(count for _, count in parts)
            parts = [(part * count / whole, count) for part, count in parts]
        total: Floats = np.sum([part for part, _ in parts], axis=0)
        return total

    def _of_references(self, environment: int) -> Floats | None:
        """The values among which ranks are taken, float64 [S, m]: of the random architectures or, where
        limits leave none, of all that were measured there first."""
        if not self.method.ranks:
            return None
        masks, values = self._measured[environment]
        if not self._references:
            return values
        known = {mask.tobytes(): i for i, mask in enumerate(masks)}
        return values[:, [known[mask.tobytes()] for mask in self._references]]

    def _worths(self) -> list[Worth]:
        """What operations add to the log-rank by every score in every environment."""
        space, rows, pool = self.setup.space, [], np.stack(self.pool)
        for k in range(self.setup.envs):
            ahead, paid = iter(range(len(self.free))), iter(range(len(self.paid)))
            for score in self.setup.scores:
                if isinstance(score, StaticScore):
                    masks = pool
                    among = values = self._among[next(ahead)]
                else:
                    measured, of_scores = self._measured[k]
                    masks, row = np.stack(measured), next(paid)
                    values, references_ = of_scores[row], self._of_references(k)
                    among = values if references_ is None else references_[row]
                rows.append(effects(space, masks, _log_ranks(values, among)))
        return [
            Worth(np.stack([row[e, space.options(e)] for row in rows]), None) for e in range(len(space.edges))
        ]

    def _scores(self, worths: list[Worth]) -> Floats:
        space, scores = self.setup.space, np.full(self.setup.space.shape, -np.inf)
        for e, worth in enumerate(worths):
            scores[e, space.options(e)] = worth.values.sum(0) / self.setup.envs
        return scores

    def _sure(self, found: Compared, kinds: list[str], big: set[Hashable]) -> Sure:
        """big: the function of the architecture with most parameters."""
        space, best, noise = self.setup.space, found.totals[0], residuals(found.totals)
        random = found.means[[kind == "random" for kind in kinds]]
        known = [space.function_of(space.genotype(mask)) for mask in found.masks]
        rivals = [i for i, function in enumerate(known) if i and function in big]
        return Sure(
            better_than=float((random < found.means[0]).mean()) if len(random) else None,
            random=len(random),
            beats_second=beats(best, found.totals[1], noise) if len(kinds) > 1 else None,
            beats_largest=beats(best, found.totals[rivals[0]], noise) if rivals else None,
        )

    def _note(self, found: Compared, kinds: list[str]) -> str:
        listed = self.setup.space.functions() is not None
        by = "+".join(score.name for score in self.free)
        of = f"{len(self.pool):,} {'functions' if listed else 'random architectures'}"
        count = kinds.count("shortlist")
        chosen = f"the first {count} of {of} by {by}" if by else f"{count} of {of} at random"
        beside = [f"{kinds.count(kind)} {what}" for kind, what in _KINDS.items() if kind in kinds]
        counts = (~np.isnan(found.totals)).sum(0).tolist()
        return (
            f"shortlist: {chosen}, compared with {', '.join(beside) or 'no other'}; measured per "
            f"environment: {', '.join(map(str, counts))}; {_WON[kinds[0]]} won ({found.means[0]:.6g})"
        )


_KINDS = {
    "random": "random ones",
    "largest": "with most parameters",
    "front": "for the front",
    "neighbour": "neighbours of the best",
}
_WON = {
    "shortlist": "one of the shortlist",
    "random": "one of the random ones",
    "largest": "the one with most parameters",
    "front": "one of those for the front",
    "neighbour": "one of the neighbours",
}


def _log_ranks(values: Floats, among: Floats) -> Floats:
    found: Floats = np.log(ranks(values[None], among[None])[0] / len(among))
    return found
