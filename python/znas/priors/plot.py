"""A picture of a prior: mean and deviation of every neuron."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from znas.priors.base import Prior
from znas_engine.errors import MissingDependencyError, StorageError
from znas_engine.spaces import get_space


def plot(prior: Prior, path: Path) -> None:
    """Two heat maps, edges by operations, as a PNG. Imports matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("plots need matplotlib: pip install 'znas-engine[plots]'") from error
    space = get_space(prior.space)
    figure = Figure(figsize=(12, 2 + 0.3 * len(space.edges)), layout="constrained")
    for axes, values, title in zip(
        figure.subplots(1, 2),
        (prior.mean, np.sqrt(prior.variance)),
        (f"mean {prior.score}", "standard deviation"),
        strict=True,
    ):
        image = axes.imshow(values, aspect="auto", cmap="viridis")
        axes.set_title(f"{prior.space}: {title}")
        axes.set_xticks(range(len(space.operations)), space.operations, rotation=45, ha="right")
        axes.set_yticks(range(len(space.edges)), [edge.label for edge in space.edges])
        figure.colorbar(image, ax=axes)
    try:
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise StorageError(f"the picture {path} cannot be written ({error.strerror or error})") from error
