"""NAS-Bench-201: 4 nodes, 6 edges, 5 operations (Dong & Yang, ICLR 2020, arXiv:2001.00326)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Builder, Graph, Slot
from znas_engine.progress import Progress, unheard
from znas_engine.spaces.base import Columns, Macro, Mask, SearchSpace, check_resolution
from znas_engine.spaces.nasbench201.genotype import EDGES, OPERATIONS, NasBench201Genotype, parse
from znas_engine.spaces.nasbench201.isomorphism import canonical
from znas_engine.spaces.nasbench201.listed import listed


class NasBench201(SearchSpace[NasBench201Genotype]):
    """The cell-based space whose 15,625 members were all trained."""

    name = "nasbench201"
    operations = OPERATIONS
    edges = EDGES
    trainable = "znas_engine.spaces.nasbench201.network"
    eager = "znas_engine.spaces.nasbench201.eager:Supernet"
    cells_are = "cells per stage"
    prior = Path(__file__).with_name("prior.json")
    recipes = Path(__file__).with_name("recipes")

    def search_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=16, cells=5, resolution=resolution, classes=classes)

    def proxy_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=8, cells=1, resolution=resolution, classes=classes)

    evaluation_macro = search_macro

    def supernet(self, macro: Macro) -> Graph:
        return _build(macro, [[(o, (e, o)) for o in range(len(OPERATIONS))] for e in range(len(EDGES))])

    def network(self, genotype: NasBench201Genotype, macro: Macro) -> Graph:
        return _build(macro, [[(OPERATIONS.index(name), None)] for name in genotype.operations])

    def parse(self, written: Any) -> NasBench201Genotype:
        """See `znas_engine.spaces.nasbench201.genotype.parse`."""
        return parse(written)

    def mask(self, genotype: NasBench201Genotype) -> Mask:
        mask = np.zeros(self.shape, dtype=np.float32)
        for edge, name in enumerate(genotype.operations):
            mask[edge, OPERATIONS.index(name)] = 1
        return mask

    def genotype(self, mask: Mask) -> NasBench201Genotype:
        if mask.shape != self.shape or not np.all(
            ((mask == 0) | (mask == 1)) & (mask.sum(1, keepdims=True) == 1)
        ):
            raise InvalidValueError(
                "a NAS-Bench-201 architecture is a mask [6, 5] whose rows are one-hot; "
                f"got rows that sum to {np.asarray(mask).sum(-1).tolist()}"
            )
        return NasBench201Genotype(tuple(OPERATIONS[o] for o in mask.argmax(1)))

    def admits(self, mask: Mask) -> bool:
        """Whether the cell's input reaches its output by some path without `none`."""
        reached = {0}
        for edge, name in zip(EDGES, self.genotype(mask).operations, strict=True):
            if name != "none" and edge.source in reached:
                reached.add(edge.target)
        return 3 in reached

    def repair(self, scores: NDArray[np.float64], selected: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rule for `none`: it may win any edge, as long as images still reach the logits.

        Where the winners disconnect the cell, the cheapest set of edges gives their `none` up for the edge's
        best other operation; the loss is the sum of score differences.
        """
        none = OPERATIONS.index("none")
        others = np.where(np.arange(len(OPERATIONS)) == none, -np.inf, scores).argmax(1)
        edges = np.arange(len(selected))
        loss = scores[edges, selected] - scores[edges, others]
        connected = []
        given_up = [e for e in edges if selected[e] == none]
        for size in range(len(given_up) + 1):
            for change in map(list, combinations(given_up, size)):
                repaired = selected.copy()
                repaired[change] = others[change]
                if self.admits(np.eye(len(OPERATIONS), dtype=np.float32)[repaired]):
                    connected.append((float(loss[change].sum()), size, change, repaired))
        return min(connected, key=lambda c: c[:3])[3]

    def function_of(self, genotype: NasBench201Genotype) -> Hashable:
        """Its canonical form."""
        return canonical(genotype)

    def functions(self) -> Sequence[NasBench201Genotype]:
        """The first cell of every class of `isomorphism.classes` that lets images through."""
        return self._functions

    @cached_property
    def _functions(self) -> Sequence[NasBench201Genotype]:
        return listed()

    def read_folder(
        self, folder: Path, progress: Progress = unheard, report: Callable[[str], None] = unheard
    ) -> tuple[list[NasBench201Genotype], Columns]:
        """NATS-Bench's own folder, see `znas_engine.spaces.nasbench201.folder`."""
        from znas_engine.spaces.nasbench201.folder import read_folder

        return read_folder(folder, progress, report)


def _build(macro: Macro, candidates: list[list[tuple[int, Slot | None]]]) -> Graph:
    """Stem, 3 stages of `macro.cells` cells with a residual block between stages, classifier.

    candidates: per edge the (operation, slot) pairs that stand on it.
    """
    check_resolution("nasbench201", macro.resolution, 4)
    b = Builder()
    x = b.input(macro.inputs, macro.resolution)
    x = b.cell(b.norm("stem.1", b.conv("stem.0", x, macro.channels, 3, padding=1)))
    number = 0
    for stage in range(3):
        channels = macro.channels << stage
        if stage:
            x = b.cell(_residual_block(b, f"cells.{number}", x, channels))
            number += 1
        for _ in range(macro.cells):
            x = b.cell(_cell(b, f"cells.{number}", x, candidates))
            number += 1
    x = b.relu("last.1", b.norm("last.0", x))
    b.linear("classifier", b.global_average("pool", x), macro.classes)
    return b.graph()


def _cell(b: Builder, path: str, x: int, candidates: list[list[tuple[int, Slot | None]]]) -> int:
    nodes = [x]
    for target in (1, 2, 3):
        terms: list[tuple[int, Slot | None]] = []
        for e, edge in enumerate(EDGES):
            if edge.target != target:
                continue
            for operation, slot in candidates[e]:
                name = OPERATIONS[operation]
                if name != "none":
                    terms.append((_operation(b, f"{path}.edges.{e}.{name}", name, nodes[edge.source]), slot))
        nodes.append(b.mixed(f"{path}.node{target}", terms, b.shape(x)))
    return nodes[-1]


def _operation(b: Builder, path: str, name: str, x: int) -> int:
    channels = b.shape(x)[0]
    match name:
        case "skip_connect":
            return x
        case "avg_pool_3x3":
            return b.pool(path, x, "average", 3, padding=1)
        case _:
            return _relu_conv_norm(b, path, x, channels, 3 if name == "nor_conv_3x3" else 1)


def _relu_conv_norm(b: Builder, path: str, x: int, channels: int, kernel: int, stride: int = 1) -> int:
    x = b.relu(f"{path}.0", x)
    x = b.conv(f"{path}.1", x, channels, kernel, stride=stride, padding=kernel // 2)
    return b.norm(f"{path}.2", x)


def _residual_block(b: Builder, path: str, x: int, channels: int) -> int:
    y = _relu_conv_norm(b, f"{path}.a", x, channels, 3, stride=2)
    y = _relu_conv_norm(b, f"{path}.b", y, channels, 3)
    shortcut = b.pool(f"{path}.shortcut.0", x, "average", 2, stride=2)
    shortcut = b.conv(f"{path}.shortcut.1", shortcut, channels, 1)
    return b.add(f"{path}.sum", [y, shortcut])
