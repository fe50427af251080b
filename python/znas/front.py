"""The front of score against cost: of architectures of every cost those that none beats in both."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.costs.counts import COUNTS
from znas.costs.features import random_masks
from znas.costs.latencies import Latencies
from znas.costs.latency import Latency
from znas.costs.limits import Bound, Budget, Counted
from znas.costs.quantities import USUAL, Limit, against, in_words
from znas.hooks import Report
from znas.output import Figure, Picture, Table
from znas.output.figures import QUIET, SERIES, canvas, label, legend, place_labels, png, style, svg
from znas.output.scales import beyond, focus
from znas.selection.finalists import functions
from znas.selection.limited import fitting
from znas_engine.errors import one_line
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace

Floats = NDArray[np.float64]
#: Limits on the cost under which architectures are taken, beside the finalists, whose cost has none: at
#: evenly spaced quantiles of so many random architectures.
RUNGS, SAMPLE = 8, 200
#: Finalists of which a front is worth its name, at least.
FINALISTS = 30
#: Rows of a printed front, at most.
SHOWN = 12
#: Of its picture, in inches.
WIDTH = 7.0
#: By cost, the unit of its column.
_UNITS = {"memory": "memory_bytes", "latency": "latency_ms"}


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """An architecture that no other of those that were compared beats in score and cost.

    score: what the final round compared, larger is better. cost: in parameters, multiply-accumulates, bytes
    or milliseconds: the median of a latency, or what a table has of it, or else what is predicted.
    predicted, quartiles: of a latency; of one in a table there are no quartiles.
    params, flops: of the network at the size at which it is handed over.
    """

    genotype: Genotype
    score: float
    cost: float
    predicted: float | None
    quartiles: tuple[float, float] | None
    params: int
    flops: int

    def __repr__(self) -> str:
        return f"<FrontPoint {one_line(self.arch, 100)}: score {self.score:.6g}, cost {self.cost:,.6g}>"

    @property
    def arch(self) -> str:
        """The community's string."""
        return str(self.genotype)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        facts = ("score", "cost", "predicted", "quartiles", "params", "flops")
        return {"arch": self.arch} | {name: getattr(self, name) for name in facts}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], genotype: Genotype) -> FrontPoint:
        """The inverse of `to_dict`, of which `genotype` is the architecture."""
        facts = {name: value for name, value in plain.items() if name != "arch"}
        quartiles = facts["quartiles"]
        return cls(genotype, **facts | {"quartiles": None if quartiles is None else tuple(quartiles)})


def undominated(scores: Floats, costs: Floats) -> list[int]:
    """Those that no other has a higher score than at the same or a lower cost, or a lower cost than at the
    same score; from the cheapest on; of equals the first. scores, costs: float64 [n]."""
    found: list[int] = []
    for i in np.lexsort((-scores, costs)).tolist():
        if not found or scores[i] > scores[found[-1]]:
            found.append(i)
    return found


@dataclass(frozen=True, eq=False)
class Axis:
    """What a front is against. name: params | flops | memory | latency. target: of a latency."""

    name: str
    target: str | None
    cost: Counted | Latencies

    @classmethod
    def of(
        cls,
        asked: str,
        space: SearchSpace[Any],
        macro: Macro,
        latencies: Callable[[str], Latencies],
        *,
        report: Report,
    ) -> Axis:
        """What `--pareto` names; what predicts a latency is learnt here. latencies: of a target; report: told
        where that is the usual one.

        Raises:
            InvalidValueError, MissingDependencyError, DataError: no such cost or target.
        """
        name, target = against(asked)
        if target is None:
            return cls(name, None, Counted.named(name, space, macro))
        if "@" not in asked:
            report(f"--pareto {name} is of {USUAL}: name another target as in {name}@native:cpu")
        found = latencies(target)
        _ = found.model  # learnt before the masked passes: what cannot be is refused, and their time is known
        return cls(name, target, found)

    @property
    def space(self) -> SearchSpace[Any]:
        return self.cost.space

    def ladder(
        self,
        masks: Sequence[Mask],
        scores: Floats,
        worth_of_edge: dict[int, float],
        budget: Budget | None,
        count: int,
        rng: np.random.Generator,
    ) -> list[Mask]:
        """Architectures of every cost: the best by their sums of scores under each of RUNGS limits on it,
        within the budget too, as one-hot masks; about `count`, of different functions and none of those of
        the finalists, `masks`, whose edges they keep where their cost allows it."""
        taken = functions(self.space, masks)
        bounds = () if budget is None else budget.bounds
        found: list[Mask] = []
        levels = self._levels(masks, budget, rng)
        for most in levels:
            limit = Limit(self.name, most, False, self.target, "--pareto")
            narrow = Budget(self.space, self.cost.macro, (*bounds, Bound(limit, most, self.cost)))
            kept = np.asarray(masks[0].any(1))
            rung = fitting(narrow, scores, worth_of_edge, kept, count // len(levels), taken)
            taken |= functions(self.space, rung)
            found += rung
        return found

    def _levels(self, masks: Sequence[Mask], budget: Budget | None, rng: np.random.Generator) -> list[float]:
        """Of random architectures within the budget; of the finalists too where hardly one is."""
        drawn = random_masks(self.space, SAMPLE, rng)
        fit = drawn if budget is None else drawn[budget.keeps(drawn)]
        if len(fit) <= RUNGS:
            fit = np.concatenate([fit, np.stack(masks)])
        shares = np.arange(1, RUNGS + 1) / (RUNGS + 1)
        levels: Floats = np.unique(np.quantile(self.cost.of_masks(fit), shares, method="lower"))
        return [float(level) for level in levels]

    def front(
        self, masks: Sequence[Mask], scores: Floats, budget: Budget | None, selected: Mask, report: Report
    ) -> tuple[tuple[FrontPoint, ...], list[str]]:
        """Which of the architectures none beats in score and cost, and notes. selected: what is handed over.

        Latencies are those that are predicted, and then measured for the front and for what is handed over:
        of these stay what none of them beats, and what keeps limits of latency.
        """
        costs = self.cost.of_masks(np.stack(masks))
        chosen = undominated(scores, costs)
        other, own = _words(self.name, self.target), str(self.space.genotype(selected))
        notes = [f"front: none of {len(masks)} compared beats these {len(chosen)} in both score and {other}"]
        timed = [bound for bound in (budget.bounds if budget else ()) if isinstance(bound.cost, Latencies)]
        if timed or isinstance(self.cost, Latencies):
            chosen += [i for i, mask in enumerate(masks) if mask is selected and i not in chosen]
            report(f"measuring the latencies of {len(chosen)} architectures of the front")
        points = [self._point(masks[i], float(scores[i]), float(costs[i])) for i in chosen]
        inside = [point for point in points if all(_keeps(bound, point.genotype) for bound in timed)]
        if len(inside) < len(points):
            notes.append(
                f"front: {len(points) - len(inside)} were over a limit of latency when measured, and left it"
            )
        beaten = undominated(*np.array([(p.score, p.cost) for p in inside]).reshape(-1, 2).T)
        front = tuple(inside[i] for i in beaten)
        if len(front) < len(inside):
            notes.append(f"front: {len(inside) - len(front)} were beaten when measured, and left it")
        if isinstance(self.cost, Latencies):
            absent = sum(self.cost.measure(point.genotype) is None for point in front)
            if absent:
                notes.append(f"front: {absent} latencies are predicted; --latency-table has no row for them")
        if not any(point.arch == own for point in front):
            notes.append("front: without what is handed over, whose score others have at a lower cost")
        return front, notes

    def _point(self, mask: Mask, score: float, cost: float) -> FrontPoint:
        genotype = self.space.genotype(mask)
        network = self.space.network(genotype, self.cost.macro)
        predicted, quartiles = None, None
        if isinstance(self.cost, Latencies):
            predicted, measured = cost, self.cost.measure(genotype)
            cost = _milliseconds(measured, cost)
            if isinstance(measured, Latency):
                quartiles = measured.low_ms, measured.high_ms
        return FrontPoint(genotype, score, cost, predicted, quartiles, network.parameters, network.flops)


def _milliseconds(measured: Latency | float | None, predicted: float) -> float:
    if isinstance(measured, Latency):
        return measured.median_ms
    return predicted if measured is None else measured


def _keeps(bound: Bound, genotype: Genotype) -> bool:
    """Whether a network keeps a limit of latency as it is measured."""
    assert isinstance(bound.cost, Latencies)
    return _milliseconds(bound.cost.measure(genotype), bound.cost.of(genotype)) <= bound.most


def contradiction(
    front: Sequence[FrontPoint], asked: str | None, space: SearchSpace[Any], macro: Macro
) -> str | None:
    """What no search writes of a front, as a sentence; else None. asked: of the request."""
    if not front:
        return None
    if asked is None:
        return "`front` is there, but `request.pareto` is not"
    name, target = against(asked)
    order = undominated(np.array([p.score for p in front]), np.array([p.cost for p in front]))
    if order != list(range(len(front))):
        return "`front` has members that others beat, or is not in the order of their costs"
    for i, point in enumerate(front):
        if (point.predicted is None) != (target is None) or (target is None and point.quartiles is not None):
            return f"`front[{i}]` does not fit `request.pareto`, {asked}"
        graph = space.network(point.genotype, macro)
        counted = {"params": graph.parameters, "flops": graph.flops}
        said: dict[str, float] = {"params": point.params, "flops": point.flops}
        if target is None:
            counted["cost"], said["cost"] = COUNTS[name].of(graph), point.cost
        for what, value in said.items():
            if counted[what] != value:
                return f"`front[{i}].{what}` is {value:,}, but its network has {counted[what]:,}"
    return None


def table(front: Sequence[FrontPoint], asked: str, arch: str) -> Table:
    """At most SHOWN members, evenly spaced with both ends. arch: what is handed over, which is marked."""
    name, target = against(asked)
    rows = np.unique(np.linspace(0, len(front) - 1, SHOWN).round().astype(int)).tolist()
    if (own := [i for i, point in enumerate(front) if point.arch == arch]) and own[0] not in rows:
        rows[int(np.argmin([abs(row - own[0]) for row in rows[1:-1]])) + 1] = own[0]
    counted = [each for each in ("params", "flops") if each != name]
    cells = [
        [
            _cost(name, front[i]),
            f"{front[i].score:.5g}",
            *(in_words(each, getattr(front[i], each)) for each in counted),
            front[i].arch,
        ]
        for i in rows
    ]
    left = f"; {len(rows)} of {len(front)}, front.csv has all" if len(rows) < len(front) else ""
    return Table(
        [_words(name, target), "score", *counted, "architecture"],
        cells,
        caption=f"the front: none of those compared beats these in both; * handed over{left}",
        left=(2 + len(counted),),
        marked={(row, 1) for row, i in enumerate(rows) if front[i].arch == arch},
    )


def _words(name: str, target: str | None) -> str:
    return f"{name} on {target}" if target else name


def _cost(name: str, point: FrontPoint) -> str:
    if point.quartiles is None:
        return in_words(name, point.cost)
    low, high = point.quartiles
    return f"{in_words(name, point.cost)} ({low:.3g} to {high:.3g})"


def to_csv(front: Sequence[FrontPoint], asked: str) -> str:
    """A row per member, from the cheapest on; of a latency also what was predicted, and quartiles."""
    name, target = against(asked)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    own = [] if name in ("params", "flops") else [_UNITS[name]]
    more = [] if target is None else ["predicted", "low", "high"]
    writer.writerow(["arch", "score", *own, *more, "params", "flops"])
    for point in front:
        low, high = point.quartiles or ("", "")
        timed = [] if target is None else [point.predicted, low, high]
        cost = [point.cost] if own else []
        writer.writerow([point.arch, point.score, *cost, *timed, point.params, point.flops])
    return text.getvalue()


def figure(front: Sequence[FrontPoint], asked: str, arch: str) -> Figure:
    """The picture of a front, for a file. arch: what is handed over."""
    return Figure("front.png", png(drawing(front, asked, arch)), _caption(asked))


def picture(front: Sequence[FrontPoint], asked: str, arch: str) -> Picture:
    """The same for within a page."""
    best = max(front, key=lambda point: point.score)
    words = f"{len(front)} architectures, from {_cost(against(asked)[0], front[0])} with the score "
    words += f"{front[0].score:.5g} to {_cost(against(asked)[0], best)} with {best.score:.5g}"
    drawn = svg(drawing(front, asked, arch), title=_caption(asked), description=words)
    return Picture(drawn, _caption(asked), WIDTH)


def _caption(asked: str) -> str:
    return f"The front of score against {_words(*against(asked))}"


@style()
def drawing(front: Sequence[FrontPoint], asked: str, arch: str) -> Any:
    name, target = against(asked)
    costs, scores = np.array([(point.cost, point.score) for point in front]).T
    by, unit = _scale(name, float(costs.max()))
    own = [i for i, point in enumerate(front) if point.arch == arch]
    low, high = focus(scores, keep=scores[own])
    drawn, panels = canvas(1, 1, width=WIDTH, height=4.5)
    axes = panels[0, 0]
    axes.step(costs / by, scores, where="post", color=SERIES[0], alpha=0.4, linestyle="--")
    shown = (scores >= low) & (scores <= high)
    ends = costs[None]
    if all(point.quartiles for point in front):
        ends = np.array([point.quartiles for point in front]).T
        spread = np.maximum([costs - ends[0], ends[1] - costs], 0)[:, shown] / by
        look = {"fmt": "none", "ecolor": QUIET, "capsize": 4, "label": "quartiles"}
        axes.errorbar(costs[shown] / by, scores[shown], xerr=spread, **look)
    axes.plot(costs[shown] / by, scores[shown], "o", color=SERIES[0], label="the front")
    for i in own:
        axes.plot(costs[i] / by, scores[i], "*", color=SERIES[1], markersize=16, label="handed over")
    axes.set(ylim=(low, high), xlim=focus([], keep=[*costs / by, *ends.ravel() / by], least=0))
    axes.set(xlabel=label(f"{_words(name, target)} ({unit})"), ylabel="score in the final round")
    axes.grid()
    outside = [(costs[i] / by, *beyond(scores[i], low, high), scores[i]) for i in np.flatnonzero(~shown)]
    for x, y, mark, _ in outside:
        axes.plot(x, y, "v" if mark == "<" else "^", color=SERIES[0], clip_on=False)
    legend(drawn)
    place_labels(axes, [(x, y) for x, y, _, _ in outside], [f"{score:.3g}" for *_, score in outside])
    return drawn


def _scale(name: str, most: float) -> tuple[float, str]:
    """What values are divided by, and the unit that makes of them."""
    if name == "latency":
        return 1.0, "ms"
    noun = {"params": "parameters", "flops": "multiply-accumulates", "memory": "bytes"}[name]
    by, prefix = next(((by, f"{word} ") for by, word in _PREFIXES if most >= by), (1.0, ""))
    return by, prefix + noun


_PREFIXES = ((1e9, "billion"), (1e6, "million"), (1e3, "thousand"))


def file_names(front: Sequence[FrontPoint], asked: str | None) -> list[str]:
    """Of what a run folder has of a front."""
    if asked is None:
        return []
    return ["front.csv", "front.png"] if front else ["front.csv"]


def files(front: Sequence[FrontPoint], asked: str | None, arch: str) -> dict[str, bytes]:
    """What a run folder has of a front. arch: what is handed over."""
    if asked is None:
        return {}
    makers = {
        "front.csv": lambda: to_csv(front, asked).encode(),
        "front.png": lambda: figure(front, asked, arch).png,
    }
    return {name: makers[name]() for name in file_names(front, asked)}
