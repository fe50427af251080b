"""Rows times seeds, each finished search one entry of a journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from znas import jobs
from znas.calls import Pieces, Task, each_piece
from znas.hooks import QUIET, Hooks
from znas.method import Method
from znas.reproduce.restricted import Among
from znas.reproduce.rows import Row, Search, prior_path
from znas.request import SHIPPED, Request
from znas.result import Seconds
from znas.scoring.batches import identity
from znas.setup import Setup
from znas.shape import COUNT, SECONDS
from znas_engine.arguments import check_between
from znas_engine.spaces import SearchSpace
from znas_engine.tables import Table

#: Searches of one row.
MOST = 10_000
#: An entry of the journal.
TRIAL = {
    "arch": str,
    "evaluations": COUNT,
    "seconds": dict.fromkeys(("total", "setup", "evaluate", "select"), SECONDS),
    "device": str,
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One finished search of one row with one seed."""

    seed: int
    arch: str
    evaluations: int
    seconds: Seconds
    device: str
    #: What the same search finds among the architectures of the table, where it lacks `arch`.
    instead: str | None = None


def run_trials(
    rows: Sequence[Row],
    setup: Setup,
    *,
    seeds: int,
    prior: str = SHIPPED,
    table: Table | None = None,
    work: Path,
    hooks: Hooks = QUIET,
) -> dict[str, list[Trial]]:
    """Every row with the seeds `setup.seed`, `setup.seed` + 1, ...; what `work` holds is not repeated.

    setup: what all rows share; each asks for more or otherwise.

    Rows and seeds may be added to the same `work` file later; another request is another job. Architectures
    do not depend on the number of threads, seconds do. prior: what the rows were made with. table: in which
    what was found is to be looked up. Where it has nothing that computes the same, the search is run once
    more on what the table has; passes and seconds stay those of the first. hooks: told how many searches are
    done, and how far one is.
    """
    request = setup.request
    quiet = replace(hooks, report=QUIET.report)  # what is remarkable of one was said of `setup`
    check_seeds(request.seed, seeds, 1)
    at_hand = setup.at_hand(request)
    for row in rows:  # all are checked before the first search
        asked = row.adapt(at_hand)
        Method.of(asked.settled(), setup.space, Setup(asked).scores)
        if row.beside is not None:
            Setup(row.beside(asked))
    among = None if table is None else Among(setup.space, table)
    keys = {row.name: _key(row, prior_path(setup.space, prior)) for row in rows}
    searches = {
        f"{keys[row.name]}/{seed}": _Asked(row, replace(request, seed=seed))
        for seed in range(request.seed, request.seed + seeds)
        for row in rows
    }
    about = identity(setup, job="reproduce searches", prior=_digest(setup.space, prior))
    with jobs.opened(work, about) as kept:
        found = _each(setup, kept, {key: searches[key] for key in kept.mine(searches)}, quiet)
        if among is not None:
            lacking = [key for key, trial in found.items() if not among.has(trial.arch)]
            again = {f"{key}/{among.digest}": searches[key].among(among.space) for key in lacking}
            others = _each(setup, kept, again, quiet)
            for key, other in zip(lacking, others.values(), strict=True):
                found[key] = replace(found[key], instead=other.arch)
        kept.whole()
    return {row.name: [found[key] for key, each in searches.items() if each.row is row] for row in rows}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A row with one seed."""

    row: Row
    request: Request

    def among(self, space: SearchSpace[Any]) -> _Asked:
        """The same in that space."""
        return _Asked(self.row, replace(self.request, space=space))


def _each(setup: Setup, kept: jobs.Kept, searches: Mapping[str, _Asked], hooks: Hooks) -> dict[str, Trial]:
    """What was found, by key."""

    def tasks(keys: Sequence[str]) -> Iterator[Task]:
        for key in keys:
            row = searches[key].row
            yield Task(key, row.adapt(searches[key].request), partial(_search, key, row.search))

    found = each_piece(setup, kept, dict.fromkeys(searches, TRIAL), tasks, hooks)
    return {
        key: Trial(
            each.request.seed,
            value["arch"],
            value["evaluations"],
            Seconds(**value["seconds"]),
            value["device"],
        )
        for (key, each), value in zip(searches.items(), found, strict=True)
    }


def check_seeds(first: int, count: int, least: int) -> None:
    """InvalidValueError where so many searches from the seed `first` on are none or never end."""
    check_between("seeds", count, least, MOST)
    check_between("seed", first, 0, 2**63 - 1 - MOST)


def _key(row: Row, common: Path | None) -> str:
    """What names a row's searches: those with another prior than the `common` one name that too."""
    if row.prior is None or row.prior == common:
        return row.name
    return f"{row.name}/{jobs.file(row.prior, 'the prior')}"


def _digest(space: SearchSpace[Any], prior: str) -> str | None:
    path = prior_path(space, prior)
    return None if path is None else jobs.file(path, "the prior")


def _search(key: str, search: Search, request: Request, hooks: Hooks) -> Pieces:
    found = search(request, hooks)
    yield (
        key,
        {
            "arch": str(found.genotype),
            "evaluations": found.evaluations,
            "seconds": asdict(found.seconds),
            "device": found.device,
        },
    )
