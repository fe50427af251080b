"""`znas-engine reproduce choose`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from znas.cli.console import progress_bar
from znas.cli.options import CLUSTER, Json, Quiet, asks, path
from znas.cli.sheets import Out, Seeds, names, save, show_sheets
from znas.cluster.where import check_installed, place_of
from znas.meaning import check_workers_are_read
from znas.request import Request
from znas_engine.arguments import check_between, choice
from znas_engine.spaces import get_space

if TYPE_CHECKING:
    from znas.reproduce.choose import Choice


@asks("finalists", "envs", "seed", *CLUSTER)
def choose(
    request: Request,
    folders: Annotated[
        list[Path],
        typer.Argument(parser=path, metavar="FOLDER...", help="What correlation left, a folder per table."),
    ],
    out: Out,
    scores: Annotated[
        str | None,
        typer.Option(
            help="Scores that sets are made of, separated by commas; all that the folders share by default."
        ),
    ] = None,
    most: Annotated[int, typer.Option(help="Scores per set, at most.")] = 5,
    by: Annotated[
        str,
        typer.Option(help="worst (the largest share over tables), or geometric (the mean of its logarithm)."),
    ] = "worst",
    show: Annotated[int, typer.Option(help="Sets shown; choose.csv holds all.")] = 10,
    seeds: Seeds = 10,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Which scores the default search should have: every set of them plays it on every table.

    The sets are chosen by what their searches find in one half of the tables' architectures, and reported
    on the other half, also on every table by the set that is chosen without it. A folder's first accuracy
    column counts.

    \b
    Example:
      znas-engine reproduce correlation --data-dir ~/data \\
        --table nasbench201.csv --images 16 --norm batch \\
        --supernet-cells 1 --envs 3 --out runs/nb201 \\
        --scores cell_path_norm,live_flops,naswot,isometry
      znas-engine reproduce correlation --data-dir ~/data \\
        --space darts --table darts.csv --images 16 \\
        --norm batch --supernet-channels 4 \\
        --supernet-cells 8 --envs 3 --out runs/darts \\
        --scores cell_path_norm,live_flops,naswot,isometry
      znas-engine reproduce choose runs/nb201 runs/darts \\
        --out runs/choice
    """
    from znas.reproduce import folder
    from znas.reproduce.choose import ORDERS
    from znas.reproduce.chosen import left_out, sheet
    from znas.reproduce.trials import check_seeds

    choice("order of sets", by, ORDERS)
    check_between("show", show, 1, None)
    check_seeds(request.seed, seeds, 1)
    check_workers_are_read(request, (), get_space(request.space))
    check_installed(request.on)
    album = folder.opened(out, "choose", *(f"choose-left-out.{suffix}" for suffix in folder.SUFFIXES))
    found, tried = _played(request, folders, names(scores), most, seeds, out / folder.CHOICES, quiet=quiet)
    chosen = sheet(found, by, show, str(request.settled().score), [tried])
    without = left_out(found, by)
    save(chosen, album, "choose", as_json=as_json)
    save(without, album, "choose-left-out", as_json=as_json)
    show_sheets([chosen, without], as_json=as_json)


def _played(
    request: Request,
    folders: list[Path],
    scores: list[str] | None,
    most: int,
    seeds: int,
    work: Path,
    *,
    quiet: bool,
) -> tuple[Choice, str]:
    """What every set found, and what was tried, in words."""
    from znas.reproduce.choose import choose, every_set
    from znas.reproduce.halves import free, read

    tables = read(folders, scores, request)
    tried = list(tables[0].halves[0].scores)
    sets = every_set(tried, most)
    place = place_of(request.on, request.actors, request.threads_per_actor)
    with progress_bar("seeds of the tables' halves", quiet=quiet) as progress:
        found = choose(
            tables, sets, seeds=seeds, seed=request.seed, work=work, place=place, progress=progress
        )
    return found, (
        f"sets of up to {most} of {', '.join(tried)}; {', '.join(free(tried))} need no pass, one of which is "
        f"in each; {seeds} seeds"
    )
