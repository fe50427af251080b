"""What a search space is: edges, candidate operations, a macro skeleton, a notation, and all its facts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import DataError, InvalidValueError, PluginError, briefly
from znas_engine.graph import Graph, Mixed
from znas_engine.progress import Progress, unheard
from znas_engine.promises import Wrong, hold
from znas_engine.spaces import trainable

if TYPE_CHECKING:
    from torch import nn

    from znas_engine.data import Dataset

Mask = NDArray[np.float32]
Bools = NDArray[np.bool_]
#: Per column of a table, an accuracy in percent of every architecture, float64 [n].
Columns = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Edge:
    """A paralleled edge of a cell; `source` and `target` are node numbers in the community's counting."""

    cell: str
    source: int
    target: int

    @property
    def label(self) -> str:
        return f"{self.cell}:{self.source}->{self.target}"


@dataclass(frozen=True, slots=True)
class Macro:
    """The skeleton around the cells.

    channels: width C of the first cells. cells: their number, as `SearchSpace.cells_are` counts them.
    resolution: side of the square images in pixels. stem: "cifar" | "imagenet". inputs: channels of an image.
    """

    channels: int
    cells: int
    resolution: int
    classes: int
    stem: str = "cifar"
    inputs: int = 3


@dataclass(frozen=True, slots=True)
class Genotype(ABC):
    """A discrete architecture in the notation of its own community."""

    @abstractmethod
    def __str__(self) -> str:
        """The community's string."""

    @abstractmethod
    def structure(self) -> Any:
        """The same as plain lists and dictionaries, for JSON."""


G = TypeVar("G", bound=Genotype)


def parameters(graph: Graph) -> float:
    """What `SearchSpace.costs` counts unless told otherwise."""
    return graph.parameters


def _no(kind: Any, space: SearchSpace[Any], found: object) -> str | None:
    return None if isinstance(found, kind) else f"{briefly(found)}, no {getattr(kind, '__name__', kind)}"


def _no_mask(space: SearchSpace[Any], found: object) -> str | None:
    if isinstance(found, np.ndarray) and found.dtype == np.float32 and found.shape == space.shape:
        return None
    return f"{briefly(found)}, no mask: float32 {list(space.shape)}"


def _no_selection(space: SearchSpace[Any], found: object) -> str | None:
    shaped = isinstance(found, np.ndarray) and found.dtype == np.int64 and found.shape == space.shape[:1]
    if shaped and all(
        0 <= o < space.shape[1] and space.candidates[e, o] for e, o in enumerate(np.asarray(found).tolist())
    ):
        return None
    return f"{briefly(found)}, no selection: int64 [{len(space.edges)}], a candidate per edge"


#: What methods of a space that is not ours are held to return.
_RETURNS: dict[str, Wrong] = {
    **dict.fromkeys(("search_macro", "proxy_macro", "evaluation_macro"), partial(_no, Macro)),
    **dict.fromkeys(("supernet", "network"), partial(_no, Graph)),
    **dict.fromkeys(("parse", "genotype"), partial(_no, Genotype)),
    "mask": _no_mask,
    "repair": _no_selection,
    "admits": partial(_no, bool | np.bool_),
    "function_of": partial(_no, Hashable),
    "network_arguments": partial(_no, dict),
}


class SearchSpace(ABC, Generic[G]):
    """Pure data and pure functions; no framework is imported.

    A mask is float32 [E, O] (edges, operations), >= 0. A genotype's mask counts how often each operation
    stands on each edge, so `genotype(mask(g)) == g` up to the order in which a node's inputs are written.
    """

    name: str
    operations: tuple[str, ...]
    edges: tuple[Edge, ...]
    #: The module that holds `Network`, the trainable network: it imports only torch, and its text becomes
    #: the `architecture.py` of a run folder. `Network(genotype.structure(), **network_arguments(macro))` has
    #: the module paths of `network(genotype, macro)`: a state dictionary and a graph share their keys.
    trainable: str
    #: `module:Class` of the supernet as NAS code bases write it, the baseline of `bench`:
    #: `Class(macro).forward(images, mask)`. None: the space brings none.
    eager: str | None = None
    #: How many in-edges a node of a genotype keeps; None where it keeps all of them.
    in_edges: int | None = None
    #: What `Macro.cells` counts, in words.
    cells_are: str = "cells"
    #: By the name of a preset of searches, the fields that are otherwise in this space.
    presets: Mapping[str, Mapping[str, Any]] = {}
    #: The prior that comes with the space, a file of `znas-engine prior fit`.
    prior: Path | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        hold(cls, "search space", _RETURNS)

    @property
    def shape(self) -> tuple[int, int]:
        """(edges, operations)"""
        return (len(self.edges), len(self.operations))

    # --- operations ----------------------------------------------------------------------------------

    @cached_property
    def candidates(self) -> Bools:
        """bool [E, O]: what may be selected; every operation on every edge unless a space says otherwise."""
        return np.ones(self.shape, dtype=np.bool_)

    @cached_property
    def mixed(self) -> Bools:
        """bool [E, O]: what stands in the mixture; the candidates unless a space says otherwise."""
        return self.candidates

    @cached_property
    def computing(self) -> Bools:
        """bool [E, O]: what adds a term to its node; `none`, say, is nowhere in the graph."""
        found = np.zeros(self.shape, dtype=np.bool_)
        graph = self.supernet(self.proxy_macro(resolution=32, classes=10))
        for node in graph.nodes:
            for slot in node.slots if isinstance(node, Mixed) else ():
                if slot is not None:
                    found[slot] = True
        return found

    def options(self, edge: int) -> list[int]:
        """The candidates of one edge, in order."""
        found: list[int] = np.flatnonzero(self.candidates[edge]).tolist()
        return found

    def neurons(self) -> list[tuple[int, int]]:
        """(edge, operation) of every candidate, edge by edge."""
        return [(e, o) for e in range(len(self.edges)) for o in self.options(e)]

    # --- masks ---------------------------------------------------------------------------------------

    def mixture(self) -> Mask:
        """1 / (mixed operations of the edge): DARTS's softmax at alpha = 0."""
        mask: Mask = self.mixed.astype(np.float32) / self.mixed.sum(1, keepdims=True).astype(np.float32)
        return mask

    def do(self, edge: int, operation: int) -> Mask:
        """The observation of neuron (edge, operation): the mixture, but row `edge` is one-hot."""
        mask = self.drop(edge)
        mask[edge, operation] = 1
        return mask

    def drop(self, edge: int) -> Mask:
        """The observation of an ensemble: the mixture, but row `edge` is zero."""
        mask = self.mixture()
        mask[edge] = 0
        return mask

    def coalition(self, edge: int, members: Sequence[int]) -> Mask:
        """1/|S| on the operations of `members` in row `edge`, the mixture elsewhere."""
        mask = self.drop(edge)
        mask[edge, list(members)] = 1 / len(members) if members else 0
        return mask

    def random_path(self, rng: np.random.Generator) -> Mask:
        """path(a) of an architecture drawn uniformly, those that are not admitted included."""
        mask = np.zeros(self.shape, dtype=np.float32)
        mask[np.arange(len(self.edges)), draw(self.candidates, rng)] = 1
        for into in self.contested_nodes():
            mask[rng.permutation(into)[self.in_edges :]] = 0
        return mask

    def nodes(self) -> list[list[int]]:
        """The in-edges of every node of every cell."""
        found: dict[tuple[str, int], list[int]] = {}
        for e, edge in enumerate(self.edges):
            found.setdefault((edge.cell, edge.target), []).append(e)
        return list(found.values())

    def contested_nodes(self) -> list[list[int]]:
        """The in-edges of every node that has more of them than a genotype keeps."""
        return [into for into in self.nodes() if self.in_edges and len(into) > self.in_edges]

    def describe(self, mask: Mask) -> str:
        """A mask in words: mixture, do(edge, operation), drop(edge), a path's notation, or its numbers."""
        different = [e for e, row in enumerate(mask) if not np.array_equal(row, self.mixture()[e])]
        if not different:
            return "mixture"
        if len(different) == 1:
            (edge,) = different
            row = mask[edge]
            if not row.any():
                return f"drop({self.edges[edge].label})"
            if np.count_nonzero(row) == 1 and row.max() == 1:
                return f"do({self.edges[edge].label}, {self.operations[int(row.argmax())]})"
        try:
            return str(self.genotype(mask))
        except (InvalidValueError, PluginError):  # this words other errors
            return str(mask.tolist())

    # --- architectures -------------------------------------------------------------------------------

    def admits(self, mask: Mask) -> bool:
        """Whether an architecture, given by its mask, keeps the rules of the space and lets images reach the
        logits; yes unless a space says otherwise."""
        return True

    def repair(self, scores: NDArray[np.float64], selected: NDArray[np.int64]) -> NDArray[np.int64]:
        """The nearest selection that is admitted; the same unless a space says otherwise.

        scores: float64 [E, O], -inf where an operation is no candidate. selected: int64 [E], an operation
        per edge, before a node gives up edges.
        """
        return selected

    def function_of(self, genotype: G) -> Hashable:
        """Equal for architectures that are known to compute the same function with equal weights."""
        return genotype

    def functions(self) -> Sequence[G] | None:
        """One admitted architecture of every function; None where there are too many to list."""
        return None

    def costs(self, macro: Macro, of: Callable[[Graph], float] = parameters) -> NDArray[np.float64]:
        """What an operation adds on an edge, float64 [E, O], up to one constant per node; -inf where it is
        no candidate. Exact for costs that are a sum over a cell's (edge, operation) pairs.

        A node keeps k in-edges (or all of them): the network in which it holds the operation k times (once)
        against one in which every node holds a base.
        """
        base = np.zeros(self.shape, dtype=np.float32)
        copies = self.in_edges or 1
        for into in self.nodes():
            for e in into[: self.in_edges]:
                base[e, self.options(e)[0]] = 1
        found = np.full(self.shape, -np.inf)
        for into in self.nodes():
            for e in into:
                for o in self.options(e):
                    mask = base.copy()
                    mask[into if self.in_edges else [e]] = 0
                    mask[e, o] = copies
                    found[e, o] = of(self.network(self.genotype(mask), macro)) / copies
        return found

    # --- networks ------------------------------------------------------------------------------------

    @abstractmethod
    def search_macro(self, *, resolution: int, classes: int) -> Macro:
        """The supernet's usual size at this resolution."""

    @abstractmethod
    def proxy_macro(self, *, resolution: int, classes: int) -> Macro:
        """The size at which thousands of single architectures are scored: the smallest with every kind of
        cell, 8 channels wide."""

    @abstractmethod
    def evaluation_macro(self, *, resolution: int, classes: int) -> Macro:
        """The size at which the community trains the selected architecture."""

    def macro_for(self, dataset: Dataset, *, channels: int | None, cells: int | None) -> Macro:
        """`search_macro` for a data set's images, with another width or depth where they are not None."""
        macro = self.search_macro(resolution=dataset.resolution, classes=dataset.classes)
        return resize(replace(macro, inputs=dataset.channels), channels=channels, cells=cells)

    def evaluation_macro_for(self, dataset: Dataset) -> Macro:
        """`evaluation_macro` for a data set's images."""
        macro = self.evaluation_macro(resolution=dataset.resolution, classes=dataset.classes)
        return replace(macro, inputs=dataset.channels)

    @abstractmethod
    def supernet(self, macro: Macro) -> Graph:
        """Every mixed operation on every edge, under a mask."""

    @abstractmethod
    def network(self, genotype: G, macro: Macro) -> Graph:
        """One discrete architecture; no mask."""

    def network_arguments(self, macro: Macro) -> dict[str, Any]:
        """The keyword arguments of the trainable network's size."""
        return {
            "channels": macro.channels,
            "cells": macro.cells,
            "classes": macro.classes,
            "inputs": macro.inputs,
        }

    def to_torch(self, genotype: G, macro: Macro) -> nn.Module:
        """The trainable network, with PyTorch's own initialisation. Imports torch."""
        return trainable.build(self.trainable, genotype.structure(), self.network_arguments(macro))

    def source(self, genotype: G, macro: Macro) -> str:
        """A Python file that builds the same network and imports only torch."""
        return trainable.source(
            self.trainable, str(genotype), genotype.structure(), self.network_arguments(macro)
        )

    # --- notation ------------------------------------------------------------------------------------

    @abstractmethod
    def parse(self, written: Any) -> G:
        """What the community writes, strings and structures, and `Genotype.structure()` -> genotype.

        Nothing in it is executed. InvalidValueError, one line, for anything else.
        """

    @abstractmethod
    def mask(self, genotype: G) -> Mask:
        """path(a): how often each operation stands on each edge."""

    @abstractmethod
    def genotype(self, mask: Mask) -> G:
        """The inverse of `mask`; InvalidValueError where the mask is no discrete architecture."""

    def read_folder(self, folder: Path, progress: Progress = unheard) -> tuple[list[G], Columns]:
        """The architectures of a benchmark's own folder and their accuracies; DataError where the space has
        no reader for one."""
        raise DataError(f"the folder {folder} has no reader in the space {self.name}: pass a CSV")


def draw(allowed: Bools, rng: np.random.Generator) -> NDArray[np.int64]:
    """allowed: bool [E, O] -> one allowed operation per edge, uniformly, int64 [E]."""
    first_allowed = np.argsort(~allowed, axis=1, kind="stable")
    drawn = rng.integers(0, allowed.sum(1))
    operations: NDArray[np.int64] = first_allowed[np.arange(len(allowed)), drawn]
    return operations


def resize(macro: Macro, *, channels: int | None, cells: int | None) -> Macro:
    """`macro` with another width or depth; None keeps the space's own."""
    for name, value, low, high in (("channels", channels, 2, 512), ("cells", cells, 1, 64)):
        if value is not None and not low <= value <= high:
            raise InvalidValueError(f"`{name}` must be between {low} and {high} but got {value}")
    return replace(macro, channels=channels or macro.channels, cells=cells or macro.cells)


def check_resolution(name: str, resolution: int, multiple: int) -> None:
    """Cells halve the resolution; refuse one that does not divide."""
    if resolution < multiple or resolution % multiple:
        raise InvalidValueError(
            f"`resolution` must be a multiple of {multiple} pixels for {name} but got {resolution}: ask for "
            f"another, --resolution {max(1, round(resolution / multiple)) * multiple}"
        )
