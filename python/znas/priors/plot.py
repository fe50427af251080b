"""A picture of a prior: mean and deviation of every neuron."""

from __future__ import annotations

import numpy as np

from znas.output.figures import canvas, png
from znas.priors.base import Prior


def plot(prior: Prior) -> bytes:
    """Two heat maps, edges by operations, as a PNG."""
    space = prior.space
    figure, panels = canvas(1, 2, width=12, height=2 + 0.3 * len(space.edges))
    for axes, values, title in zip(
        panels[0],
        (prior.mean, np.sqrt(prior.variance)),
        (f"mean {prior.score}", "standard deviation"),
        strict=True,
    ):
        image = axes.imshow(values, aspect="auto", cmap="viridis")
        axes.set_title(f"{space.name}: {title}")
        axes.set_xticks(range(len(space.operations)), space.operations, rotation=45, ha="right")
        axes.set_yticks(range(len(space.edges)), [edge.label for edge in space.edges])
        figure.colorbar(image, ax=axes)
    return png(figure)
