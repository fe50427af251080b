"""A picture of a prior: mean and deviation of every neuron."""

from __future__ import annotations

from typing import Any

import numpy as np

from znas.output.figures import canvas, label, png, style
from znas.output.heat import heat_map, size
from znas.priors.base import Prior


def plot(prior: Prior) -> bytes:
    """Two heat maps, edges by operations, as a PNG."""
    return png(drawing(prior))


@style()
def drawing(prior: Prior) -> Any:
    space = prior.space
    edges, operations = [edge.label for edge in space.edges], space.operations
    width, height = size(len(edges), len(operations))
    drawn, panels = canvas(1, 2, width=2 * width, height=height)
    for axes, values, title, digits in zip(
        panels[0],
        (prior.mean, np.sqrt(prior.variance)),
        (f"mean of {prior.score}", "standard deviation"),
        (5, 3),
        strict=True,
    ):
        heat_map(drawn, axes, np.asarray(values, np.float64), edges, operations, digits=digits)
        unknown = "; grey: none is known" if np.isnan(values).any() else ""
        axes.set_title(label(f"{space.name}: {title}{unknown}", 60))
    return drawn
