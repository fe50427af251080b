"""Does a search choose the same architecture again? Over seeds, and with one setting changed at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas import jobs
from znas.calls import Pieces, Task, each_piece
from znas.diagnose.agreement import agreement, same_edges
from znas.diagnose.robustness_report import Accuracies, Robustness, Varied
from znas.files import check_new, work_file, write_folder
from znas.hooks import QUIET, Hooks
from znas.method import Method
from znas.output.pages import pages
from znas.request import SHIPPED, Request
from znas.search import searched
from znas.setup import Setup
from znas.shape import Many
from znas_engine import paths
from znas_engine.arguments import check_between
from znas_engine.backends import get_backend
from znas_engine.errors import StorageError
from znas_engine.scores import get_scores
from znas_engine.spaces import get_space
from znas_engine.supernet.initialisation import check_init
from znas_engine.supernet.normalisation import check_norm
from znas_engine.tables import Table

#: What is varied beside the seed: a field of Request each.
FACTORS = ("init", "p", "images", "norm")
#: The choice on an edge that a cell does not keep.
NOT_KEPT = "not kept"
#: Searches per setting.
MOST = 10_000
#: Of the journal.
ENTRY = {"arch": str, "choices": Many(str)}
#: What a request says of how is chosen, without `FACTORS`.
_METHOD = (
    *("dtype", "envs", "intervention", "prior_scale", "game", "estimator", "precision", "max_evaluations"),
    *("selection", "order", "criterion", "aggregate", "finalists", "race"),
)


def grid(base: Request, values: dict[str, Sequence[Any]]) -> list[tuple[str, str, Request]]:
    """(factor, value, settings): the base, then every value of every factor that is not the base's.

    All are settled requests.
    """
    base = base.settled()
    found = [("base", "", base)]
    for factor in FACTORS:
        for value in dict.fromkeys(values.get(factor, ())):
            changed = replace(base, **{factor: value})
            if changed != base:
                found.append((factor, f"{value:g}" if factor == "p" else str(value), changed))
    return found


def robustness(
    base: Request,
    *,
    values: dict[str, Sequence[Any]],
    seeds: int,
    table: Table | None,
    column: str | None,
    out: Path,
    hooks: Hooks = QUIET,
) -> Robustness:
    """Repeats `znas.search` and writes the new folder `out`.

        for settings in grid(base, values), seed in base.seed, ..., base.seed + seeds - 1:
            search(settings, seed)

    values: per factor of FACTORS, what to try beside the base. table: accuracies to look the selected
    architectures up in. A finished search lies in `out`.work until the folder is written: a killed run goes
    on where it stopped, to the same result.

    Raises ZnasError; see `znas.search`.
    """
    check_new(out)
    check_between("seeds", seeds, 2, MOST)
    check_between("seed", base.seed, 0, 2**63 - 1 - MOST)
    if table is not None:
        table.column(column)
    settings = grid(base, values)
    base = settings[0][2]
    for _, _, one in settings:
        Method.of(one, get_space(one.space), get_scores(one.score))
        check_init(one.init)
        check_norm(str(one.norm))
    setup = Setup(base, hooks)
    measured = _shared(setup)
    work = work_file(out)
    searches = {
        _key(one): one
        for _, _, changed in settings
        for seed in range(base.seed, base.seed + seeds)
        for one in [replace(changed, seed=seed)]
    }

    def tasks(keys: Sequence[str]) -> Iterator[Task]:
        for key in keys:
            yield Task(key, setup.at_hand(searches[key]), partial(_search, key))

    with jobs.opened(work, _identity(setup)) as kept:
        shapes = dict.fromkeys(kept.mine(searches), ENTRY)
        every = list(each_piece(setup, kept, shapes, tasks, hooks))
        kept.whole()
        entries = [every[i : i + seeds] for i in range(0, len(every), seeds)]
        found = _summary(base, measured, seeds, settings, entries, table, column)
        try:
            write_folder(out, pages(found.document(), "robustness"))
        except StorageError:
            hooks.unwritten(found)
            raise
        kept.discard()
    return found


def _shared(setup: Setup) -> dict[str, Any]:
    """What all searches share, as it was asked for."""
    asked = setup.request.to_dict().items()
    shared = {name: value for name, value in asked if name not in ("seed", "threads", *FACTORS)}
    images = {"data": shared["data"] or setup.dataset.name, "origin": setup.dataset.origin}
    return {"job": "diagnose --robustness"} | shared | images


def _identity(setup: Setup) -> dict[str, Any]:
    """What all searches share, as far as it decides anything."""
    asked = setup.request.to_dict()
    prior = asked["prior"]
    if prior is not None:
        where = setup.space.prior if prior == SHIPPED else paths.named(prior, "the prior")
        prior = None if where is None else jobs.file(where, "the prior")
    return jobs.measured(
        dataset=setup.dataset,
        space=setup.space,
        macro=setup.macro,
        evaluator=get_backend(setup.record),
        scores=setup.scores,
        facts={name: asked[name] for name in _METHOD}
        | {
            "job": "diagnose --robustness",
            "prior": prior,
            "backend": setup.backend,
            "device": ",".join(setup.devices),
        },
    )


def _key(request: Request) -> str:
    return json.dumps({name: getattr(request, name) for name in ("seed", *FACTORS)})


def _search(key: str, request: Request, hooks: Hooks) -> Pieces:
    result = searched(request, hooks)
    choices = [edge.selected if edge.kept else NOT_KEPT for edge in result.edges]
    yield key, {"arch": result.arch, "choices": choices}


def _summary(
    base: Request,
    measured: dict[str, Any],
    seeds: int,
    settings: list[tuple[str, str, Request]],
    entries: list[list[dict[str, Any]]],
    table: Table | None,
    column: str | None,
) -> Robustness:
    space = get_space(base.space)
    options = [len(space.options(e)) + (space.in_edges is not None) for e in range(len(space.edges))]
    known: dict[bytes, float] = {}
    name, accuracies = (None, None) if table is None else table.column(column)
    if table is not None and accuracies is not None:
        known = {m.tobytes(): float(a) for m, a in zip(table.masks(space), accuracies, strict=True)}
    varied = []
    for (factor, value, _), row in zip(settings, entries, strict=True):
        choices = tuple(tuple(entry["choices"]) for entry in row)
        alike = [same_edges(a["choices"], b["choices"]) for a, b in zip(row, entries[0], strict=True)]
        looked_up = None
        if table is not None:
            masks = [space.mask(space.parse(entry["arch"])).tobytes() for entry in row]
            looked_up = _accuracies([known.get(mask) for mask in masks])
        varied.append(
            Varied(
                factor=factor,
                value=value,
                architectures=tuple(entry["arch"] for entry in row),
                choices=choices,
                agreement=agreement(choices, options),
                with_base=float(np.mean(alike)),
                accuracies=looked_up,
            )
        )
    return Robustness(
        base=base,
        measured=measured | {name: getattr(base, name) for name in FACTORS},
        seeds=seeds,
        edges=tuple(edge.label for edge in space.edges),
        varied=varied,
        overall=agreement([choice for one in varied for choice in one.choices], options),
        column=name,
        random=None if accuracies is None else float(accuracies.mean()),
    )


def _accuracies(values: list[float | None]) -> Accuracies:
    found: NDArray[np.float64] = np.array([value for value in values if value is not None])
    return Accuracies(
        mean=float(found.mean()) if len(found) else None,
        std=float(found.std(ddof=1)) if len(found) > 1 else None,
        lowest=float(found.min()) if len(found) else None,
        missing=len(values) - len(found),
    )
