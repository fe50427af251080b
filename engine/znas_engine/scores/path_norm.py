"""Path norm: the total weight of all paths from a pixel to the logits, without a pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from znas_engine.environment import Environment
from znas_engine.graph import Concat, Conv, Graph, Linear, Mixed, live_inputs
from znas_engine.scores.base import StaticScore
from znas_engine.spaces.base import Mask

#: Values of a node per channel are mantissa * 2**exponent, so that no depth overflows.
_Scaled = tuple[NDArray[np.float64], int]


class PathNorm(StaticScore):
    """log(1 + sum of the logits of an image of ones under the absolute weights, normalisation off).

    The l1 path norm of Neyshabur et al. (COLT 2015): the sum over all paths of the product of the
    absolute weights on it, and the forward half of SynFlow (Tanaka et al., NeurIPS 2020). The image is
    taken to have no border, so that every pixel of a feature map has the same value and a convolution is a
    matrix of sums over its kernel: exact for circular padding, a little more than with zeros around. The
    1 keeps disconnected architectures finite, and the order as it is.
    """

    name = "path_norm"

    def prepare(self, graph: Graph, environment: Environment) -> Callable[[Mask], float]:
        gains = {
            i: np.abs(environment.weight(node)).sum(tuple(range(2, len(node.weight_shape))), dtype=np.float64)
            for i, node in enumerate(graph.nodes)
            if isinstance(node, Conv | Linear)
        }

        def value(mask: Mask) -> float:
            total, exponent = _walk(graph, gains, mask)
            return float(np.logaddexp(0, np.log(total) + exponent * np.log(2))) if total > 0 else 0.0

        return value


def _walk(graph: Graph, gains: dict[int, NDArray[np.float64]], mask: Mask) -> tuple[float, int]:
    """Sum of the logits as mantissa and power of two."""
    live = graph.live(mask)
    values: dict[int, _Scaled] = {}
    for i, node in enumerate(graph.nodes):
        if not live[i]:
            continue
        if isinstance(node, Mixed):
            terms = [
                (values[j], 1.0 if slot is None else float(mask[slot]))
                for j, slot in zip(node.inputs, node.slots, strict=True)
                if slot is None or mask[slot] != 0
            ]
            exponent = max((e for (_, e), _ in terms), default=0)
            total = np.zeros(node.shape[0])
            for (x, e), weight in terms:
                total += weight * np.ldexp(x, e - exponent)
            values[i] = total, exponent
        elif isinstance(node, Concat):
            parts = [values[j] for j in node.inputs]
            exponent = max(e for _, e in parts)
            values[i] = np.concatenate([np.ldexp(x, e - exponent) for x, e in parts]), exponent
        elif isinstance(node, Conv | Linear):
            x, exponent = values[node.inputs[0]]
            groups = node.groups if isinstance(node, Conv) else 1
            y = np.matmul(gains[i].reshape(groups, -1, x.size // groups), x.reshape(groups, -1, 1)).ravel()
            shift = int(np.frexp(y.max())[1])
            values[i] = np.ldexp(y, -shift), exponent + shift
        elif inputs := list(live_inputs(node, mask)):
            values[i] = values[inputs[0]]  # of equal, positive pixels pools, ReLU and mean are the identity
        else:
            values[i] = np.ones(node.shape[0]), 0
    logits, exponent = values[len(graph.nodes) - 1]
    return float(logits.sum()), exponent
