"""How good it is: where it stands among random architectures, and what was trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from znas.costs.quantities import in_words
from znas.output import Code, Heading, Notes, Paragraph, Part, Pictures, Table
from znas.page import plots
from znas.page.gathered import Placed, Run, Standing, Trained
from znas_engine.progress import duration


def parts(runs: Sequence[Run], trained: Sequence[Trained]) -> Iterator[Part]:
    """Measured standings; where there is none, which command measures it."""
    yield Heading("How good it is")
    for run in runs:
        if len(runs) > 1:
            yield Heading(run.name, 3)
        if run.standing is None:
            yield Paragraph(
                "Not measured here: where it stands among random architectures. This measures it, on weights "
                "and images that the search did not see:"
            )
            yield Code(f"znas-engine report {run.where} --out with-standing.html")
        else:
            yield from _standing(run.standing)
        rounds = [note for note in run.result.notes if note.startswith(("shortlist: ", "final round: "))]
        if rounds:
            yield Notes([f"within the search, {note}" for note in rounds])
    if trained:
        yield Heading("Trained", 3)
        yield _trained(trained)
    else:
        yield Notes(["no accuracy is known here: a score of an untrained network is a weak signal of it"])


def _standing(found: Standing) -> Iterator[Part]:
    several, limited = found.envs > 1, any(each.within is not None for each in found.placed)
    headings = ["architecture", "better than", *(["95 % interval"] if several else [])]
    headings += [f"of the {found.kept} within the limits"] if limited else []
    yield Table(
        [*headings, "score", "parameters", "multiply-accumulates"],
        [_row(each, several=several, limited=limited) for each in found.placed],
        caption=(
            f"{found.score}, measured anew on {found.envs} draws of weights and {found.images} images (seed "
            f"{found.seed}), among {len(found.random):,} random architectures, admitted and of different "
            "functions"
        ),
    )
    yield Pictures([plots.standing(found, "Score against size; each dot is a random architecture")])


def _row(placed: Placed, *, several: bool, limited: bool) -> list[str]:
    ends = "" if placed.low is None else f"{placed.low:.1f} to {placed.high:.1f} %"
    return [
        placed.name,
        f"{placed.percentile:.1f} %",
        *([ends] if several else []),
        *(["" if placed.within is None else f"{placed.within:.1f} %"] if limited else []),
        f"{placed.value:.4g}",
        f"{placed.params:,}",
        in_words("flops", placed.flops),
    ]


def _trained(trained: Sequence[Trained]) -> Table:
    best = max(range(len(trained)), key=lambda i: trained[i].accuracy)
    rows = [
        [
            each.name,
            f"{each.accuracy:.2%}",
            f"{each.interval[0]:.2%} to {each.interval[1]:.2%}",
            f"{each.deployed_accuracy:.2%}",
            f"{each.params:,}",
            in_words("flops", each.flops),
            f"{each.recipe}, {each.epochs:,} epochs, seed {each.seed}",
            duration(each.seconds),
        ]
        for each in trained
    ]
    judged = dict.fromkeys(f"{each.images:,} images: {each.judged}" for each in trained)
    return Table(
        [
            *("network", "accuracy", "95 % interval", "ONNX Runtime", "parameters", "multiply-accumulates"),
            *("trained by", "in"),
        ],
        rows,
        caption=f"accuracy on {'; '.join(judged)}",
        left=(0, 6),
        marked={(best, 1)} if len(trained) > 1 else (),
    )
