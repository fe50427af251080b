"""DARTS: two cells of 14 edges and 8 operations (Liu, Simonyan & Yang, ICLR 2019, arXiv:1806.09055)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Builder, Graph, Slot
from znas_engine.spaces.base import Bools, Macro, Mask, SearchSpace, check_resolution
from znas_engine.spaces.darts.genotype import (
    CELLS,
    EDGES,
    IN_EDGES,
    OPERATIONS,
    TARGETS,
    DartsGenotype,
    Terms,
    parse,
)

EDGES_PER_CELL = len(EDGES) // 2


class Darts(SearchSpace[DartsGenotype]):
    """Normal and reduction cell, searched together: edges 0-13 are normal, 14-27 reduction."""

    name = "darts"
    operations = OPERATIONS
    edges = EDGES
    trainable = "znas_engine.spaces.darts.network"
    eager = "znas_engine.spaces.darts.eager:Supernet"
    in_edges = IN_EDGES
    joined = TARGETS
    presets: Mapping[str, Mapping[str, Any]] = {
        # As many cells of a kind for each of the other as in networks that are trained.
        "shortlist": {"supernet_channels": 4, "supernet_cells": 8}
    }
    prior = Path(__file__).with_name("prior.json")
    recipes = Path(__file__).with_name("recipes")

    @cached_property
    def candidates(self) -> Bools:
        """All but `none`, which is mixed and never selected."""
        return np.tile([name != "none" for name in OPERATIONS], (len(EDGES), 1))

    @cached_property
    def mixed(self) -> Bools:
        return np.ones(self.shape, dtype=np.bool_)

    def search_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=16, cells=8, resolution=resolution, classes=classes, stem=_stem(resolution))

    def proxy_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=8, cells=3, resolution=resolution, classes=classes, stem=_stem(resolution))

    def evaluation_macro(self, *, resolution: int, classes: int) -> Macro:
        stem = _stem(resolution)
        channels, cells = (36, 20) if stem == "cifar" else (48, 14)
        return Macro(channels=channels, cells=cells, resolution=resolution, classes=classes, stem=stem)

    def supernet(self, macro: Macro) -> Graph:
        candidates: Candidates = [
            [(name, (e, o)) for o, name in enumerate(OPERATIONS)] for e in range(len(EDGES))
        ]
        return _build(macro, candidates, searching=True)

    def network(self, genotype: DartsGenotype, macro: Macro) -> Graph:
        candidates: Candidates = [[] for _ in EDGES]
        for cell, terms in (("normal", genotype.normal), ("reduce", genotype.reduce)):
            for k, (name, source) in enumerate(terms):
                candidates[_edge(cell, source, TARGETS[k // IN_EDGES])].append((name, None))
        return _build(macro, candidates, searching=False)

    def parse(self, written: Any) -> DartsGenotype:
        """See `znas_engine.spaces.darts.genotype.parse`."""
        return parse(written)

    def network_arguments(self, macro: Macro) -> dict[str, Any]:
        return super().network_arguments(macro) | {"stem": macro.stem}

    def mask(self, genotype: DartsGenotype) -> Mask:
        mask = np.zeros(self.shape, dtype=np.float32)
        for cell, terms in (("normal", genotype.normal), ("reduce", genotype.reduce)):
            for k, (name, source) in enumerate(terms):
                mask[_edge(cell, source, TARGETS[k // IN_EDGES]), OPERATIONS.index(name)] += 1
        return mask

    def genotype(self, mask: Mask) -> DartsGenotype:
        cells: dict[str, Terms] = {}
        if mask.shape != self.shape or not np.all((mask == 0) | (mask == 1) | (mask == 2)):
            raise InvalidValueError(
                "a DARTS architecture is a mask [28, 8] that counts operations (0, 1 or 2 on an edge); "
                f"got shape {list(mask.shape)} with values up to {np.max(mask, initial=0)}"
            )
        for cell in CELLS:
            terms: list[tuple[str, int]] = []
            for target in TARGETS:
                into = [
                    (name, source)
                    for source in range(target)
                    for name, count in zip(OPERATIONS, mask[_edge(cell, source, target)], strict=True)
                    for _ in range(int(count))
                ]
                if len(into) != IN_EDGES:
                    raise InvalidValueError(
                        f"a DARTS architecture has {IN_EDGES} operations into every node; "
                        f"node {target} of the {cell} cell has {len(into)}"
                    )
                terms += into
            cells[cell] = tuple(terms)
        return DartsGenotype(cells["normal"], cells["reduce"])


def _stem(resolution: int) -> str:
    return "cifar" if resolution <= 64 else "imagenet"


def _edge(cell: str, source: int, target: int) -> int:
    """Position in EDGES; the edges into node t start at 0, 2, 5, 9 of its cell."""
    return CELLS.index(cell) * EDGES_PER_CELL + sum(TARGETS[: target - 2]) + source


Candidates = list[list[tuple[str, Slot | None]]]


def _build(macro: Macro, candidates: Candidates, *, searching: bool) -> Graph:
    """Stem, `macro.cells` cells with reductions at 1/3 and 2/3 of the depth, classifier.

    candidates: per edge the (operation, slot) pairs that stand on it. searching: pooling is followed by
    normalisation in the supernet, and not in the network that is trained afterwards.
    """
    check_resolution(
        f"darts with the {macro.stem} stem", macro.resolution, 4 if macro.stem == "cifar" else 32
    )
    b = Builder()
    images = b.input(macro.inputs, macro.resolution)
    channels = macro.channels
    if macro.stem == "cifar":
        before = last = b.norm("stem.1", b.conv("stem.0", images, 3 * channels, 3, padding=1))
        reduced_before = False
    else:
        x = b.norm("stem0.1", b.conv("stem0.0", images, channels // 2, 3, stride=2, padding=1))
        x = b.conv("stem0.3", b.relu("stem0.2", x), channels, 3, stride=2, padding=1)
        before = b.norm("stem0.4", x)
        x = b.conv("stem1.1", b.relu("stem1.0", before), channels, 3, stride=2, padding=1)
        last = b.norm("stem1.2", x)
        reduced_before = True
    b.cell(last)
    for number in range(macro.cells):
        reduction = number in (macro.cells // 3, 2 * macro.cells // 3)
        channels *= 2 if reduction else 1
        cell = _Cell(b, f"cells.{number}", channels, reduction, searching)
        before, last = last, b.cell(cell.build(before, last, reduced_before, candidates))
        reduced_before = reduction
    b.linear("classifier", b.global_average("pool", last), macro.classes)
    return b.graph()


@dataclass(frozen=True, slots=True)
class _Cell:
    b: Builder
    path: str
    channels: int
    reduction: bool
    searching: bool

    def build(self, before: int, last: int, reduced_before: bool, candidates: Candidates) -> int:
        preprocess = self._factorized_reduce if reduced_before else self._relu_conv_norm
        nodes = [
            preprocess(f"{self.path}.preprocess0", before),
            self._relu_conv_norm(f"{self.path}.preprocess1", last),
        ]
        _, height, width = self.b.shape(nodes[1])
        scale = 2 if self.reduction else 1
        for target in TARGETS:
            terms: list[tuple[int, Slot | None]] = []
            for source in range(target):
                e = _edge(CELLS[self.reduction], source, target)
                stride = 2 if self.reduction and source < 2 else 1
                names: list[str] = []
                for name, slot in candidates[e]:
                    if name != "none":
                        again = "_again" if name in names else ""
                        path = f"{self.path}.edges.{e % EDGES_PER_CELL}.{name}{again}"
                        terms.append((self._operation(path, name, nodes[source], stride), slot))
                        names.append(name)
            shape = (self.channels, height // scale, width // scale)
            nodes.append(self.b.mixed(f"{self.path}.node{target}", terms, shape))
        return self.b.concat(f"{self.path}.concat", nodes[2:])

    def _operation(self, path: str, name: str, x: int, stride: int) -> int:
        b = self.b
        match name:
            case "skip_connect":
                return x if stride == 1 else self._factorized_reduce(path, x)
            case "max_pool_3x3" | "avg_pool_3x3":
                mode = "max" if name == "max_pool_3x3" else "average"
                pooled = b.pool(
                    path if not self.searching else f"{path}.0", x, mode, 3, stride=stride, padding=1
                )
                return b.norm(f"{path}.1", pooled) if self.searching else pooled
            case "sep_conv_3x3" | "sep_conv_5x5":
                kernel = int(name[-1])
                x = self._separable(path, 0, x, kernel, stride, dilation=1)
                return self._separable(path, 4, x, kernel, 1, dilation=1)
            case _:
                return self._separable(path, 0, x, int(name[-1]), stride, dilation=2)

    def _separable(self, path: str, first: int, x: int, kernel: int, stride: int, *, dilation: int) -> int:
        """ReLU, depthwise, pointwise, norm: modules `first` to `first` + 3 of the operation."""
        b = self.b
        x = b.relu(f"{path}.{first}", x)
        x = b.conv(
            f"{path}.{first + 1}",
            x,
            self.channels,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=self.channels,
        )
        return b.norm(f"{path}.{first + 3}", b.conv(f"{path}.{first + 2}", x, self.channels, 1))

    def _relu_conv_norm(self, path: str, x: int) -> int:
        x = self.b.conv(f"{path}.1", self.b.relu(f"{path}.0", x), self.channels, 1)
        return self.b.norm(f"{path}.2", x)

    def _factorized_reduce(self, path: str, x: int) -> int:
        """Halve the resolution without losing pixels: two strided 1x1 convolutions, one of them shifted."""
        b = self.b
        x = b.relu(f"{path}.relu", x)
        even = b.conv(f"{path}.even", x, self.channels // 2, 1, stride=2)
        odd = b.conv(
            f"{path}.odd", b.shift(f"{path}.shift", x), self.channels - self.channels // 2, 1, stride=2
        )
        return b.norm(f"{path}.norm", b.concat(f"{path}.concat", [even, odd]))
