"""What it cost to find, and what a higher score costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from znas import front, summary
from znas.output import Facts, Heading, Part, Pictures, Table
from znas.page import plots
from znas.page.gathered import Run


def parts(runs: Sequence[Run]) -> Iterator[Part]:
    """Passes, and seconds by phase as a timeline."""
    yield Heading("What it cost")
    if len(runs) == 1:
        result = runs[0].result
        facts = dict(summary.facts(result))
        passes = f"{result.evaluations:,} masked passes over {result.conditions.images} images"
        named = [(name, facts[name]) for name in ("device", "precision", "seconds") if name in facts]
        yield Facts([("passes", passes), *named])
    else:
        yield _table(runs)
    yield Pictures([plots.timeline(runs, "Where the time went, by phase")])


def _table(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        result = run.result
        c, t = result.conditions, result.seconds
        seconds = [f"{each:.2f}" for each in (t.total, t.setup, t.evaluate, t.select)]
        counts = [f"{each:,}" for each in (result.evaluations, result.observed, result.intervened)]
        rows.append([run.name, *counts, *seconds, f"{c.backend} on {c.device}, {c.threads} threads"])
    headings = ["run", "masked passes", "observed", "intervened", "seconds", *plots.PHASES.values(), "where"]
    return Table(headings, rows, left=(0, len(headings) - 1))


def fronts(runs: Sequence[Run]) -> Iterator[Part]:
    """The front of every run that has one."""
    found = [run for run in runs if run.result.front and run.result.request.pareto]
    if not found:
        return
    yield Heading("The front of score against cost")
    for run in found:
        if len(runs) > 1:
            yield Heading(run.name, 3)
        result, asked = run.result, run.result.request.pareto
        assert asked is not None
        yield Pictures([front.picture(result.front, asked, result.arch)])
        yield front.table(result.front, asked, result.arch)
