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
from znas.output.figures import LINE, QUIET, SERIES, TEXT, canvas, label, legend, png, style
from znas.output.scales import focus

Floats = NDArray[np.float64]
#: Characters of a name and of a line of a title; how far outputs are shown, in units of their deviation; how
#: many times longer outliers must make an axis to be left out: what is asked is whether there are any.
NAME, WRAP, REACH, GAIN = 40, 46, 5, 8.0
NORMAL, COLOURS = SERIES[1], {"observed": LINE, "drawn": SERIES[0]}


def figure(rows: int, columns: int, *, width: float = 3.4, height: float = 2.7) -> tuple[Any, Any]:
    """(figure, axes [rows, columns]), inches per panel."""
    return canvas(rows, columns, width=1 + width * columns, height=0.8 + height * rows)


def quantiles(found: Sequence[Activations]) -> bytes:
    return png(draw_quantiles(found))


@style()
def draw_quantiles(found: Sequence[Activations]) -> Any:
    """Standardised outputs against normal quantiles: a Gaussian lies on the diagonal. One row per
    initialisation, one column per reading, one line per site, darker the deeper."""
    from scipy.special import ndtri

    drawn, panels = figure(len(found), len(READINGS))
    depths = [site.depth for site in found[0].sites]
    first, last = min(depths), max(depths)
    for row, activations in zip(panels, found, strict=True):
        for axes, (reading, (what, _)) in zip(row, READINGS.items(), strict=True):
            for site, values in zip(activations.sites, activations.values[reading], strict=True):
                if values.std() == 0:
                    continue
                ordered = np.sort((values - values.mean()) / values.std())
                expected = ndtri((np.arange(len(ordered)) + 0.5) / len(ordered))
                shade = str(0.7 * (last - site.depth) / max(last - first, 1))
                name = {last: "last layer", first: "first layer"}.get(site.depth)
                axes.plot(expected, ordered, color=shade, linewidth=0.8, label=name)
            axes.plot([-3, 3], [-3, 3], color=NORMAL, linestyle="--", label="normal")
            axes.set_ylim(-REACH, REACH)
            _title(axes, f"{activations.init} weights: {reading}\n{what}")
    drawn.supxlabel(f"normal quantile ({label(found[0].source, NAME)} images)", fontsize=9)
    drawn.supylabel(f"standardised output, from -{REACH} to {REACH}", fontsize=9)
    legend(drawn)
    return drawn


def _title(axes: Any, text: str) -> None:
    lines = [textwrap.wrap(label(line, 2 * WRAP), WRAP) for line in text.splitlines()]
    axes.set_title("\n".join(part for line in lines for part in line), fontsize=8)


def _histogram(axes: Any, parts: Sequence[Floats], title: str, names: Sequence[str]) -> None:
    """Stacked densities of the parts of one sample, and the normal fitted to all of them."""
    together = np.concatenate(parts)
    mean, std = together.mean(), together.std()
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
    facts = f"mean {mean:.4g}, deviation {std:.3g}"
    if std == 0:
        axes.axvline(mean, color=TEXT)
        _title(axes, f"{title}\n{facts}")
        return
    low, high = focus(together, gain=GAIN)
    beyond = int(np.sum((together < low) | (together > high)))
    _title(axes, f"{title}\n{facts}" + (f"\n{beyond} of {len(together)} beyond the axis" if beyond else ""))
    if not beyond:
        low, high = focus(together, keep=(mean - 3 * std, mean + 3 * std), gain=GAIN)
    edges = np.linspace(max(low, together.min()), min(high, together.max()), 21)
    each = np.full(len(parts), 1 / len(together) / (edges[1] - edges[0]))
    weights = [np.full(len(part), share) for part, share in zip(parts, each, strict=True)]
    look = {"edgecolor": QUIET, "linewidth": 0.4, "color": [COLOURS[name] for name in names]}
    axes.hist(parts, bins=edges, weights=weights, stacked=True, label=list(names), **look)
    x = np.linspace(low, high, 200)
    density = np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
    axes.plot(x, density, color=NORMAL, label="fitted normal")
    axes.set_xlim(low, high)


def observed_and_intervened(found: Sequence[Intervened], score: str) -> bytes:
    return png(draw_intervened(found, score))


@style()
def draw_intervened(found: Sequence[Intervened], score: str) -> Any:
    """The paper's Figure 2: V of every neuron in the environments together, observed or drawn, one row per
    initialisation, one column per p."""
    inits = list(dict.fromkeys(one.init for one in found))
    ps = list(dict.fromkeys(one.p for one in found))
    drawn, panels = figure(len(inits), len(ps), width=2.8)
    for one in found:
        parts = [one.values[:, ~one.drawn].ravel(), one.values[:, one.drawn].ravel()]
        axes = panels[inits.index(one.init)][ps.index(one.p)]
        _histogram(axes, parts, f"{one.init} weights, p = {one.p:g}", ["observed", "drawn"])
    drawn.supxlabel(label(f"V = {score}"), fontsize=9)
    legend(drawn)
    return drawn


def neurons_and_ensemble(activations: Sequence[Activations], scores: Sequence[ScoreSamples]) -> bytes:
    return png(draw_neurons(activations, scores))


@style()
def draw_neurons(activations: Sequence[Activations], scores: Sequence[ScoreSamples]) -> Any:
    """The paper's Figure 3: three neurons of one edge and their ensemble. Per initialisation one row of their
    outputs (over weights and images) and one of their scores (over environments)."""
    drawn, panels = figure(2 * len(scores), 4, width=2.8)
    for i, (outputs, score) in enumerate(zip(activations, scores, strict=True)):
        values = outputs.values["both"]
        roles = [site.role for site in outputs.sites]
        ensemble = roles.index(ENSEMBLE)
        neurons = [j for j in range(ensemble) if roles[j] == NEURON][-3:]
        for axes, j in zip(panels[2 * i], [*neurons, ensemble], strict=True):
            _histogram(axes, [values[j]], f"output, {outputs.init}\n{outputs.sites[j].label}", ["observed"])
        chosen = [*list(score.neurons.items())[-3:], next(iter(score.ensembles.items()))]
        for axes, (name, sample) in zip(panels[2 * i + 1], chosen, strict=True):
            _histogram(axes, [sample], f"V, {score.init}\n{name}", ["observed"])
    legend(drawn)
    return drawn


def architectures(scores: Sequence[ScoreSamples], trained: Floats | None) -> bytes:
    return png(draw_architectures(scores, trained))


@style()
def draw_architectures(scores: Sequence[ScoreSamples], trained: Floats | None) -> Any:
    """Equation 2: V of random architectures, and the accuracies of trained ones where there is a table."""
    drawn, panels = figure(1, len(scores) + (trained is not None))
    for axes, score in zip(panels[0], scores, strict=False):
        _histogram(axes, [score.architectures], f"V of random architectures, {score.init}", ["observed"])
    if trained is not None:
        _histogram(panels[0][-1], [trained], "accuracy of trained architectures", ["observed"])
    legend(drawn)
    return drawn
