"""The contest of a shortlist: what is measured of whole architectures, and who wins (see
`znas.selection.shortlist`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from znas.front import Axis
from znas.method import Method
from znas.result import Sure
from znas.selection.aggregate import ranks
from znas.selection.climb import climb
from znas.selection.criteria import Floats, Worth
from znas.selection.finalists import different, functions, references
from znas.selection.largest import largest
from znas.selection.limited import within
from znas.selection.shortlist import Compared, edge_effects, effects, halved, pool
from znas.selection.sure import beats, residuals
from znas.selection.topology import select_edges
from znas.setup import Setup
from znas_engine.scores import Score, StaticScore
from znas_engine.spaces import Mask

#: Under limits, architectures with the best sums of effects from which a shortlist is taken too, for each.
LOOKS = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """masks: those compared, from the best on, with their totals, float64 [n]. effects: per edge what its
    candidates add, by environment and score; scores: their sums over scores, means over environments, float64
    [E, O]; edges: what contested edges add."""

    masks: list[Mask]
    totals: Floats
    worths: list[Worth]
    scores: Floats
    edges: dict[int, float]
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
        ahead = self._ahead(self.pool)
        added = effects(space, np.stack(self.pool), ahead) if self.pool else np.zeros(space.shape)
        edges = edge_effects(space, added)
        shortlist = self._shortlist(ahead, added, edges, rng)
        self._references = references(space, len(shortlist), shortlist, method.rng("references"), budget)
        masks, kinds = shortlist + self._references, ["shortlist"] * len(shortlist)
        kinds += ["random"] * len(self._references)
        for kind, others in self._others(shortlist, added, edges):
            new = list(different(space, others, functions(space, masks)))
            masks, kinds = masks + new, kinds + [kind] * len(new)
        began = self._total(masks, 0)
        if budget is not None:
            climbed, reached = climb(
                budget, masks, began, lambda new: self._total(list(new), 0), len(shortlist)
            )
            masks, kinds = masks + climbed, kinds + ["neighbour"] * len(climbed)
            began = np.concatenate([began, reached])
        always = np.array([kind in ("random", "largest") for kind in kinds])
        found = halved(
            masks, began, always, method.finalists, setup.envs, self._total, method.rng("finalists")
        )
        kind_of = {mask.tobytes(): kind for mask, kind in zip(masks, kinds, strict=True)}
        kinds = [kind_of[mask.tobytes()] for mask in found.masks]
        worths = self._worths()
        return Outcome(
            masks=found.masks,
            totals=found.means,
            worths=worths,
            scores=self._scores(worths),
            edges=edges,
            sure=self._sure(found, kinds),
            note=self._note(found, kinds, len(shortlist)),
        )

    def _ahead(self, masks: list[Mask]) -> Floats:
        """What scores without a pass say of the pool, float64 [n]; nothing where there are none."""
        if not self.free or not masks:
            return np.zeros(len(masks))
        self._among = self._values_ahead(masks)
        return self.method.combine(self._among)

    def _values_ahead(self, masks: Sequence[Mask]) -> Floats:
        return self.setup.measure(np.stack(masks), scores=self.free, environments=slice(0, 1))

    def _shortlist(
        self, ahead: Floats, added: Floats, edges: dict[int, float], rng: np.random.Generator
    ) -> list[Mask]:
        """The `finalists` that rank first without a pass, ties at random; under limits also of those with the
        best sums of effects, since few of a pool may keep them."""
        space, budget, count = self.setup.space, self.setup.budget, self.method.finalists
        order = rng.permutation(len(self.pool))
        order = order[np.argsort(-ahead[order], kind="stable")]
        if budget is None:
            return [self.pool[i] for i in order[:count]]
        kept = select_edges(space, edges, rng)
        sums = within(budget, added, edges, kept, LOOKS * count)
        best = [self.pool[i] for i in order[: LOOKS * count]]
        masks = list(different(space, best + sums, set()))
        if not self.free:
            return masks[:count]
        among = self._among if self._among.size else None
        worth = self.method.combine(self._values_ahead(masks), among)
        return [masks[i] for i in np.argsort(-worth, kind="stable")[:count]]

    def _others(
        self, shortlist: list[Mask], added: Floats, edges: dict[int, float]
    ) -> list[tuple[str, list[Mask]]]:
        """What is compared besides, by kind."""
        setup, found = self.setup, []
        if setup.budget is None:
            largest_ = largest(setup.space, setup.trained, self.method.rng("largest"))
            found.append(("largest", [largest_]))
        if self.axis is not None:
            rng = self.method.rng("front")
            more = self.axis.ladder(shortlist, added, edges, setup.budget, len(shortlist), rng)
            found.append(("front", more))
        return found

    def _total(self, masks: Sequence[Mask], environment: int) -> Floats:
        """What is compared, float64 [n]. In an environment the random architectures are measured first, with
        the masks of the first call."""
        parts: list[tuple[Floats, int]] = []
        if self.free:
            among = self._among if self._among.size else None
            parts.append((self.method.combine(self._values_ahead(masks), among), len(self.free)))
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
        """The values of the random architectures, float64 [S, m], where ranks are taken among them."""
        if not self.method.ranks or not self._references:
            return None
        masks, values = self._measured[environment]
        known = {mask.tobytes(): i for i, mask in enumerate(masks)}
        return values[:, [known[mask.tobytes()] for mask in self._references]]

    def _worths(self) -> list[Worth]:
        """What operations add to the log-rank by every score in every environment."""
        space, rows = self.setup.space, []
        for k in range(self.setup.envs):
            ahead, paid = iter(range(len(self.free))), iter(range(len(self.paid)))
            for score in self.setup.scores:
                if isinstance(score, StaticScore):
                    masks: Sequence[Mask] = self.pool
                    among = values = self._among[next(ahead)] if self._among.size else np.zeros(0)
                else:
                    masks, of_scores = self._measured[k]
                    row = next(paid)
                    values, references_ = of_scores[row], self._of_references(k)
                    among = values if references_ is None else references_[row]
                rows.append(effects(space, np.stack(masks), _log_ranks(values, among)))
        return [
            Worth(np.stack([row[e, space.options(e)] for row in rows]), None) for e in range(len(space.edges))
        ]

    def _scores(self, worths: list[Worth]) -> Floats:
        space, scores = self.setup.space, np.full(self.setup.space.shape, -np.inf)
        for e, worth in enumerate(worths):
            scores[e, space.options(e)] = worth.values.sum(0) / self.setup.envs
        return scores

    def _sure(self, found: Compared, kinds: list[str]) -> Sure:
        best, noise = found.totals[0], residuals(found.totals)
        random = found.means[[kind == "random" for kind in kinds]]
        largest_ = kinds.index("largest") if "largest" in kinds else None
        return Sure(
            better_than=float((random < found.means[0]).mean()) if len(random) else None,
            random=len(random),
            beats_second=beats(best, found.totals[1], noise) if len(kinds) > 1 else None,
            beats_largest=None if not largest_ else beats(best, found.totals[largest_], noise),
        )

    def _note(self, found: Compared, kinds: list[str], listed: int) -> str:
        whole = self.setup.space.functions() is not None
        by = "+".join(score.name for score in self.free)
        of = f"{len(self.pool):,} {'functions' if whole else 'random architectures'}"
        chosen = f"the first {listed} of {of} by {by}" if by else f"{listed} of {of} at random"
        counts = [int((~np.isnan(found.totals[:, k])).sum()) for k in range(self.setup.envs)]
        beside = [f"{kinds.count(kind)} {what}" for kind, what in _KINDS.items() if kind in kinds]
        winner = "one of the shortlist" if kinds[0] == "shortlist" else _WON[kinds[0]]
        return (
            f"shortlist: {chosen}, compared with {', '.join(beside)}; measured per environment: "
            f"{', '.join(map(str, counts))}; {winner} won ({found.means[0]:.6g})"
        )


_KINDS = {
    "random": "random ones",
    "largest": "with most parameters",
    "front": "for the front",
    "neighbour": "neighbours of the best",
}
_WON = {
    "random": "one of the random ones",
    "largest": "the one with most parameters",
    "front": "one of those for the front",
    "neighbour": "one of the neighbours",
}


def _log_ranks(values: Floats, among: Floats) -> Floats:
    found: Floats = np.log(ranks(values[None], among[None])[0] / len(among))
    return found
