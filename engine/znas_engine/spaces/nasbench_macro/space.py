"""NAS-Bench-Macro: a chain of 8 layers, 3 operations (Su et al., CVPR 2021, arXiv:2103.11922)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Builder, Graph, Slot
from znas_engine.spaces.base import Macro, Mask, SearchSpace
from znas_engine.spaces.mobile import conv_norm_relu, inverted_residual
from znas_engine.spaces.nasbench_macro.genotype import (
    EDGES,
    FIRST,
    OPERATIONS,
    NasBenchMacroGenotype,
    canonical,
    parse,
)


class NasBenchMacro(SearchSpace[NasBenchMacroGenotype]):
    """MobileNet-like chains whose 6,561 members were all trained; an edge is a layer.

    The benchmark's networks have 32 channels and one block per layer; with more blocks, a layer is followed
    by blocks of its operation that keep shape. Equal functions have equal costs and, in the table, equal
    accuracies; their weights, which belong to layers, are those of one that stands for all.
    """

    name = "nasbench_macro"
    operations = OPERATIONS
    edges = EDGES
    trainable = "znas_engine.spaces.nasbench_macro.network"
    eager = "znas_engine.spaces.nasbench_macro.eager:Supernet"
    cells_are = "blocks per layer"
    presets: Mapping[str, Mapping[str, Any]] = {"shortlist": {"supernet_channels": 8}}
    recipes = Path(__file__).with_name("recipes")

    def search_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=16, cells=1, resolution=resolution, classes=classes)

    def proxy_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=8, cells=1, resolution=resolution, classes=classes)

    def evaluation_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=32, cells=1, resolution=resolution, classes=classes)

    def supernet(self, macro: Macro) -> Graph:
        return _build(
            macro, [[(name, (e, o)) for o, name in enumerate(OPERATIONS)] for e in range(len(EDGES))]
        )

    def network(self, genotype: NasBenchMacroGenotype, macro: Macro) -> Graph:
        return _build(macro, [[(name, None)] for name in genotype.operations])

    def parse(self, written: Any) -> NasBenchMacroGenotype:
        """See `znas_engine.spaces.nasbench_macro.genotype.parse`."""
        return parse(written)

    def mask(self, genotype: NasBenchMacroGenotype) -> Mask:
        mask = np.zeros(self.shape, dtype=np.float32)
        mask[np.arange(len(EDGES)), [OPERATIONS.index(name) for name in genotype.operations]] = 1
        return mask

    def genotype(self, mask: Mask) -> NasBenchMacroGenotype:
        if mask.shape != self.shape or not np.all(
            ((mask == 0) | (mask == 1)) & (mask.sum(1, keepdims=True) == 1)
        ):
            raise InvalidValueError(
                "a NAS-Bench-Macro architecture is a mask [8, 3] whose rows are one-hot; "
                f"got rows that sum to {np.asarray(mask).sum(-1).tolist()}"
            )
        return NasBenchMacroGenotype(tuple(OPERATIONS[o] for o in mask.argmax(1)))

    def function_of(self, genotype: NasBenchMacroGenotype) -> Hashable:
        """Its canonical form."""
        return canonical(genotype)

    def representative(self, genotype: NasBenchMacroGenotype) -> NasBenchMacroGenotype:
        """Its canonical form."""
        return canonical(genotype)

    def functions(self) -> Sequence[NasBenchMacroGenotype]:
        """Every canonical form."""
        return self._functions

    @cached_property
    def _functions(self) -> Sequence[NasBenchMacroGenotype]:
        every = map(NasBenchMacroGenotype, product(OPERATIONS, repeat=len(EDGES)))
        return tuple(genotype for genotype in every if genotype == canonical(genotype))


def _build(macro: Macro, candidates: list[list[tuple[str, Slot | None]]]) -> Graph:
    """Stem, 8 layers of `macro.cells` blocks, a head 40 times as wide as the stem, classifier.

    candidates: per layer the (operation, slot) pairs that stand on it.
    """
    b = Builder()
    channels = macro.channels
    x = b.cell(conv_norm_relu(b, "stem", b.input(macro.inputs, macro.resolution), channels, 3))
    for layer, options in enumerate(candidates):
        for block in range(macro.cells):
            stride = 2 if layer in FIRST and block == 0 else 1
            channels *= stride
            path = f"layers.{layer}.{block}"
            terms = [
                (_operation(b, f"{path}.{name}", name, x, channels, stride), slot) for name, slot in options
            ]
            x = b.cell(b.mixed(f"{path}.sum", terms, b.shape(terms[0][0])))
    x = conv_norm_relu(b, "head", x, 40 * macro.channels, 1)
    b.linear("classifier", b.global_average("pool", x), macro.classes)
    return b.graph()


def _operation(b: Builder, path: str, name: str, x: int, channels: int, stride: int) -> int:
    """An identity, which is a strided 1x1 convolution where shape changes, or an inverted residual."""
    if name == "identity":
        if stride == 1:
            return x
        return b.norm(f"{path}.1", b.conv(f"{path}.0", x, channels, 1, stride=stride))
    expansion, kernel = int(name[2]), int(name[5])
    return inverted_residual(b, path, x, channels, expansion=expansion, kernel=kernel, stride=stride)
