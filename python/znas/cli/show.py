"""`znas-engine show`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from znas.cli.console import finish
from znas.cli.options import Json, path


def show(
    run: Annotated[
        Path, typer.Argument(parser=path, help="A folder that `search --out` wrote, or its result.json.")
    ],
    space: Annotated[
        str | None,
        typer.Option(
            help="Its search space, by name or package.module:Name, where that was an object that its class "
            "alone does not give back."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(parser=path, help="Write it as a page, one HTML file; an existing one is refused."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the result of a search again.

    \b
    Examples:
      znas-engine show runs/first
      znas-engine show runs/first --html first.html
    """
    from znas.run_folder import load

    if html is not None:
        from znas.files import check_new

        check_new(html)
    result = load(run, space=space)
    document = result.document()

    def write() -> None:
        from znas import summary
        from znas.files import write_file
        from znas.output import html as page

        assert html is not None
        write_file(html, page.render(summary.document(result, pictures=True)).encode())

    finish(result.to_json() if as_json else document, None if html is None else write, html)
