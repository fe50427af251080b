"""Why this one: the worth of every operation on every edge, what was observed and what drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from znas import summary
from znas.output import Facts, Heading, Notes, Paragraph, Part, Table
from znas.page.gathered import Run
from znas.result import SearchResult


def parts(runs: Sequence[Run]) -> Iterator[Part]:
    """A heat map of every run."""
    yield Heading("Why")
    yield Paragraph(
        "The worth of every operation on every edge, by the random supernet; the line above the numbers says "
        "how it is measured. The stronger its colour, the larger among all edges; a `~` was drawn "
        "from a prior instead of measured. Stability: in which share of environments and scores the selected "
        "operation alone would have won."
    )
    for run in runs:
        if len(runs) > 1:
            yield Heading(run.name, 3)
        yield heat_map(run.result)
        if run.result.sure is not None:
            yield Paragraph(
                "Whole architectures were compared. What an operation adds is estimated from them and "
                "decided nothing, so that what is selected need not be the strongest of its row."
            )
        elif run.result.method["finalists"] > 1 or run.result.limits:
            yield Paragraph(
                "These worths chose who was compared; the comparison of whole architectures, or a limit, had "
                "the last word, so that what is selected need not be the strongest of its row."
            )
        asked = ("neurons", "passes", "sure", "race", "ensembles")
        yield Facts([(name, said) for name, said in summary.facts(run.result) if name in asked])
        notes = [
            note
            for note in run.result.notes
            if not note.startswith(("shortlist: ", "final round: ", "front: "))
        ]
        if notes:
            yield Notes(notes)


def heat_map(result: SearchResult) -> Table:
    """The table of worths, shaded, with the stability of every edge."""
    table = summary.worths(result)
    names = list(dict.fromkeys(name for edge in result.edges for name in edge.operations))
    values = {
        (row, 1 + names.index(name)): summary.worth_of(report)
        for row, edge in enumerate(result.edges)
        for name, report in edge.operations.items()
    }
    low, high = min(values.values()), max(values.values())
    span = high - low or 1.0
    return replace(
        table,
        headings=[*table.headings, "stability"],
        rows=[[*row, f"{edge.stability:.0%}"] for row, edge in zip(table.rows, result.edges, strict=True)],
        shades={place: (value - low) / span for place, value in values.items()},
    )
