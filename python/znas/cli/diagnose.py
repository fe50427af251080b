"""`znas-engine diagnose`"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from znas import jobs
from znas.cli.console import progress_bar, reporter, show
from znas.cli.options import CLUSTER, DATA, MACHINE, SIZE, Column, Json, Quiet, asks, check_read, path
from znas.cli.parts import sharded
from znas.diagnose import Diagnosis, Robustness
from znas.diagnose import diagnose as measure
from znas.diagnose import robustness as repeat
from znas.hooks import Hooks, Report
from znas.interventions.probability import parse_p
from znas.request import SHIPPED, Request
from znas.selection.strategies import GAME_CHOICES
from znas_engine.arguments import distinct
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import get_space
from znas_engine.supernet.initialisation import INITIALISATIONS
from znas_engine.supernet.normalisation import NORMS
from znas_engine.tables import Table, read_table

#: What is counted, and within one of these.
SEARCHES, SAMPLES = ("searches", "masked passes"), ("samples", "")
ALL_INITS, ALL_NORMS = ",".join(INITIALISATIONS), ",".join(NORMS)
Out = Annotated[
    Path, typer.Option(parser=path, help="New folder for report.md, report.html, JSON and pictures.")
]
Repeat = Annotated[
    bool, typer.Option("--robustness", help="Repeat the search instead: does it choose the same again?")
]
Inits = Annotated[
    str, typer.Option(help="Families of weights, separated by commas; the first is the base's.")
]
Ps = Annotated[str, typer.Option(help="Values of p (equation 8), separated by commas.")]
Envs = Annotated[
    int | None, typer.Option(help="Weight draws, the size of every sample (100); of one search (1).")
]
Images = Annotated[int | None, typer.Option(help="Images per weight draw (16); of the base (64).")]
Trained = Annotated[
    Path | None,
    typer.Option(
        parser=path, help="CSV of trained architectures: for equation 2, or to look selected ones up in."
    ),
]
Depths = Annotated[int | None, typer.Option(help="Cells whose neurons are watched, from first to last (3).")]
Seeds = Annotated[int | None, typer.Option(help="--robustness: searches per setting (5).")]
P = Annotated[str | None, typer.Option(help="--robustness: p of the base (0.5).")]
Counts = Annotated[
    str | None, typer.Option(help="--robustness: image counts, separated by commas (16,32,64,128).")
]
Norms = Annotated[str | None, typer.Option(help=f"--robustness: normalisations, as above ({ALL_NORMS}).")]
Game = Annotated[
    str | None, typer.Option(help=f"--robustness: {' | '.join(GAME_CHOICES)}, for every search (none).")
]
Prior = Annotated[str | None, typer.Option(help="--robustness: a prior file or 'shipped', for every search.")]


@sharded
@asks(
    "space",
    *DATA,
    *MACHINE,
    *CLUSTER,
    "score",
    "norm",
    "seed",
    *SIZE,
    preset="naswot",
    device="default",
    score="naswot",
    norm="calibrated",
)
def diagnose(
    request: Request,
    out: Out,
    robustness: Repeat = False,
    inits: Inits = ALL_INITS,
    ps: Ps = "0,0.25,0.5,0.75,1",
    envs: Envs = None,
    images: Images = None,
    table: Trained = None,
    column: Column = None,
    depths: Depths = None,
    seeds: Seeds = None,
    p: P = None,
    image_counts: Counts = None,
    norms: Norms = None,
    game: Game = None,
    prior: Prior = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure whether outputs and scores of random supernets are Gaussian, as the paper assumes.

    Tests Lemma 1 (first layer), Lemma 2 (any layer), Corollaries 2.1 and 2.2 (ensembles) and equation 2
    (scores), and shows equation 8 (observed against drawn scores), per family of weights. Outputs are
    watched under Gaussian images and under --data.

    With --robustness: repeats the search over seeds, with one of inits, p, image count and norm changed at a
    time from the base, and reports how far the searches agree.
    A killed run goes on where it stopped when the same command is given again.

    \b
    Examples:
      znas-engine diagnose --out found --supernet-channels 8
      znas-engine diagnose --out found --data cifar10 \\
        --data-dir ~/data --score accuracy --images 64
      znas-engine diagnose --robustness --out again --seeds 10
    """
    _check_foreign(
        robustness, depths, seeds=seeds, p=p, image_counts=image_counts, norms=norms, game=game, prior=prior
    )
    base = _sized(_base(request, inits, p, game, prior), envs, images, robustness=robustness)
    report = reporter(quiet=quiet)
    truth = _truth(table, request, column, report)
    job: Callable[..., Diagnosis | Robustness]
    if robustness:
        values = _values(inits, ps, image_counts, norms)
        job = partial(repeat, base, values=values, seeds=5 if seeds is None else seeds)
    else:
        watched = 3 if depths is None else depths
        job = partial(measure, base, inits=_names("inits", inits), ps=_ps(ps), depths=watched)

    def say(found: Diagnosis | Robustness, written: Path | None = None) -> None:
        if as_json:
            typer.echo(json.dumps(found.to_dict(), indent=1))
        else:
            show(found.summary(), written, "report.md, report.html, JSON, pictures")

    with progress_bar(*(SEARCHES if robustness else SAMPLES), quiet=quiet) as bar:
        found = job(table=truth, column=column, out=out, hooks=Hooks(bar, report, say, bar.inner))
    say(found, out)


def _truth(file: Path | None, request: Request, column: str | None, report: Report) -> Table | None:
    """The table, whose column is refused before the searches; so is one without a table."""
    if file is None:
        check_read(diagnose, "is of a table: pass --table FILE too", column=column)
        return None
    found = read_table(file, get_space(request.space), report=report)
    found.column(column)
    return found


def _base(request: Request, inits: str, p: str | None, game: str | None, prior: str | None) -> Request:
    first = _names("inits", inits)[0]
    return replace(request, p=parse_p(p or "0.5"), prior=_prior(prior), game=game or "none", init=first)


def _values(inits: str, ps: str, counts: str | None, norms: str | None) -> dict[str, Any]:
    """What --robustness varies."""
    return {
        "init": _names("inits", inits),
        "p": _ps(ps),
        "images": _counts(counts or "16,32,64,128"),
        "norm": _names("norms", norms or ALL_NORMS),
    }


def _prior(name: str | None) -> str | None:
    return name if name in (None, SHIPPED) else str(path(name))


def _sized(request: Request, envs: int | None, images: int | None, *, robustness: bool) -> Request:
    """With the usual numbers where none are given."""
    usual_envs, usual_images = (1, 64) if robustness else (100, 16)
    return replace(
        request,
        envs=usual_envs if envs is None else envs,
        images=usual_images if images is None else images,
    )


def _check_foreign(robustness: bool, depths: int | None, **own: Any) -> None:
    """InvalidValueError for an option of the other diagnosis. own: those of --robustness."""
    if not robustness:
        jobs.check_whole("a diagnosis is of one process: pass --robustness, or leave --shard out")
    foreign = {"depths": depths} if robustness else own
    for name, value in foreign.items():
        if value is not None:
            option = name.replace("_", "-")
            raise InvalidValueError(f"--{option} {'excludes' if robustness else 'needs'} --robustness")


def _names(what: str, text: str) -> list[str]:
    return distinct(f"--{what}", [name.strip() for name in text.split(",")])


def _ps(text: str) -> tuple[float, ...]:
    value = parse_p(text)
    if isinstance(value, str):
        raise InvalidValueError(f"`ps` must be numbers between 0 and 1 but got {text!r}")
    return tuple(distinct("--ps", value if isinstance(value, tuple) else (value,)))


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise InvalidValueError(
            f"`image-counts` must be whole numbers separated by commas but got {text!r}"
        ) from None
    return distinct("--image-counts", counts)
