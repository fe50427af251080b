"""MobileNetV2's chain (Sandler et al., CVPR 2018, arXiv:1801.04381) with layers chosen as ProxylessNAS's are
(Cai, Zhu and Han, ICLR 2019, arXiv:1812.00332)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Builder, Graph, Slot
from znas_engine.spaces.base import Bools, Macro, Mask, SearchSpace
from znas_engine.spaces.mobile import conv_norm_relu, inverted_residual
from znas_engine.spaces.mobilenet.genotype import (
    EDGES,
    FIRST,
    OPERATIONS,
    STAGES,
    MobileNetGenotype,
    canonical,
    parse,
)

#: Of every stage, at a stem of 32 channels.
WIDTHS = (24, 32, 64, 96, 160, 320)
#: Of the first layer of every stage.
STRIDES = (2, 2, 2, 1, 2, 1)
#: The head's channels, at least.
FEATURES = 1280
#: Pixels of a side that strides leave, at least.
LEFT = 3


class MobileNet(SearchSpace[MobileNetGenotype]):
    """Chains of inverted residuals; an edge is a layer.

    MobileNetV2 is among them, with ReLU for ReLU6, as everywhere here. Widths follow the stem's and are
    multiples of 8; strides follow the resolution. With more blocks, a layer is followed by blocks of its
    operation that keep shape. Equal functions have equal costs; their weights, which belong to layers, are
    those of one that stands for all.
    """

    name = "mobilenet"
    operations = OPERATIONS
    edges = EDGES
    trainable = "znas_engine.spaces.mobilenet.network"
    eager = "znas_engine.spaces.mobilenet.eager:Supernet"
    cells_are = "blocks per layer"
    presets: Mapping[str, Mapping[str, Any]] = {
        "shortlist": {"supernet_channels": 8, "supernet_resolution": 96}
    }
    recipes = Path(__file__).with_name("recipes")

    @cached_property
    def candidates(self) -> Bools:
        """No identity where a stage begins."""
        found = np.ones(self.shape, dtype=np.bool_)
        found[list(FIRST), OPERATIONS.index("identity")] = False
        return found

    def search_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=16, cells=1, resolution=resolution, classes=classes)

    def proxy_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=8, cells=1, resolution=resolution, classes=classes)

    def evaluation_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=32, cells=1, resolution=resolution, classes=classes)

    def supernet(self, macro: Macro) -> Graph:
        return _build(
            macro,
            [[(OPERATIONS[o], (e, o)) for o in self.options(e)] for e in range(len(EDGES))],
        )

    def network(self, genotype: MobileNetGenotype, macro: Macro) -> Graph:
        return _build(macro, [[(name, None)] for name in genotype.operations])

    def network_arguments(self, macro: Macro) -> dict[str, Any]:
        """The keyword arguments of the trainable network's size: strides hang on the resolution."""
        return super().network_arguments(macro) | {"resolution": macro.resolution}

    def parse(self, written: Any) -> MobileNetGenotype:
        """See `znas_engine.spaces.mobilenet.genotype.parse`."""
        return parse(written)

    def mask(self, genotype: MobileNetGenotype) -> Mask:
        mask = np.zeros(self.shape, dtype=np.float32)
        mask[np.arange(len(EDGES)), [OPERATIONS.index(name) for name in genotype.operations]] = 1
        return mask

    def genotype(self, mask: Mask) -> MobileNetGenotype:
        one_hot = (((mask == 0) | (mask == 1)) & (mask.sum(1, keepdims=True) == 1)).all(1)
        wrong = np.flatnonzero(~one_hot | (mask * ~self.candidates).any(1))
        if len(wrong):
            raise InvalidValueError(
                "a mobilenet architecture is a mask [21, 7] whose rows are one-hot, with no identity where a "
                f"stage begins; layer {wrong[0] + 1} has {mask[wrong[0]].tolist()}"
            )
        return MobileNetGenotype(tuple(OPERATIONS[o] for o in mask.argmax(1)))

    def function_of(self, genotype: MobileNetGenotype) -> Hashable:
        """Its canonical form."""
        return canonical(genotype)

    def representative(self, genotype: MobileNetGenotype) -> MobileNetGenotype:
        """Its canonical form."""
        return canonical(genotype)


def _widths(channels: int) -> tuple[int, list[int], int]:
    """Of the block behind the stem, of every stage and of the head, at a stem of `channels`."""
    return (
        _rounded(16 * channels / 32),
        [_rounded(width * channels / 32) for width in WIDTHS],
        max(FEATURES, _rounded(FEATURES * channels / 32)),
    )


def _rounded(width: float) -> int:
    """To a multiple of 8 that is not below 90 %, as MobileNetV2 does."""
    found = max(8, int(width + 4) // 8 * 8)
    return found + 8 if found < 0.9 * width else found


def _strides(resolution: int) -> Iterator[int]:
    """Of the stem and of the first layer of every stage: the last of five that leave `LEFT` pixels."""
    places = (2, *STRIDES)
    kept = sum(resolution >> halvings >= LEFT for halvings in range(1, 1 + places.count(2)))
    dropped = places.count(2) - kept
    for place, stride in enumerate(places):
        yield stride if places[: place + 1].count(2) > dropped else 1


def _build(macro: Macro, candidates: Sequence[Sequence[tuple[str, Slot | None]]]) -> Graph:
    """Stem, a block that expands nothing, 21 layers of `macro.cells` blocks, head, classifier.

    candidates: per layer the (operation, slot) pairs that stand on it.
    """
    b = Builder()
    narrow, wide, features = _widths(macro.channels)
    first, *further = _strides(macro.resolution)
    images = b.input(macro.inputs, macro.resolution)
    x = b.cell(conv_norm_relu(b, "stem", images, macro.channels, 3, stride=first))
    x = b.cell(inverted_residual(b, "first", x, narrow, expansion=1, kernel=3, stride=1))
    layer = 0
    for layers, outside, stage_stride in zip(STAGES, wide, further, strict=True):
        for _ in range(layers):
            for block in range(macro.cells):
                stride = stage_stride if layer in FIRST and block == 0 else 1
                path = f"layers.{layer}.{block}"
                terms = [
                    (_operation(b, f"{path}.{name}", name, x, outside, stride), slot)
                    for name, slot in candidates[layer]
                ]
                x = b.cell(b.mixed(f"{path}.sum", terms, b.shape(terms[0][0])))
            layer += 1
    x = conv_norm_relu(b, "head", x, features, 1)
    b.linear("classifier", b.global_average("pool", x), macro.classes)
    return b.graph()


def _operation(b: Builder, path: str, name: str, x: int, channels: int, stride: int) -> int:
    if name == "identity":
        return x
    expansion, kernel = int(name[2]), int(name[5])
    return inverted_residual(b, path, x, channels, expansion=expansion, kernel=kernel, stride=stride)
