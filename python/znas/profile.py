"""`znas.profile`: what a space offers, or what one of its architectures costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.costs.counts import COUNTS
from znas.costs.features import random_masks
from znas.costs.latencies import Latencies
from znas.costs.latency import Latency, Target, measure_latency
from znas.costs.limits import Counted
from znas.costs.live import live
from znas.costs.predictor import LEAST, MEASURED
from znas.costs.quantities import in_words
from znas.costs.reference import ReferenceProfile, profile_reference
from znas.hooks import QUIET
from znas.network import read, trained_macro
from znas.notebook import shown
from znas.output import Code, Document, Facts, Notes, Part, Table
from znas.output.notebook import Shown
from znas.selection.members import count, members
from znas.selection.members import in_words as many
from znas.vision import is_reference
from znas_engine.arguments import check_between, function
from znas_engine.environment import derive_seed
from znas_engine.errors import InvalidValueError, briefly, one_line
from znas_engine.footprint import check_memory
from znas_engine.graph import Conv, Graph, Linear
from znas_engine.progress import Progress
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace, get_space

Floats = NDArray[np.float64]
Masks = NDArray[np.float32]

#: Random architectures where not all are counted, unless told otherwise.
SAMPLES = 200
#: Architectures of which each is counted, at most.
LISTED = 100_000


@dataclass(frozen=True, slots=True)
class Spread:
    """A cost over a space, in parameters, multiply-accumulates or bytes. of: what the median is of, in words.
    exact: whether nothing in the space is smaller or larger; what a limit can be is then known."""

    smallest: float
    median: float
    largest: float
    of: str
    exact: bool


@dataclass(frozen=True, slots=True)
class Predicted:
    """A latency over a space: milliseconds on `target`, predicted from `measured` architectures by `form`,
    whose `error` is of those that it was not fitted on; both in words."""

    target: str
    spread: Spread
    measured: int
    form: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceProfile(Shown):
    """macro: the size of the networks. architectures: of the space, those that are not admitted included.
    functions: that differ and are admitted; None where the space does not list them. costs: by name. latency:
    None where no target was given."""

    space: SearchSpace[Any]
    macro: Macro
    architectures: int
    functions: int | None
    costs: dict[str, Spread]
    latency: Predicted | None

    def __repr__(self) -> str:
        size = f"{many(self.architectures)} architectures at {_size(self.macro)}"
        return f"<SpaceProfile of {self.space.name}: {size}>"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "space": self.space.name,
            "network": asdict(self.macro),
            "architectures": self.architectures,
            "functions": self.functions,
            "costs": {name: asdict(spread) for name, spread in self.costs.items()},
            "latency": None if self.latency is None else asdict(self.latency),
        }

    def document(self) -> Document:
        """What the command prints."""
        functions = "" if self.functions is None else f", {self.functions:,} functions among those admitted"
        facts = Facts(
            [
                ("space", f"{self.space.name}: {many(self.architectures)} architectures{functions}"),
                ("network", _size(self.macro)),
            ]
        )
        rows = [_row(f"{name} ({COUNTS[name].noun})", name, each) for name, each in self.costs.items()]
        notes: list[str] = []
        if self.latency is not None:
            rows.append(_row(f"latency on {self.latency.target}", "latency", self.latency.spread))
            notes.append(
                f"latency is predicted from {self.latency.measured} measured architectures by "
                f"{self.latency.form}; held out: {self.latency.error}"
            )
        table = Table(
            ["cost", "smallest", "median", "largest", "of"],
            rows,
            caption="smallest: what a limit can be at least; of random or predicted ones, smaller may exist",
            left=(0, 4),
        )
        parts: list[Part] = [facts, table, *([Notes(notes)] if notes else [])]
        return Document(f"The space {self.space.name}", parts, self.to_dict())


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureProfile(Shown):
    """costs: by name, as the communities count them, dead operations included. live: params and flops of what
    the images pass on their way to the logits. depth: layers with weights on the longest such way. latency:
    measured; None where no target was given."""

    space: SearchSpace[Any]
    genotype: Genotype
    macro: Macro
    costs: dict[str, int]
    live: dict[str, int]
    depth: int
    latency: Latency | None

    def __repr__(self) -> str:
        costs = ", ".join(f"{in_words(name, value)} {name}" for name, value in self.costs.items())
        return f"<ArchitectureProfile {self.space.name} {one_line(str(self.genotype), 100)}: {costs}>"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "space": self.space.name,
            "genotype": self.genotype.structure(),
            "arch": str(self.genotype),
            "network": asdict(self.macro),
            "costs": self.costs,
            "live": self.live,
            "depth": self.depth,
            "latency": None if self.latency is None else _plain(self.latency),
        }

    def document(self) -> Document:
        """What the command prints."""
        counted = [
            (name, f"{in_words(name, value)} {COUNTS[name].noun}{self._live(name, value)}")
            for name, value in self.costs.items()
        ]
        facts = [("network", _size(self.macro)), *counted, ("depth", f"{self.depth} layers with weights")]
        parts: list[Part] = [Code(str(self.genotype))]
        if self.latency is not None:
            facts.append(("latency", str(self.latency)))
        parts.append(Facts(facts))
        if self.latency is not None and self.latency.remarks:
            parts.append(Notes(self.latency.remarks))
        return Document(f"An architecture of the space {self.space.name}", parts, self.to_dict())

    def _live(self, name: str, value: int) -> str:
        live = self.live.get(name, value)
        return "" if live == value else f", {in_words(name, live)} of them live"


def profile(
    space: str | SearchSpace[Any],
    architecture: Any = None,
    *,
    classes: int = 10,
    resolution: int = 32,
    channels_in: int = 3,
    channels: int | None = None,
    cells: int | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    latency: str | None = None,
    measured: int = MEASURED,
    progress: Progress = QUIET.progress,
) -> SpaceProfile | ArchitectureProfile | ReferenceProfile:
    """What networks of a space cost, or what one does; nothing is trained, nothing is scored.

        znas.profile("nasbench201").costs["params"].smallest
        znas.profile("nasbench201", "|nor_conv_3x3~0|+|...|", classes=100).costs["flops"]
        znas.profile("torchvision:resnet18", resolution=224, latency="ort:cpu:1").latency

    space, architecture, classes, resolution, channels_in, channels, cells: as of `znas.network`. Instead of a
    space, `torchvision:NAME` is a well-known network of that package, in the size it has.
    samples: random architectures (of `seed`, admitted) for what cannot be counted for all.
    latency: where it is measured, such as "ort:cpu:1"; of a space it is predicted from so many `measured`.
    progress: called with (architectures built and measured, all of them).

    Raises:
        InvalidValueError: a space, architecture, size or target that there is not. MissingDependencyError: a
            target that is not here.
    """
    if is_reference(space):
        _no_size(space, architecture, channels_in, channels, cells)
        return profile_reference(str(space), classes=classes, resolution=resolution, latency=latency)
    found = get_space(space)
    macro = trained_macro(found, classes, resolution, channels_in, channels, cells)
    check_between("samples", samples, 1, LISTED)
    check_between("seed", seed, 0, 2**63 - 1)
    function("progress", progress)
    check_between("measured", measured, LEAST, LISTED)
    target = None if latency is None else Target.parse(latency)
    if target is not None:
        target.check()
    if architecture is not None:
        return _of_architecture(found, read(found, architecture), macro, target)
    sample = random_masks(found, samples, np.random.default_rng(derive_seed(seed, "profile")))
    latencies = None
    work = samples + (measured if target is not None else 0)
    with shown("architectures", progress) as told:
        if target is not None:
            latencies = Latencies(
                found,
                macro,
                str(target),
                seed=seed,
                measured=measured,
                progress=lambda done, total: told(samples + done, work),
            )
        return _of_space(found, macro, sample, latencies, lambda done: told(done, work))


def _no_size(
    space: object, architecture: Any, channels_in: int, channels: int | None, cells: int | None
) -> None:
    """InvalidValueError for what torchvision's networks do not have."""
    given = {"architecture": architecture, "channels": channels, "cells": cells}
    given["channels_in"] = None if channels_in == 3 else channels_in
    for name, value in given.items():
        if value is not None:
            raise InvalidValueError(f"`{name}` is not used by {space} but got {briefly(value)}: leave it out")


def _of_architecture(
    space: SearchSpace[Any], genotype: Genotype, macro: Macro, target: Target | None
) -> ArchitectureProfile:
    graph = space.network(genotype, macro)
    check_memory(graph, 1)
    measured = None
    if target is not None:
        measured = measure_latency(space, genotype, macro, target)
    return ArchitectureProfile(
        space=space,
        genotype=genotype,
        macro=macro,
        costs={name: cost.of(graph) for name, cost in COUNTS.items()},
        live={name: COUNTS[name].of(live(graph)) for name in ("params", "flops")},
        depth=depth(live(graph)),
        latency=measured,
    )


def depth(graph: Graph) -> int:
    """Convolutions and classifiers on the longest way through a graph."""
    longest: list[int] = []
    for node in graph.nodes:
        before = max((longest[j] for j in node.inputs), default=0)
        longest.append(before + isinstance(node, Conv | Linear))
    return longest[-1]


def _of_space(
    space: SearchSpace[Any],
    macro: Macro,
    sample: Masks,
    latencies: Latencies | None,
    advance: Callable[[int], None],
) -> SpaceProfile:
    """sample: random architectures, float32 [n, E, O]. advance: is told of how many there is a network."""
    total = count(space)
    every = None
    if total <= LISTED:
        every = np.stack([mask for mask in members(space) if space.admits(mask)])
        if latencies is not None:
            check_between("measured", latencies.measured, LEAST, len(every))
    graphs: list[Graph] = []
    for mask in sample:
        graphs.append(space.network(space.genotype(mask), macro))
        advance(len(graphs))
    costs: dict[str, Spread] = {}
    ends: list[Mask] = []
    for name in ("params", "flops"):
        costs[name], found = _counted(Counted(space, macro, COUNTS[name].of), sample, graphs, every)
        ends += found
    graphs += [space.network(space.genotype(mask), macro) for mask in ends]
    values = [COUNTS["memory"].of(graph) for graph in graphs]
    what = f"{len(sample):,} random, and the ends of params and flops"
    middle = float(np.median(values[: len(sample)]))
    costs["memory"] = Spread(min(values), middle, max(values), what, exact=False)
    functions = space.functions()
    return SpaceProfile(
        space=space,
        macro=macro,
        architectures=total,
        functions=None if functions is None else len(functions),
        costs=costs,
        latency=None if latencies is None else _predicted(latencies, sample if every is None else every),
    )


def _predicted(latencies: Latencies, masks: Masks) -> Predicted:
    """Of the architectures of these masks."""
    values = latencies.of_masks(masks)
    assert latencies.measured is not None
    return Predicted(
        target=latencies.target,
        spread=Spread(
            float(values.min()),
            float(np.median(values)),
            float(values.max()),
            f"{len(masks):,} architectures, predicted",
            exact=False,
        ),
        measured=latencies.measured,
        form=latencies.model.form,
        error=str(latencies.model.error),
    )


def _counted(
    cost: Counted, sample: Masks, graphs: Sequence[Graph], every: Masks | None
) -> tuple[Spread, list[Mask]]:
    """Of a count that may be a sum over (edge, operation), and the architectures at its ends.

    graphs: of the sample, which shows whether it is a sum. every: all that are admitted, if they are listed.
    """
    counts = np.array([cost.count(graph) for graph in graphs], dtype=np.float64)
    sums = cost.per_operation is not None and np.array_equal(cost.of_masks(sample), counts)
    among, values, what = sample, counts, f"{len(sample):,} random"
    if sums and every is not None:
        among, values, what = every, cost.of_masks(every), f"all {len(every):,} that are admitted"
    median = float(np.median(values))
    ends, exact = [among[values.argmin()], among[values.argmax()]], sums and every is not None
    if sums and every is None:
        assert cost.per_operation is not None
        best = [_extreme(cost.space, sign * cost.per_operation[0]) for sign in (-1, 1)]
        if all(map(cost.space.admits, best)):
            ends, exact, values = best, True, cost.of_masks(np.stack(best))
    return Spread(float(values.min()), median, float(values.max()), what, exact), ends


def _extreme(space: SearchSpace[Any], worth: Floats) -> Mask:
    """path(a) of the operations that are worth most together. worth: float64 [E, O], not finite where an
    operation is no candidate."""
    found = np.where(np.isfinite(worth), worth, -np.inf)
    mask = np.zeros(space.shape, dtype=np.float32)
    for into in space.nodes():
        best = sorted(into, key=lambda e: -found[e].max())[: space.in_edges]
        mask[best, found[best].argmax(1)] = 1
    return mask


def _row(label: str, name: str, spread: Spread) -> list[str]:
    values = (spread.smallest, spread.median, spread.largest)
    exact = ", smallest and largest exact" if spread.exact else ""
    return [label, *(in_words(name, value) for value in values), f"{spread.of}{exact}"]


def _plain(latency: Latency) -> dict[str, Any]:
    return asdict(latency) | {"target": str(latency.target), "remarks": list(latency.remarks)}


def _size(macro: Macro) -> str:
    return (
        f"C={macro.channels}, {macro.cells} cells, {macro.resolution} x {macro.resolution} pixels, "
        f"{macro.classes} classes"
    )
