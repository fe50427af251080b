"""Pictures of a diagnosis as PNG bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.diagnose.distributions import READINGS, Activations, ScoreSamples
from znas.diagnose.lemmas import Intervened
from znas.diagnose.sites import ENSEMBLE, NEURON
from znas.output.figures import canvas, png

Floats = NDArray[np.float64]


def figure(rows: int, columns: int, *, width: float = 3.2, height: float = 2.6) -> tuple[Any, Any]:
    """(figure, axes [rows, columns]), inches per panel."""
    return canvas(rows, columns, width=1 + width * columns, height=0.6 + height * rows)


def quantiles(found: Sequence[Activations]) -> bytes:
    """Standardised outputs against normal quantiles: a Gaussian lies on the diagonal. One row per
    initialisation, one column per reading, one line per site, darker the deeper."""
    from scipy.special import ndtri

    drawn, axes = figure(len(found), len(READINGS))
    deepest = max(site.depth for site in found[0].sites)
    for row, activations in zip(axes, found, strict=True):
        for axis, (reading, (what, _)) in zip(row, READINGS.items(), strict=True):
            for site, values in zip(activations.sites, activations.values[reading], strict=True):
                if values.std() == 0:
                    continue
                ordered = np.sort((values - values.mean()) / values.std())
                expected = ndtri((np.arange(len(ordered)) + 0.5) / len(ordered))
                shade = str(0.8 * (1 - site.depth / deepest))
                axis.plot(expected, ordered, color=shade, linewidth=0.8)
            axis.plot([-3, 3], [-3, 3], color="tab:red", linestyle="--", linewidth=0.8)
            axis.set_ylim(-5, 5)
            axis.set_title(f"{activations.init} weights: {reading}\n{what}", fontsize=7)
            axis.tick_params(labelsize=6)
    drawn.supxlabel(f"normal quantile ({found[0].source} images)", fontsize=8)
    drawn.supylabel("standardised output", fontsize=8)
    return png(drawn)


def _histogram(axis: Any, parts: Sequence[Floats], title: str, colours: Sequence[str]) -> None:
    """Stacked densities of the parts of one sample, and the normal fitted to all of them."""
    together = np.concatenate(parts)
    mean, std = together.mean(), together.std()
    heading = "\n".join(textwrap.fill(line, 38) for line in title.splitlines())
    axis.set_title(f"{heading}\nmean {mean:.4g}, deviation {std:.3g}", fontsize=7)
    axis.tick_params(labelsize=6)
    axis.set_yticks([])
    if std == 0:
        axis.axvline(mean, color="black")
        return
    edges = np.linspace(together.min(), together.max(), 21)
    weights = [np.full(len(part), 1 / len(together) / (edges[1] - edges[0])) for part in parts]
    axis.hist(
        parts, bins=edges, weights=weights, stacked=True, color=colours, edgecolor="black", linewidth=0.4
    )
    x = np.linspace(mean - 4 * std, mean + 4 * std, 200)
    density = np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
    axis.plot(x, density, color="tab:red", linewidth=0.8)


def observed_and_intervened(found: Sequence[Intervened], score: str) -> bytes:
    """The paper's Figure 2: V of every neuron in the environments together, observed (white) or drawn (blue),
    one row per initialisation, one column per p."""
    inits = list(dict.fromkeys(one.init for one in found))
    ps = list(dict.fromkeys(one.p for one in found))
    drawn, axes = figure(len(inits), len(ps), width=2.6)
    for one in found:
        parts = [one.values[:, ~one.drawn].ravel(), one.values[:, one.drawn].ravel()]
        axis = axes[inits.index(one.init)][ps.index(one.p)]
        _histogram(axis, parts, f"{one.init} weights, p = {one.p:g}", ["white", "tab:blue"])
    drawn.supxlabel(f"V = {score}: observed white, drawn blue; red the fitted normal", fontsize=8)
    return png(drawn)


def neurons_and_ensemble(activations: Sequence[Activations], scores: Sequence[ScoreSamples]) -> bytes:
    """The paper's Figure 3: three neurons of one edge and their ensemble. Per initialisation one row of their
    outputs (over weights and images) and one of their scores (over environments)."""
    drawn, axes = figure(2 * len(scores), 4, width=2.6)
    for i, (outputs, score) in enumerate(zip(activations, scores, strict=True)):
        values = outputs.values["both"]
        roles = [site.role for site in outputs.sites]
        ensemble = roles.index(ENSEMBLE)
        neurons = [j for j in range(ensemble) if roles[j] == NEURON][-3:]
        for axis, j in zip(axes[2 * i], [*neurons, ensemble], strict=True):
            _histogram(axis, [values[j]], f"output, {outputs.init}\n{outputs.sites[j].label}", ["white"])
        chosen = [*list(score.neurons.items())[-3:], next(iter(score.ensembles.items()))]
        for axis, (label, sample) in zip(axes[2 * i + 1], chosen, strict=True):
            _histogram(axis, [sample], f"V, {score.init}\n{label}", ["white"])
    return png(drawn)


def architectures(scores: Sequence[ScoreSamples], trained: Floats | None) -> bytes:
    """Equation 2: V of random architectures, and the accuracies of trained ones where there is a table."""
    drawn, axes = figure(1, len(scores) + (trained is not None))
    for axis, score in zip(axes[0], scores, strict=False):
        _histogram(axis, [score.architectures], f"V of random architectures, {score.init}", ["white"])
    if trained is not None:
        _histogram(axes[0][-1], [trained], "accuracy of trained architectures", ["white"])
    return png(drawn)
