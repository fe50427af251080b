"""What passes of the compiled executor hand out besides logits and codes: whole values, and variances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.backends.native_lowering import Lowering
from znas_engine.graph import Graph
from znas_engine.spaces import Mask

Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Maps:
    """positions, sites: of the values in the graph and in the program, those of `Graph.cells` first.
    features: how many of them. unpooled: the place of what the classifier averages, after a ReLU where
    `rectified`."""

    positions: tuple[int, ...]
    sites: list[int]
    features: int
    unpooled: int | None
    rectified: bool

    @classmethod
    def of(cls, graph: Graph, lowering: Lowering, reads: frozenset[str]) -> Maps:
        """reads: members of READS."""
        cells, sites = (graph.cells, [*lowering.features]) if "features" in reads else ((), [])
        positions, unpooled = [*cells], None
        if "unpooled" in reads:
            if lowering.unpooled not in sites:
                positions.append(lowering.last)
                sites.append(lowering.unpooled)
            unpooled = sites.index(lowering.unpooled)
        return cls(tuple(positions), sites, len(cells), unpooled, lowering.rectified)

    def named(self, found: Sequence[Map]) -> dict[str, Any]:
        """found: the values, float32 [n, C, H, W] each -> as `Observation` has them."""
        last = None if self.unpooled is None else self.rectify(found[self.unpooled])
        return {"features": tuple(found[: self.features]), "unpooled": last}

    def rectify(self, last: Map) -> Map:
        """What the classifier averages, of the value that it reads."""
        return np.maximum(last, 0) if self.rectified else last


def variances(
    graph: Graph, lowering: Lowering, mask: Mask, measured: Sequence[Sequence[float]]
) -> tuple[Map, ...]:
    """Of live normalisations, as `Observation` has them. measured: of all in `lowering.norms`."""
    live = graph.live(mask)
    of_norm: dict[int, Any] = (
        dict(zip(lowering.norms, measured, strict=True))
        if lowering.statistics is None
        else lowering.statistics.variance
    )
    return tuple(np.array(of_norm[i], np.float32) for i in graph.norms() if live[i])
