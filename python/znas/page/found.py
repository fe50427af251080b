"""What was found: the architecture, its size, its cells as graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from znas import summary
from znas.costs.counts import memory
from znas.costs.quantities import against, in_words
from znas.output import Code, Facts, Heading, Paragraph, Part, Picture, Pictures, Table
from znas.page import drawn
from znas.page.cell import MOST, Cell, cells_of, title
from znas.page.gathered import Run
from znas.result import SearchResult
from znas_engine.graph import Graph


def parts(runs: Sequence[Run]) -> Iterator[Part]:
    """Of one run, or of several beside one another."""
    yield Heading("What was found")
    if len(runs) == 1:
        (run,) = runs
        yield from head(run)
        yield Facts([(k, v) for k, v in summary.facts(run.result) if k in ("network", "limits", "images")])
        return
    yield _sizes(runs)
    yield from _pictures(runs)


def head(run: Run) -> Iterator[Part]:
    """The architecture, the numbers that one asks for first, and the cells."""
    yield Code(run.result.arch)
    yield Facts(_numbers(run), large=True)
    yield from _pictures([run])


def _numbers(run: Run) -> list[tuple[str, str]]:
    result = run.result
    found = [("parameters", f"{result.params:,}"), ("multiply-accumulates", in_words("flops", result.flops))]
    found.append(("of activations", in_words("memory", memory(_graph(result)))))
    latency = latency_of(result)
    if latency is not None:
        found.append((f"on {latency[1]}", in_words("latency", latency[0])))
    if run.standing is not None:
        own = run.standing.placed[0]
        found.append((f"of {len(run.standing.random)} random ones are worse", f"{own.percentile:.1f} %"))
    return found


def latency_of(result: SearchResult) -> tuple[float, str] | None:
    """(milliseconds, target) where the search measured it, for a limit or for its front."""
    for limit in result.limits:
        if limit.cost == "latency" and limit.target is not None:
            return limit.value, limit.target
    asked = result.request.pareto
    name, target = against(asked) if asked is not None else ("", None)
    for point in result.front:
        if name == "latency" and target is not None and point.arch == result.arch:
            return point.cost, target
    return None


def _graph(result: SearchResult) -> Graph:
    network: Graph = result.space.network(result.genotype, result.macro)
    return network


def _sizes(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        result, latency = run.result, latency_of(run.result)
        rows.append(
            [
                run.name,
                result.space.name,
                f"{result.params:,}",
                in_words("flops", result.flops),
                in_words("memory", memory(_graph(result))),
                "" if latency is None else f"{in_words('latency', latency[0])} on {latency[1]}",
                result.arch,
            ]
        )
    headings = [
        "run",
        "space",
        "parameters",
        "multiply-accumulates",
        "activations",
        "latency",
        "architecture",
    ]
    return Table(headings, rows, left=(0, 1, len(headings) - 1))


def _pictures(runs: Sequence[Run]) -> Iterator[Part]:
    """All cells of all runs."""
    found, missing = [], 0
    for run in runs:
        cells = cells_of(run.result.space, run.result.genotype)
        of = f"{run.name}: " if len(runs) > 1 else ""
        pictures = [_picture(cell, cells, of) for cell in cells if len(cell.terms) <= MOST]
        found += [each for each in pictures if each is not None]
        missing += len(cells) - sum(each is not None for each in pictures)
    if found:
        yield Pictures(found)
    if missing:
        yield Paragraph(
            f"Not drawn: {missing} of the cells, with more than {MOST} operations or a way that runs in a "
            "circle."
        )


def _picture(cell: Cell, cells: Sequence[Cell], of: str) -> Picture | None:
    """of: which run, before what the cell is called."""
    dead = [term for term in cell.terms if not term.computes]
    faint = f"; faint: {dead[0].operation}, which adds nothing" if dead else ""
    name = title(cell, cells)
    return drawn.cell(cell, f"{of}{name if of else name[0].upper() + name[1:]}{faint}")
