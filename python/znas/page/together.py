"""Several runs side by side: what they agree on, and what they were asked differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from znas.output import Heading, Paragraph, Part, Table
from znas.page.gathered import Run

#: How dark an edge is on which all agree.
AGREED = 0.35


def parts(runs: Sequence[Run]) -> Iterator[Part]:
    """Per space the operations of every edge, and the settings in which the runs differ."""
    yield Heading("What they agree on")
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.result.space.name, *(edge.edge for edge in run.result.edges)), []).append(run)
    for labels, group in groups.items():
        if len(groups) > 1:
            yield Heading(f"The space {labels[0]}", 3)
        if len(group) == 1:
            yield Paragraph(f"{group[0].name} is alone in the space {labels[0]}.")
            continue
        agreed = agreement(group)
        yield Paragraph(
            f"{len(group)} runs have the same operation on {sum(agreed)} of {len(agreed)} edges, and "
            f"{len({run.result.arch for run in group})} different architectures."
        )
        yield _edges(group, agreed)
    different = differing(runs)
    if different:
        yield Table(
            ["asked", *(run.name for run in runs)],
            [[name, *values] for name, values in different.items()],
            caption="what was asked differently; empty: not asked, so that the preset or the data decide",
            left=range(1 + len(runs)),
        )
    else:
        yield Paragraph("All were asked the same.")


def agreement(runs: Sequence[Run]) -> list[bool]:
    """By edge, whether all runs of one space selected the same there, or all left it out."""
    return [
        len({_selected(edge) for edge in edges}) == 1
        for edges in zip(*(r.result.edges for r in runs), strict=True)
    ]


def _selected(edge: Any) -> str | None:
    return edge.selected if edge.kept else None


def _edges(runs: Sequence[Run], agreed: Sequence[bool]) -> Table:
    rows = [
        [edges[0].edge, *(_selected(edge) or "not kept" for edge in edges), "yes" if same else ""]
        for edges, same in zip(zip(*(run.result.edges for run in runs), strict=True), agreed, strict=True)
    ]
    return Table(
        ["edge", *(run.name for run in runs), "agreed"],
        rows,
        caption="the operation on every edge; coloured where all have the same",
        left=range(2 + len(runs)),
        shades={
            (row, 1 + column): AGREED
            for row, same in enumerate(agreed)
            if same
            for column in range(len(runs))
        },
    )


def differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    """By field of the request in which the runs differ, the value of each."""
    asked = [run.result.request.to_dict() for run in runs]
    return {
        name: ["" if each[name] is None else str(each[name]) for each in asked]
        for name in asked[0]
        if any(each[name] != asked[0][name] for each in asked)
    }
