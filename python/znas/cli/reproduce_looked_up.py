"""`znas-engine reproduce table2` and `table-macro`"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from znas import jobs
from znas.cli.console import progress_bar, reporter
from znas.cli.options import Json, Quiet, asks
from znas.cli.parts import sharded
from znas.cli.sheets import (
    SEARCHES,
    USUAL,
    Out,
    Prior,
    Rows,
    Seeds,
    TableFile,
    names,
    save,
    show_sheets,
)
from znas.hooks import Hooks
from znas.request import SHIPPED, Request
from znas.setup import Setup
from znas_engine import paths


@sharded
@asks(*SEARCHES, **USUAL)
def table2(
    request: Request,
    out: Out,
    table: TableFile = None,
    seeds: Seeds = 10,
    rows: Rows = None,
    prior: Prior = SHIPPED,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """NAS-Bench-201: the paper as written, the default search, and baselines, by the cells they find.

    The rows with a one-shot prior train a supernet first, a few minutes on one core, and keep its prior in
    OUT/one-shot.json; with --prior FILE of accuracy they take that.

    \b
    Examples:
      znas-engine reproduce table2 --data-dir ~/data \\
        --table nasbench201.csv --out runs/table2
      znas-engine reproduce table2 --data-dir ~/data \\
        --rows random,default --seeds 3 --out runs/quick
    """
    _look_up("table2", request, out, table, seeds, rows, prior, as_json=as_json, quiet=quiet)


@sharded
@asks(*SEARCHES, **USUAL)
def table_macro(
    request: Request,
    out: Out,
    table: TableFile = None,
    seeds: Seeds = 10,
    rows: Rows = None,
    prior: Prior = SHIPPED,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """NAS-Bench-Macro: the same searches, by the chains of mobile blocks they find.

    A search that finds what the table lacks is run again on what the table has, with the same seed, and
    counted: `absent`. Among the rows that are not run by default are those with a one-shot prior.

    \b
    Examples:
      znas-engine reproduce table-macro --data-dir ~/data \\
        --table nasbench_macro.csv --out runs/macro
      znas-engine reproduce table-macro --data-dir ~/data \\
        --table nasbench_macro.csv --rows random,default \\
        --seeds 3 --out runs/quick
    """
    _look_up("table-macro", request, out, table, seeds, rows, prior, as_json=as_json, quiet=quiet)


def _look_up(
    name: str,
    request: Request,
    out: Path,
    table: Path | None,
    seeds: int,
    rows: str | None,
    prior: str,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """The table of that name in `published.json`."""
    from znas.reproduce import drawings, folder, one_shot
    from znas.reproduce.looked_up import looked_up
    from znas.reproduce.published import published, space_of
    from znas.reproduce.rows import choose
    from znas.reproduce.trials import check_seeds, run_trials
    from znas_engine.tables import read_table

    check_seeds(request.seed, seeds, 1)
    pictures = [] if table is None else [f"{name}.png"]
    album = folder.opened(out, name, *pictures)
    setup = Setup(replace(request, space=space_of(name)), Hooks(report=reporter(quiet=quiet)))
    place = one_shot.place(out, setup.space, prior)
    usual = published()["tables"][name].get("usual_rows")
    chosen = choose(setup.space, names(rows) or usual, prior, place)
    with progress_bar("files of the table", quiet=quiet) as progress:
        truth = None if table is None else read_table(table, setup.space, progress, reporter(quiet=quiet))
    if truth is not None:
        truth.accuracies()  # refused before the searches
    remarks = []
    if any(row.prior == place for row in chosen):
        if not paths.is_file(place, "the prior"):
            jobs.check_whole(
                f"{place} is trained first, by one process: give the same command with --rows "
                f"{next(row.name for row in chosen if row.prior == place)} --seeds 1 and without --shard"
            )
        with progress_bar("training steps", quiet=quiet) as progress:
            found = one_shot.found(setup, place, out, progress)
        remarks.append(one_shot.remark(found, truth))
    with progress_bar("searches", "masked passes", quiet=quiet) as bar:
        trials = run_trials(
            chosen,
            setup,
            seeds=seeds,
            prior=prior,
            table=truth,
            work=out / folder.SEARCHES,
            hooks=Hooks(bar, inner=bar.inner),
        )
    sheet = looked_up(name, chosen, trials, truth, setup.conditions(), remarks)
    draw = partial(drawings.draw_accuracies, name=f"{name}.png")
    save(sheet, album, name, None if truth is None else draw, as_json=as_json)
    show_sheets([sheet], as_json=as_json)
