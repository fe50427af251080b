"""`znas-engine report`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from znas.cli.console import finish, progress_bar, reporter
from znas.cli.options import Json, Quiet, path
from znas.report import ENVS, RANDOM
from znas.report import report as made

Runs = Annotated[
    list[Path],
    typer.Argument(
        parser=path, help="Folders that `search --out` wrote, or their result.json; several are side by side."
    ),
]
Trained = Annotated[
    list[Path] | None,
    typer.Option(parser=path, help="Folder of a training, whose accuracy is shown; may be repeated."),
]
Random = Annotated[
    int, typer.Option(help="Random architectures among which what was found is placed; 0: left out.")
]
Envs = Annotated[int, typer.Option(help="Draws of weights and images for that; 2 or more give an interval.")]
DataDir = Annotated[Path | None, typer.Option(parser=path, help="Where the images of the searches lie now.")]
Space = Annotated[
    str | None,
    typer.Option(
        help="Their search space, by name or package.module:Name, where that was an object that its class "
        "alone does not give back."
    ),
]
Out = Annotated[
    Path | None, typer.Option(parser=path, help="New file for the page, HTML that needs nothing else.")
]


def report(
    run: Runs,
    trained: Trained = None,
    random: Random = RANDOM,
    envs: Envs = ENVS,
    data_dir: DataDir = None,
    space: Space = None,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a page about a search, or about several side by side, to be looked at and sent.

    It says what was found and draws it, how good it is, why it was chosen, what that cost, how to use and
    how to repeat it. Where it stands among random architectures is measured now, by the scores of the search
    on weights and images that the search did not see; every run folder has a page without that, report.html.

    \b
    Examples:
      znas-engine report runs/first --out first.html
      znas-engine report runs/first runs/second --random 0
      znas-engine report runs/first --random 1000 --envs 8 \\
        --out first.html
    """
    if out is not None:
        from znas.files import check_new

        check_new(out)
    with progress_bar("architectures", quiet=quiet) as progress:
        page = made(
            run,
            trained=trained or (),
            random=random,
            envs=envs,
            space=space,
            data_dir=data_dir,
            progress=progress,
            remarks=reporter(quiet=quiet),
        )

    def write() -> None:
        assert out is not None
        page.save(out)

    found = json.dumps(page.to_dict(), indent=1) if as_json else page.document()
    finish(found, None if out is None else write, out)
