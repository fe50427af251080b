"""One page about searches: what was found, how good it is, why, what it cost, how to use and to repeat it."""

from __future__ import annotations

from znas.output import Document
from znas.page import cost, found, standing, together, use, why
from znas.page.gathered import Gathered, Placed, Run, Standing, Trained
from znas.result import SearchResult

__all__ = ["Gathered", "Placed", "Run", "Standing", "Trained", "document", "head"]


def document(gathered: Gathered) -> Document:
    """The whole page, of one run or of several side by side; its data is all that is on it."""
    runs = gathered.runs
    parts = [*found.parts(runs)]
    if len(runs) > 1:
        parts += together.parts(runs)
    parts += [
        *standing.parts(runs, gathered.trained),
        *why.parts(runs),
        *cost.parts(runs),
        *cost.fronts(runs),
    ]
    parts += [*use.parts(runs), *use.again(runs)]
    space = runs[0].result.space.name
    title = (
        f"An architecture of the space {space}" if len(runs) == 1 else f"{len(runs)} searches side by side"
    )
    return Document(title, parts, gathered.to_dict())


def head(result: SearchResult) -> Document:
    """Of one result its architecture, its size and its cells: what a page begins with."""
    run = Run("run", ".", result)
    return Document(
        f"An architecture of the space {result.space.name}", list(found.head(run)), result.to_dict()
    )
