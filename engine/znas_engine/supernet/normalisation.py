"""What a normalisation layer does in a network that was never trained (DESIGN: `norm=`).

    y = (x - mean) / sqrt(variance + EPSILON), per channel, no affine parameters

calibrated  mean and (biased) variance were measured once per environment, under the mixture, on the first
            `CHUNK` images of the environment's batch; frozen afterwards. What the mixture does not reach
            has those of `identity`.
batch       mean and variance of the images in hand, at every pass: chunks of at most `CHUNK` images.
identity    mean 0, variance 1: the running estimate of a network that has seen nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import choice
from znas_engine.graph import Graph

NORMS = ("calibrated", "batch", "identity")
EPSILON = 1e-5
#: Images that go through the network together. Part of the definition of `batch`; memory is bounded by it.
CHUNK = 64


def check_norm(norm: str) -> str:
    """`norm` itself, or InvalidValueError naming the nearest."""
    return choice("norm", norm, NORMS)


def chunks(images: int, size: int = CHUNK) -> list[slice]:
    """Splits a batch into the fewest chunks of at most `size` images, sizes differing by at most one."""
    count = -(-images // size)
    bounds = [images * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Frozen statistics: per `Norm` node (by its position in the graph) mean and variance, float32 [C]."""

    mean: dict[int, NDArray[np.float32]]
    variance: dict[int, NDArray[np.float32]]

    @classmethod
    def identity(cls, graph: Graph) -> Statistics:
        sizes = {i: graph.nodes[i].shape[0] for i in graph.norms()}
        return cls(
            {i: np.zeros(size, np.float32) for i, size in sizes.items()},
            {i: np.ones(size, np.float32) for i, size in sizes.items()},
        )

    @classmethod
    def unpack(cls, graph: Graph, flat: NDArray[np.float32], mixture: NDArray[np.float32]) -> Statistics:
        """flat: means, then variances, of the `Norm` nodes that reach the logits, float32 [2, channels]."""
        live, mixed = graph.live(None), graph.live(mixture)
        positions = [i for i in graph.norms() if live[i]]
        sizes = [graph.nodes[i].shape[0] for i in positions]
        if flat.shape != (2, sum(sizes)) or flat.dtype != np.float32:
            raise ValueError(f"statistics of shape {flat.shape} do not belong to this graph")
        statistics = cls.identity(graph)
        parts = np.split(flat, np.cumsum(sizes)[:-1], axis=1)
        for position, (mean, variance) in zip(positions, parts, strict=True):
            if mixed[position]:
                statistics.mean[position], statistics.variance[position] = mean, variance
        return statistics

    def pack(self) -> NDArray[np.float32]:
        """float32 [2, sum of channels]: all means, then all variances."""
        none = np.empty(0, np.float32)
        return np.stack([np.concatenate([none, *part.values()]) for part in (self.mean, self.variance)])
