"""`znas.profile`: what a space offers, or what one of its architectures costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.costs.additive import additive
from znas.costs.counts import COUNTS
from znas.costs.live import live
from znas.costs.quantities import in_words
from znas.hooks import QUIET
from znas.network import read, trained_macro
from znas.output import Code, Document, Facts, Table
from znas.selection.admitted import admitted
from znas.selection.members import count, members
from znas.selection.members import in_words as many
from znas_engine.arguments import check_between, function
from znas_engine.environment import derive_seed
from znas_engine.footprint import check_memory
from znas_engine.graph import Conv, Graph, Linear
from znas_engine.progress import Progress
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace, get_space

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceProfile:
    """macro: the size of the networks. architectures: of the space, those that are not admitted included.
    functions: that differ and are admitted; None where the space does not list them. costs: by name."""

    space: SearchSpace[Any]
    macro: Macro
    architectures: int
    functions: int | None
    costs: dict[str, Spread]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "space": self.space.name,
            "network": asdict(self.macro),
            "architectures": self.architectures,
            "functions": self.functions,
            "costs": {name: asdict(spread) for name, spread in self.costs.items()},
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
        rows = [
            [
                f"{name} ({COUNTS[name].noun})",
                *(in_words(name, value) for value in (each.smallest, each.median, each.largest)),
                f"{each.of}{', smallest and largest exact' if each.exact else ''}",
            ]
            for name, each in self.costs.items()
        ]
        table = Table(
            ["cost", "smallest", "median", "largest", "of"],
            rows,
            caption="the smallest is the least that a limit can be",
            left=(0, 4),
        )
        return Document(f"The space {self.space.name}", [facts, table], self.to_dict())


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureProfile:
    """costs: by name, as the communities count them, dead operations included. live: params and flops of what
    the images pass on their way to the logits. depth: layers with weights on the longest such way."""

    space: SearchSpace[Any]
    genotype: Genotype
    macro: Macro
    costs: dict[str, int]
    live: dict[str, int]
    depth: int

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
        }

    def document(self) -> Document:
        """What the command prints."""
        counted = [
            (name, f"{in_words(name, value)} {COUNTS[name].noun}{self._live(name, value)}")
            for name, value in self.costs.items()
        ]
        facts = [("network", _size(self.macro)), *counted, ("depth", f"{self.depth} layers with weights")]
        return Document(
            f"An architecture of the space {self.space.name}",
            [Code(str(self.genotype)), Facts(facts)],
            self.to_dict(),
        )

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
    progress: Progress = QUIET.progress,
) -> SpaceProfile | ArchitectureProfile:
    """What networks of a space cost, or what one does; nothing is trained, nothing is scored.

        znas.profile("nasbench201").costs["params"].smallest
        znas.profile("nasbench201", "|nor_conv_3x3~0|+|...|", classes=100).costs["flops"]

    space, architecture, classes, resolution, channels_in, channels, cells: as of `znas.network`.
    samples: random architectures (of `seed`, admitted) for what cannot be counted for all. progress: called
        with (networks built, all that will be).

    Raises:
        InvalidValueError: a space, architecture or size that there is not.
    """
    found = get_space(space)
    macro = trained_macro(found, classes, resolution, channels_in, channels, cells)
    check_between("samples", samples, 1, LISTED)
    check_between("seed", seed, 0, 2**63 - 1)
    function("progress", progress)
    if architecture is not None:
        return _of_architecture(found, read(found, architecture), macro)
    rng = np.random.default_rng(derive_seed(seed, "profile"))
    masks = [admitted(found, lambda: found.random_path(rng)) for _ in range(samples)]
    return _of_space(found, macro, np.stack(masks), progress)


def _of_architecture(space: SearchSpace[Any], genotype: Genotype, macro: Macro) -> ArchitectureProfile:
    graph = space.network(genotype, macro)
    check_memory(graph, 1)
    return ArchitectureProfile(
        space=space,
        genotype=genotype,
        macro=macro,
        costs={name: cost.of(graph) for name, cost in COUNTS.items()},
        live={name: COUNTS[name].of(live(graph)) for name in ("params", "flops")},
        depth=depth(live(graph)),
    )


def depth(graph: Graph) -> int:
    """Convolutions and classifiers on the longest way through a graph."""
    longest: list[int] = []
    for node in graph.nodes:
        before = max((longest[j] for j in node.inputs), default=0)
        longest.append(before + isinstance(node, Conv | Linear))
    return longest[-1]


def _of_space(space: SearchSpace[Any], macro: Macro, sample: Masks, progress: Progress) -> SpaceProfile:
    """sample: random architectures, float32 [n, E, O]."""
    graphs: list[Graph] = []
    for number, mask in enumerate(sample, start=1):
        graphs.append(space.network(space.genotype(mask), macro))
        progress(number, len(sample))
    total = count(space)
    every = None
    if total <= LISTED:
        every = np.stack([mask for mask in members(space) if space.admits(mask)])
    costs: dict[str, Spread] = {}
    ends: list[Mask] = []
    for name in ("params", "flops"):
        costs[name], found = _summed(space, macro, COUNTS[name].of, sample, graphs, every)
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
    )


def _summed(
    space: SearchSpace[Any],
    macro: Macro,
    of: Callable[[Graph], float],
    sample: Masks,
    graphs: Sequence[Graph],
    every: Masks | None,
) -> tuple[Spread, list[Mask]]:
    """Of a count that may be a sum over (edge, operation), and the architectures at its ends.

    graphs: of the sample. every: all that are admitted, where they are listed.
    """
    counts = np.array([of(graph) for graph in graphs], dtype=np.float64)
    known = [(space.genotype(mask), value) for mask, value in zip(sample, counts.tolist(), strict=True)]
    total = additive(space, macro, of, known)
    among, values, what = sample, counts, f"{len(sample):,} random"
    if total is not None and every is not None:
        among, values, what = every, total.of(every), f"all {len(every):,} that are admitted"
    ends = [among[values.argmin()], among[values.argmax()]]
    exact = total is not None and every is not None
    if total is not None and every is None:
        best = [total.smallest(space), total.largest(space)]
        if all(map(space.admits, best)):
            ends, exact = best, True
            values = np.concatenate([values, total.of(np.stack(best))])
    spread = Spread(values.min(), float(np.median(values[: len(among)])), values.max(), what, exact)
    return spread, ends


def _size(macro: Macro) -> str:
    return (
        f"C={macro.channels}, {macro.cells} cells, {macro.resolution} x {macro.resolution} pixels, "
        f"{macro.classes} classes"
    )
