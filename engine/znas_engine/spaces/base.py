"""What a search space is: edges, candidate operations, a macro skeleton and a notation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Graph

if TYPE_CHECKING:
    from znas_engine.data import Dataset

Mask = NDArray[np.float32]


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

    channels: width C of the first cells. cells: N per stage for NAS-Bench-201, in total for DARTS.
    resolution: side of the square images in pixels. stem: "cifar" | "imagenet".
    """

    channels: int
    cells: int
    resolution: int
    classes: int
    stem: str = "cifar"


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


class SearchSpace(ABC, Generic[G]):
    """Pure data and pure functions; no framework.

    A mask is float32 [edges, operations], >= 0. A genotype's mask counts how often each operation stands
    on each edge, so `genotype(mask(g)) == g` up to the order in which a node's inputs are written.
    """

    name: str
    operations: tuple[str, ...]
    edges: tuple[Edge, ...]
    #: Operations that `search` may put on an edge. `none` is one of NAS-Bench-201's five candidates, while
    #: DARTS keeps it in the mixture and never selects it.
    selectable: tuple[bool, ...]
    #: How many in-edges a node of a genotype keeps; None where it keeps all of them.
    in_edges: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(edges, operations)"""
        return (len(self.edges), len(self.operations))

    # --- masks ---------------------------------------------------------------------------------------

    def mixture(self) -> Mask:
        """1/O everywhere: DARTS's softmax at alpha = 0."""
        return np.full(self.shape, 1 / len(self.operations), dtype=np.float32)

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
        """path(a) of an architecture drawn uniformly, disconnected ones included."""
        mask = np.zeros(self.shape, dtype=np.float32)
        operations = rng.choice(np.flatnonzero(self.selectable), len(self.edges))
        mask[np.arange(len(self.edges)), operations] = 1
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
        except InvalidValueError:
            return str(mask.tolist())

    # --- networks ------------------------------------------------------------------------------------

    @abstractmethod
    def search_macro(self, *, resolution: int, classes: int) -> Macro:
        """The supernet's usual size at this resolution."""

    def macro_for(self, dataset: Dataset, *, channels: int | None, cells: int | None) -> Macro:
        """`search_macro` for a data set's images, with another width or depth where they are not None."""
        macro = self.search_macro(resolution=dataset.resolution, classes=dataset.classes)
        return resize(macro, channels=channels, cells=cells)

    @abstractmethod
    def evaluation_macro(self, *, resolution: int, classes: int) -> Macro:
        """The size at which the community trains the selected architecture."""

    @abstractmethod
    def supernet(self, macro: Macro) -> Graph:
        """Every candidate operation on every edge, under a mask."""

    @abstractmethod
    def network(self, genotype: G, macro: Macro) -> Graph:
        """One discrete architecture; no mask."""

    # --- notation ------------------------------------------------------------------------------------

    @abstractmethod
    def parse(self, text: str) -> G:
        """The community's string -> genotype, or InvalidValueError."""

    @abstractmethod
    def mask(self, genotype: G) -> Mask:
        """path(a): how often each operation stands on each edge."""

    @abstractmethod
    def genotype(self, mask: Mask) -> G:
        """The inverse of `mask`; InvalidValueError where the mask is no discrete architecture."""

    def connected(self, genotype: G) -> bool:
        """Whether the images reach the logits."""
        return True


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
            f"`resolution` must be a multiple of {multiple} pixels for {name} but got {resolution}"
        )
