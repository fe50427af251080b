"""The diagrams of a page: where an architecture stands among random ones, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas.output import Picture
from znas.output.figures import QUIET, SERIES, canvas, label, place_labels, style, svg
from znas.page.gathered import Run, Standing

#: Of a diagram, in inches.
WIDTH = 6.5
#: Characters of a run's name beside its bar, and of a score along its axis, at most.
NAME, SCORE = 24, 44


@style()
def standing(found: Standing, caption: str) -> Picture:
    """Parameters against score: random architectures as dots, what stands among them by name."""
    drawn, panels = canvas(1, 1, width=WIDTH, height=3.9)
    axes = panels[0, 0]
    params, values = np.array(found.random).T
    axes.plot(params / 1e6, values, "o", color=QUIET, markersize=3.5, alpha=0.6, markeredgewidth=0)
    own, *others = found.placed
    for each in others:
        axes.plot(each.params / 1e6, each.value, "D", color=SERIES[1], markersize=7)
    axes.plot(own.params / 1e6, own.value, "*", color=SERIES[0], markersize=16)
    axes.set_xlabel("million parameters")
    axes.set_ylabel(label(found.score, SCORE))
    axes.margins(0.12)
    axes.grid(alpha=0.5)
    names = {(each.params / 1e6, each.value): each.name for each in reversed(found.placed)}
    place_labels(axes, list(names), list(names.values()))
    words = "; ".join(
        f"{each.name}: {each.params:,} parameters, better than {each.percentile:.1f} % of the random ones"
        for each in found.placed
    )
    return Picture(svg(drawn, title=caption, description=words), caption, WIDTH)


#: The fields of `Seconds` that are phases, and what they are called.
PHASES = {"setup": "set-up", "evaluate": "evaluation", "select": "selection"}
COLOURS = (SERIES[3], SERIES[0], SERIES[2])


@style()
def timeline(runs: Sequence[Run], caption: str) -> Picture:
    """One bar per run, as long as it took, in its phases."""
    drawn, panels = canvas(1, 1, width=WIDTH, height=0.85 + 0.28 * len(runs))
    axes = panels[0, 0]
    starts = np.zeros(len(runs))
    for (phase, called), colour in zip(PHASES.items(), COLOURS, strict=True):
        seconds = np.array([getattr(run.result.seconds, phase) for run in runs])
        axes.barh(np.arange(len(runs)), seconds, 0.6, left=starts, color=colour, label=called, linewidth=0)
        starts += seconds
    names = [label(run.name, NAME) for run in runs] if len(runs) > 1 else [""]
    axes.set_yticks(range(len(runs)), names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("seconds")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderaxespad=0)
    words = "; ".join(f"{run.name}: {phases_in_words(run)}" for run in runs)
    return Picture(svg(drawn, title=caption, description=words), caption, WIDTH)


def phases_in_words(run: Run) -> str:
    """`0.03 s set-up, 6.76 s evaluation, 25.4 s selection`"""
    each = (f"{getattr(run.result.seconds, phase):.3g} s {called}" for phase, called in PHASES.items())
    return ", ".join(each)
