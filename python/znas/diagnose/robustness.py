"""Does a search choose the same architecture again? Over seeds, and with one setting changed at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.diagnose.agreement import agreement, same_edges
from znas.diagnose.robustness_report import Accuracies, Robustness, Varied
from znas.files import check_new, work_file, write_folder
from znas.hooks import QUIET, Hooks
from znas.method import Method
from znas.output.figures import require_matplotlib
from znas.output.pages import pages
from znas.request import Request
from znas.result import SearchResult
from znas.search import search
from znas.setup import Setup
from znas_engine.errors import InvalidValueError
from znas_engine.journal import Journal
from znas_engine.scores import get_scores
from znas_engine.spaces import get_space
from znas_engine.supernet.initialisation import check_init
from znas_engine.supernet.normalisation import check_norm
from znas_engine.tables import Table

#: What is varied beside the seed: a field of Request each.
FACTORS = ("init", "p", "images", "norm")
#: The choice on an edge that a cell does not keep.
NOT_KEPT = "not kept"


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
    require_matplotlib()
    if seeds < 2:
        raise InvalidValueError(f"`seeds` must be at least 2 but got {seeds}: one search agrees with itself")
    settings = grid(base, values)
    base = settings[0][2]
    for _, _, one in settings:
        Method.of(one, get_space(one.space), get_scores(one.score))
        check_init(one.init)
        check_norm(str(one.norm))
    setup = Setup(base, hooks)
    measured = _identity(setup)
    total = len(settings) * seeds
    work = work_file(out)
    entries: list[list[dict[str, Any]]] = []
    with Journal(work, measured) as journal:
        for _, _, changed in settings:
            row = []
            for seed in range(base.seed, base.seed + seeds):
                one = replace(changed, seed=seed)
                key = json.dumps({name: getattr(one, name) for name in ("seed", *FACTORS)})
                if key not in journal.done:
                    journal.record(key, _entry(search(setup.at_hand(one), report=hooks.report)))
                row.append(journal.done[key])
                hooks.progress(len(entries) * seeds + len(row), total)
            entries.append(row)
    found = _summary(base, measured, seeds, settings, entries, table, column)
    write_folder(out, pages(found.document(), "robustness"))
    work.unlink(missing_ok=True)
    return found


def _identity(setup: Setup) -> dict[str, Any]:
    """What all searches share; the number of threads decides nothing."""
    asked = setup.request.to_dict().items()
    shared = {name: value for name, value in asked if name not in ("seed", "threads", *FACTORS)}
    return {"job": "diagnose --robustness"} | shared | {"origin": setup.dataset.origin}


def _entry(result: SearchResult) -> dict[str, Any]:
    choices = [edge.selected if edge.kept else NOT_KEPT for edge in result.edges]
    return {"arch": result.arch, "choices": choices}


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
