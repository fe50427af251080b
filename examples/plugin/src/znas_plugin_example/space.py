"""A chain of inverted residual blocks, as in MobileNetV2 (Sandler et al., CVPR 2018)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Builder, Graph, Slot
from znas_engine.spaces.base import Bools, Edge, Genotype, Macro, Mask, SearchSpace, check_resolution

#: Expansion and kernel of the depthwise convolution; `identity` is no block at all.
OPERATIONS = ("identity", "e3k3", "e3k5", "e6k3", "e6k5")
#: Of every stage: its width in units of `Macro.channels`, and whether its first block halves the resolution.
STAGES = ((1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (4, 1))


@dataclass(frozen=True, slots=True)
class ChainGenotype(Genotype):
    """One operation per stage; written `e3k3-e6k5-identity-e3k3-e3k5-e6k3`."""

    operations: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join(self.operations)

    def structure(self) -> list[str]:
        return list(self.operations)


class Chain(SearchSpace[ChainGenotype]):
    """Six stages one after another, one choice each; every block of a stage is of the chosen kind."""

    name = "chain"
    operations = OPERATIONS
    edges = tuple(Edge("chain", stage, stage + 1) for stage in range(len(STAGES)))
    trainable = "znas_plugin_example.network"
    eager = "znas_plugin_example.eager:Supernet"
    cells_are = "blocks per stage"
    presets: Mapping[str, Mapping[str, Any]] = {"shortlist": {"supernet_channels": 8}}

    @cached_property
    def candidates(self) -> Bools:
        """Everything, but `identity` only where a stage changes neither width nor resolution."""
        found = np.ones(self.shape, dtype=np.bool_)
        widths = [1, *(width for width, _ in STAGES)]
        found[:, 0] = [
            stride == 1 and width == before for (width, stride), before in zip(STAGES, widths, strict=False)
        ]
        return found

    def search_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=16, cells=1, resolution=resolution, classes=classes)

    def proxy_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=8, cells=1, resolution=resolution, classes=classes)

    def evaluation_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=24, cells=3, resolution=resolution, classes=classes)

    def supernet(self, macro: Macro) -> Graph:
        return _build(macro, [[(OPERATIONS[o], (e, o)) for o in self.options(e)] for e in range(len(STAGES))])

    def network(self, genotype: ChainGenotype, macro: Macro) -> Graph:
        return _build(macro, [[(name, None)] for name in genotype.operations])

    def mask(self, genotype: ChainGenotype) -> Mask:
        return np.eye(len(OPERATIONS), dtype=np.float32)[[OPERATIONS.index(o) for o in genotype.operations]]

    def genotype(self, mask: Mask) -> ChainGenotype:
        ones = mask.shape == self.shape and np.isin(mask, (0, 1)).all() and (mask.sum(1) == 1).all()
        if not ones or (mask != 0)[~self.candidates].any():
            raise InvalidValueError(f"a chain architecture is a mask {list(self.shape)}, one candidate a row")
        return ChainGenotype(tuple(OPERATIONS[o] for o in mask.argmax(1)))

    def parse(self, written: Any) -> ChainGenotype:
        """Its string, or a list of the operations, also as JSON."""
        names = written
        if isinstance(written, str):
            try:
                names = json.loads(written)
            except (ValueError, RecursionError):
                names = written.split("-")
        if not isinstance(names, list | tuple) or len(names) != len(STAGES):
            raise _malformed(written)
        for name, allowed in zip(names, self.candidates, strict=True):
            if name not in OPERATIONS or not allowed[OPERATIONS.index(name)]:
                raise _malformed(written)
        return ChainGenotype(tuple(names))


def _malformed(written: Any) -> InvalidValueError:
    return InvalidValueError(
        f"not a chain architecture: {written!r:.80}; expected the form e3k3-e6k5-identity-e3k3-e3k5-e6k3, "
        "identity where the shape stays"
    )


def _build(macro: Macro, candidates: list[list[tuple[str, Slot | None]]]) -> Graph:
    """candidates: per stage the (operation, slot) pairs that stand in each of its blocks."""
    check_resolution("chain", macro.resolution, 4)
    b = Builder()
    x = b.conv("stem.0", b.input(macro.inputs, macro.resolution), macro.channels, 3, padding=1)
    x = b.cell(b.relu("stem.2", b.norm("stem.1", x)))
    for stage, (width, stride) in enumerate(STAGES):
        for block in range(macro.cells):
            path = f"stages.{stage}.{block}"
            channels, step = width * macro.channels, stride if block == 0 else 1
            terms = [
                (_operation(b, f"{path}.{name}", name, x, channels, step), slot)
                for name, slot in candidates[stage]
            ]
            x = b.cell(b.mixed(f"{path}.sum", terms, b.shape(terms[0][0])))
    b.linear("classifier", b.global_average("pool", x), macro.classes)
    return b.graph()


def _operation(b: Builder, path: str, name: str, x: int, channels: int, stride: int) -> int:
    """Expand, filter each channel by itself, project; the input is added where shapes allow."""
    if name == "identity":
        return x
    expansion, kernel = int(name[1]), int(name[3])
    wide = expansion * b.shape(x)[0]
    y = b.relu(f"{path}.body.2", b.norm(f"{path}.body.1", b.conv(f"{path}.body.0", x, wide, 1)))
    y = b.conv(f"{path}.body.3", y, wide, kernel, stride=stride, padding=kernel // 2, groups=wide)
    y = b.relu(f"{path}.body.5", b.norm(f"{path}.body.4", y))
    y = b.norm(f"{path}.body.7", b.conv(f"{path}.body.6", y, channels, 1))
    return b.add(f"{path}.sum", [x, y]) if b.shape(x) == b.shape(y) else y
