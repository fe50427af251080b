"""Path norm of cells: the total weight of all paths through every cell, each judged by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from znas_engine.environment import Environment
from znas_engine.graph import Concat, Conv, Graph, Linear, Mixed, Node
from znas_engine.scores.base import StaticScore
from znas_engine.spaces.base import Mask

Floats = NDArray[np.float64]


class CellPathNorm(StaticScore):
    """sum over cells of log(1 + mean output of the cell whose inputs are ones), under the absolute weights.

    `PathNorm` multiplies cells that follow one another, and where a cell also reads the one before the last,
    as in DARTS, paths around a cell hide what is in it. Here every cell starts from ones and counts alike,
    however deep it stands: what is left is how many operations with weights follow one another within
    cells, and how wide they are. A cell that passes nothing on counts as 0.
    """

    name = "cell_path_norm"

    def prepare(self, graph: Graph, environment: Environment) -> Callable[[Mask], float]:
        many = self.prepare_many(graph, environment)
        return lambda mask: float(many(mask[None])[0])

    def prepare_many(self, graph: Graph, environment: Environment) -> Callable[[Mask], Floats]:
        stem, *cells = graph.cells
        gains = {
            i: np.abs(environment.weight(node)).sum((2, 3), dtype=np.float64)
            for i, node in enumerate(graph.nodes)
            if isinstance(node, Conv)
        }

        def values(masks: Mask) -> Floats:
            found = np.zeros(len(masks))
            known: dict[int, Floats] = {}
            for i, node in enumerate(graph.nodes[: graph.cells[-1] + 1]):
                x = _value(node, [known[j] for j in node.inputs], gains.get(i), masks)
                if i in cells:
                    found += np.log1p(x.mean(1))
                known[i] = np.ones((1, x.shape[1])) if i == stem or i in cells else x
            return found

        return values


def _value(node: Node, read: list[Floats], gain: Floats | None, masks: Mask) -> Floats:
    """What a node makes of channels [G, C] that have the same value at all pixels: with it, pools, ReLU and
    normalisation are the identity. [1, C]: the same under every mask."""
    match node:
        case Mixed():
            total = np.zeros((len(masks), node.shape[0]))
            for x, slot in zip(read, node.slots, strict=True):
                total += x if slot is None else masks[:, slot[0], slot[1], None] * x
            return total
        case Concat():
            rows = max(map(len, read))
            return np.concatenate([np.broadcast_to(x, (rows, x.shape[1])) for x in read], axis=1)
        case Conv():
            assert gain is not None
            grouped = read[0].reshape(len(read[0]), node.groups, -1)
            weights = gain.reshape(node.groups, -1, grouped.shape[2])
            # A product per mask: of one over all masks the last bits would hang on how many there are.
            product: Floats = np.matmul(weights, grouped[..., None])
            return product.reshape(len(read[0]), -1)
        case Linear():
            raise AssertionError(f"the classifier {node.name} is in no cell")
        case _:
            return read[0] if read else np.ones((1, node.shape[0]))
