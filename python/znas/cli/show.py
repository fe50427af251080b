"""`znas-engine show`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from znas.cli.console import show as show_document
from znas.cli.options import Json


def show(
    run: Annotated[Path, typer.Argument(help="A folder that `search --out` wrote, or its result.json.")],
    space: Annotated[
        str | None,
        typer.Option(
            help="Its search space, by name or package.module:Name, where that was an object that its class "
            "alone does not give back."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write it as a page, one HTML file; an existing one is refused.")
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

    result = load(run, space=space)
    document = result.document()
    if html is not None:
        from znas.files import check_new, write_file
        from znas.output import html as page

        check_new(html)
        write_file(html, page.render(document).encode())
    if as_json:
        typer.echo(result.to_json())
    else:
        show_document(document, html)
