"""`znas-engine prior`: fit, show, check"""

from __future__ import annotations

import json
from os.path import samestat
from pathlib import Path
from typing import Annotated

import typer

from znas import priors
from znas.cli.console import remark
from znas.cli.console import show as show_document
from znas.cli.options import Column, Json, asks, path
from znas.cli.prior_fit import fit
from znas.files import check_new, write_file
from znas.priors.base import Prior
from znas.priors.check import checked, rank_check
from znas.priors.document import document
from znas.priors.document import verdict as in_words
from znas.request import SHIPPED, Request
from znas_engine import paths
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import SPACES, get_space
from znas_engine.tables import Table, read_table

prior = typer.Typer(help="D(Z): fit, show and check what is known of every neuron.", rich_markup_mode=None)

prior.command()(fit)


@prior.command()
@asks("space")
def show(
    file: Annotated[str, typer.Argument(help="A prior file, or 'shipped'.")],
    request: Request,
    plot: Annotated[
        Path | None,
        typer.Option(parser=path, help="Write a picture of it, PNG; an existing file is refused."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a prior: mean and deviation of every neuron, where it comes from, how it ranks."""
    if plot is not None:
        check_new(plot)
    found = priors.load(_file(file, request), get_space(request.space))
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    else:
        show_document(document(found))
    if plot is not None:
        from znas.priors.plot import plot as draw

        write_file(plot, draw(found))


@prior.command()
@asks("space")
def check(
    file: Annotated[str, typer.Argument(help="A prior file, or 'shipped'.")],
    table: Annotated[Path, typer.Option(parser=path, help="CSV of held-out architectures and accuracies.")],
    request: Request,
    column: Column = None,
    record: Annotated[bool, typer.Option("--record", help="Write the verdict into the file.")] = False,
    as_json: Json = False,
) -> None:
    """Say whether a prior ranks architectures better than chance; exits with 1 if it does not.

    A prior fitted to a table is not checked again on the same one: half of it was what it learnt.
    """
    where = _file(file, request)
    if record and _is_shipped(where):
        raise InvalidValueError(
            "--record writes into the file, and a shipped prior is part of the installed package: copy it "
            f"first (cp {where} prior.json) and check the copy"
        )
    before = found = priors.load(where, get_space(request.space))
    truth = read_table(table, found.space, report=remark)
    name, accuracies = truth.column(column)
    if _learnt(found, truth):
        raise InvalidValueError(
            f"the prior {where} was fitted to the accuracies of {truth.path}: check it on another table"
        )
    verdict = rank_check(found, truth.masks(found.space), accuracies, truth=f"table:{name}")
    found = checked(found, verdict)
    typer.echo(json.dumps(found.check, indent=1) if as_json else in_words(found))
    if record:
        priors.record(found, where, before)
    if not verdict.passed:
        raise typer.Exit(1)


def _learnt(found: Prior, truth: Table) -> bool:
    """Whether the table holds what the prior was fitted to, whatever it is called by now."""
    about = found.provenance
    if about.get("source") != "table":
        return False
    if "content" not in about:  # of a version that knew names alone
        return bool(about.get("table") == truth.path.name)
    return any(truth.digest(column) == about["content"] for column in truth.columns)


def _file(file: str, request: Request) -> Path:
    if file != SHIPPED:
        return paths.named(file, "the prior")
    space = get_space(request.space)
    if space.prior is None:
        raise InvalidValueError(f"no prior is shipped for {space.name}")
    return space.prior


def _is_shipped(path: Path) -> bool:
    """Whether it is a part of an installed package, by whichever name or link."""
    shipped = [prior for prior in (get_space(name).prior for name in SPACES.names()) if prior is not None]
    about = paths.status(path, "the prior") if paths.is_file(path, "the prior") else None
    return about is not None and any(samestat(about, paths.status(prior)) for prior in shipped)
