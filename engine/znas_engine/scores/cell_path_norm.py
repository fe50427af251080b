"""Path norm of cells: the total weight of all paths through every cell, each judged by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from znas_engine.environment import Environment
from znas_engine.graph import Graph
from znas_engine.scores.base import StaticScore
from znas_engine.scores.path_norm import Scaled, absolute_gains, log_of_one_more, walked
from znas_engine.spaces.base import Mask


class CellPathNorm(StaticScore):
    """sum over cells of log(1 + mean output of the cell whose inputs are ones), under the absolute weights.

    `PathNorm` multiplies cells that follow one another, and where a cell also reads the one before the last,
    as in DARTS, paths around a cell hide what is in it. Here every cell starts from ones and counts alike,
    however deep it stands: what is left is how many operations with weights follow one another within
    cells, and how wide they are. A cell that reaches no logit counts as 0.
    """

    name = "cell_path_norm"

    def prepare(self, graph: Graph, environment: Environment) -> Callable[[Mask], float]:
        gains = absolute_gains(graph, environment)
        stem, *cells = graph.cells

        def value(mask: Mask) -> float:
            parts: list[float] = []

            def add(scaled: Scaled) -> None:
                parts.append(log_of_one_more(scaled, np.mean))

            walked(graph, gains, mask, {stem: lambda scaled: None} | dict.fromkeys(cells, add))
            return sum(parts)

        return value
