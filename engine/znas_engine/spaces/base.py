"""What a search space is: edges, candidate operations, a macro skeleton, a notation, and all its facts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import check_between, generator, instance
from znas_engine.data import Dataset
from znas_engine.errors import DataError, InvalidValueError, PluginError
from znas_engine.graph import Graph, Mixed
from znas_engine.progress import Progress, unheard
from znas_engine.promises import Wrong, hold
from znas_engine.spaces import trainable
from znas_engine.spaces.doors import (
    Door,
    a_genotype,
    a_macro,
    a_mask,
    a_size,
    no_kind,
    no_mask,
    no_selection,
    stand_at,
)
from znas_engine.spaces.parts import Edge as Edge
from znas_engine.spaces.parts import Genotype as Genotype
from znas_engine.spaces.parts import Macro as Macro

if TYPE_CHECKING:
    from torch import nn

Mask = NDArray[np.float32]
Bools = NDArray[np.bool_]
#: Per column of a table, an accuracy in percent of every architecture, float64 [n].
Columns = dict[str, NDArray[np.float64]]
#: The least and the most that a supernet's size may be asked for.
CHANNELS, CELLS = (2, 512), (1, 64)


G = TypeVar("G", bound=Genotype)


def parameters(graph: Graph) -> float:
    """What `SearchSpace.costs` counts unless told otherwise."""
    return graph.parameters


#: What methods of a space that is not ours are held to return.
_RETURNS: dict[str, Wrong] = {
    **dict.fromkeys(("search_macro", "proxy_macro", "evaluation_macro"), partial(no_kind, Macro)),
    **dict.fromkeys(("supernet", "network"), partial(no_kind, Graph)),
    **dict.fromkeys(("parse", "genotype", "representative"), partial(no_kind, Genotype)),
    "mask": no_mask,
    "repair": no_selection,
    "admits": partial(no_kind, bool | np.bool_),
    "function_of": partial(no_kind, Hashable),
    "network_arguments": partial(no_kind, dict),
}


_BUILT: dict[str, Door] = {"genotype": a_genotype, "macro": a_macro}
_READ: dict[str, Door] = {"mask": a_mask}
_SIZES = {"resolution": a_size("resolution", 1), "classes": a_size("classes", 1)}
#: What methods of a space take, ours and others'.
_DOORS: dict[str, dict[str, Door]] = {
    **dict.fromkeys(("search_macro", "proxy_macro", "evaluation_macro"), _SIZES),
    **dict.fromkeys(("network", "mask", "function_of", "representative"), _BUILT),
    **dict.fromkeys(("supernet", "network_arguments"), _BUILT),
    **dict.fromkeys(("genotype", "admits"), _READ),
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
    #: Nodes whose outputs a cell concatenates, in every cell; none where its last node is what it gives on.
    joined: tuple[int, ...] = ()
    #: What `Macro.cells` counts, in words.
    cells_are: str = "cells"
    #: By the name of a preset of searches, the fields that are otherwise in this space.
    presets: Mapping[str, Mapping[str, Any]] = {}
    #: The prior that comes with the space, a file of `znas-engine prior fit`.
    prior: Path | None = None
    #: The folder of how its community trains what is found: NAME.toml, see `znas.training.recipe`.
    recipes: Path | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        hold(cls, "search space", _RETURNS)
        stand_at(cls, _DOORS)

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
        found: list[int] = np.flatnonzero(self.candidates[self._edge(edge)]).tolist()
        return found

    def _edge(self, edge: Any) -> int:
        return check_between("edge", edge, 0, len(self.edges) - 1)

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
        return self.coalition(edge, [operation])

    def drop(self, edge: int) -> Mask:
        """The observation of an ensemble: the mixture, but row `edge` is zero."""
        mask = self.mixture()
        mask[self._edge(edge)] = 0
        return mask

    def coalition(self, edge: int, members: Sequence[int]) -> Mask:
        """1/|S| on the operations of `members` in row `edge`, the mixture elsewhere."""
        mask, most = self.drop(edge), len(self.operations) - 1
        given = members if isinstance(members, Iterable) else [members]
        found = [check_between("operation", each, 0, most) for each in given]
        for operation in found:
            if found.count(operation) > 1 or not self.mixed[edge, operation]:
                where = f"{self.operations[operation]} on {self.edges[int(edge)].label}"
                raise InvalidValueError(
                    f"`operation` must be in the mixture of {self.name}, once, but got {where}"
                )
        if found:
            mask[edge, found] = 1 / len(found)
        return mask

    def random_path(self, rng: np.random.Generator) -> Mask:
        """path(a) of an architecture drawn uniformly, those that are not admitted included."""
        generator("rng", rng)
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
        mask = a_mask(self, mask)
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

    def representative(self, genotype: G) -> G:
        """The architecture that is measured for all of its function; itself unless a space says otherwise.

        Weights belong to edges: where equal functions put operations on others, they score alike only if one
        stands for all. Where a benchmark trained and scored each by itself, each stands for itself.
        """
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
        instance("dataset", dataset, Dataset, ": znas_engine.data.load makes them")
        macro = self.search_macro(resolution=dataset.resolution, classes=dataset.classes)
        return resize(replace(macro, inputs=dataset.channels), channels=channels, cells=cells)

    def evaluation_macro_for(self, dataset: Dataset) -> Macro:
        """`evaluation_macro` for a data set's images."""
        instance("dataset", dataset, Dataset, ": znas_engine.data.load makes them")
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
        a_genotype(self, genotype)
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

    def read_folder(
        self, folder: Path, progress: Progress = unheard, report: Callable[[str], None] = unheard
    ) -> tuple[list[G], Columns]:
        """The architectures of a benchmark's own folder and their accuracies; DataError where the space has
        no reader for one. report: is told remarks of one line."""
        raise DataError(f"the folder {folder} has no reader in the space {self.name}: pass a CSV")


stand_at(SearchSpace, _DOORS)


def draw(allowed: Bools, rng: np.random.Generator) -> NDArray[np.int64]:
    """allowed: bool [E, O] -> one allowed operation per edge, uniformly, int64 [E]."""
    first_allowed = np.argsort(~allowed, axis=1, kind="stable")
    drawn = rng.integers(0, allowed.sum(1))
    operations: NDArray[np.int64] = first_allowed[np.arange(len(allowed)), drawn]
    return operations


def resize(macro: Macro, *, channels: int | None, cells: int | None) -> Macro:
    """`macro` with another width or depth; None keeps the space's own."""
    asked = (("channels", channels, CHANNELS), ("cells", cells, CELLS))
    sizes: dict[str, Any] = {
        name: check_between(name, value, *domain) for name, value, domain in asked if value is not None
    }
    return replace(macro, **sizes)


def check_resolution(name: str, resolution: int, multiple: int) -> None:
    """Cells halve the resolution; refuse one that does not divide."""
    if resolution < multiple or resolution % multiple:
        raise InvalidValueError(
            f"`resolution` must be a multiple of {multiple} pixels for {name} but got {resolution}: ask for "
            f"another, --resolution {max(1, round(resolution / multiple)) * multiple}"
        )
