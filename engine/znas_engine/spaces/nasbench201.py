"""NAS-Bench-201: 4 nodes, 6 edges, 5 operations (Dong & Yang, ICLR 2020, arXiv:2001.00326)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from znas_engine.errors import InvalidValueError, unknown_choice
from znas_engine.graph import Builder, Graph, Slot
from znas_engine.spaces.base import Edge, Genotype, Macro, Mask, SearchSpace, check_resolution

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = tuple(Edge("cell", source, target) for target in (1, 2, 3) for source in range(target))


@dataclass(frozen=True, slots=True)
class NasBench201Genotype(Genotype):
    """One operation per edge, in the order of `EDGES`."""

    operations: tuple[str, ...]

    def __str__(self) -> str:
        nodes = []
        for target in (1, 2, 3):
            terms = [
                f"{operation}~{edge.source}"
                for edge, operation in zip(EDGES, self.operations, strict=True)
                if edge.target == target
            ]
            nodes.append(f"|{'|'.join(terms)}|")
        return "+".join(nodes)

    def structure(self) -> list[list[list[Any]]]:
        """[[[operation, source], ...] for each of nodes 1, 2, 3]"""
        return [
            [
                [op, edge.source]
                for edge, op in zip(EDGES, self.operations, strict=True)
                if edge.target == node
            ]
            for node in (1, 2, 3)
        ]


class NasBench201(SearchSpace[NasBench201Genotype]):
    """The cell-based space whose 15,625 members were all trained."""

    name = "nasbench201"
    operations = OPERATIONS
    edges = EDGES
    selectable = (True,) * len(OPERATIONS)

    def search_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=16, cells=5, resolution=resolution, classes=classes)

    evaluation_macro = search_macro

    def supernet(self, macro: Macro) -> Graph:
        return _build(macro, [[(o, (e, o)) for o in range(len(OPERATIONS))] for e in range(len(EDGES))])

    def network(self, genotype: NasBench201Genotype, macro: Macro) -> Graph:
        return _build(macro, [[(OPERATIONS.index(name), None)] for name in genotype.operations])

    def parse(self, text: str) -> NasBench201Genotype:
        nodes = text.strip().split("+")
        found: dict[tuple[int, int], str] = {}
        for target, node in enumerate(nodes, start=1):
            terms = node.removeprefix("|").removesuffix("|").split("|")
            for term in terms:
                match = re.fullmatch(r"(\w+)~([0-2])", term)
                if match is None or (int(match[2]), target) in found:
                    raise _malformed(text)
                if match[1] not in OPERATIONS:
                    raise unknown_choice("NAS-Bench-201 operation", match[1], OPERATIONS)
                found[int(match[2]), target] = match[1]
        if set(found) != {(edge.source, edge.target) for edge in EDGES}:
            raise _malformed(text)
        return NasBench201Genotype(tuple(found[edge.source, edge.target] for edge in EDGES))

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

    def connected(self, genotype: NasBench201Genotype) -> bool:
        """Whether the cell's input reaches its output by some path without `none`."""
        reached = {0}
        for edge, name in zip(EDGES, genotype.operations, strict=True):
            if name != "none" and edge.source in reached:
                reached.add(edge.target)
        return 3 in reached


def _malformed(text: str) -> InvalidValueError:
    example = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
    return InvalidValueError(f"not a NAS-Bench-201 architecture: {text[:120]!r}; expected the form {example}")


def _build(macro: Macro, candidates: list[list[tuple[int, Slot | None]]]) -> Graph:
    """Stem, 3 stages of `macro.cells` cells with a residual block between stages, classifier.

    candidates: per edge the (operation, slot) pairs that stand on it.
    """
    check_resolution("nasbench201", macro.resolution, 4)
    b = Builder()
    x = b.input(3, macro.resolution)
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
