"""Which set of scores a search should have: chosen on one half of every table, reported on the other."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas import jobs
from znas.cluster.place import Here, Listed, Place
from znas.cluster.unit import Call
from znas.hooks import QUIET
from znas.reproduce.halves import Played, free
from znas.reproduce.played import Half, Set, play, taus
from znas.reproduce.sets import MOST
from znas.selection.criteria import Floats
from znas.shape import Many, Number, Shape
from znas_engine.arguments import check_between
from znas_engine.errors import InvalidValueError
from znas_engine.journal import Journal
from znas_engine.progress import Progress

#: What the sets can be put in order by.
ORDERS = ("worst", "geometric")
#: The half on which is chosen and the one on which is reported; what is known of a set there.
HALVES, FIGURES = ("A", "B"), ("share", "accuracy", "tau")


@dataclass(frozen=True, eq=False)
class Choice:
    """figures: of every table, half, figure and set, float64 [T, 2, 3, N], means over seeds."""

    tables: list[Played]
    sets: list[Set]
    figures: Floats

    def criteria(self, half: int, without: int | None = None) -> dict[str, Floats]:
        """By name, float64 [N], smaller is better.

            worst     = max over tables of share
            geometric = exp(mean over tables of log(share + 1 / functions of the half))

        without: a table that is left out.
        """
        kept = [t for t in range(len(self.tables)) if t != without]
        shares = self.figures[kept, half, 0]
        least = np.array([[1 / len(self.tables[t].halves[half].accuracy)] for t in kept])
        return {"worst": shares.max(0), "geometric": np.exp(np.log(shares + least).mean(0))}

    def order(self, by: str, without: int | None = None) -> NDArray[np.int64]:
        """Sets from the best on, on half A; of equal ones by the other criterion, then the smaller first."""
        found = self.criteria(0, without)
        (other,) = set(ORDERS) - {by}
        return np.lexsort((found[other], found[by]))


def every_set(scores: Sequence[str], most: int) -> list[Set]:
    """Sets of 1 to `most` scores, one of which at least needs no pass; InvalidValueError for too many."""
    check_between("most", most, 1, None)
    sizes = range(1, min(most, len(scores)) + 1)
    count = sum(math.comb(len(scores), size) for size in sizes)
    if count > MOST:
        raise InvalidValueError(
            f"--most {most} of {len(scores)} scores are {count:,} sets, and at most {MOST:,} are tried: pass "
            "a smaller one, or fewer --scores"
        )
    unpaid = set(free(scores))
    return [names for size in sizes for names in combinations(scores, size) if unpaid & set(names)]


def choose(
    tables: list[Played],
    sets: list[Set],
    *,
    seeds: int,
    seed: int,
    work: Path,
    place: Place | None = None,
    progress: Progress = QUIET.progress,
) -> Choice:
    """Every set's figures in both halves of every table, with the seeds `seed`, `seed` + 1, ...; what `work`
    holds is not repeated. place: whose workers play; None plays here."""
    place = place or Here(1)
    halves = [(table, half, _key(table, half, sets)) for table in tables for half in table.halves]
    shapes: dict[str, Shape] = {}
    calls: dict[str, Call] = {}
    unpaid, all_sets = free(list(tables[0].halves[0].scores)), place.share(sets)
    for table, half, key in halves:
        shared = place.share(half)
        for each in range(seed, seed + seeds):
            name = f"{key}/{each}"
            shapes[name] = Many(Number(0, len(half.accuracy) - 1, whole=True), len(sets), len(sets))
            played = shared, all_sets, unpaid, table.finalists, table.envs, each
            calls[name] = Call(name, _play, played)
        shapes[f"{key}/tau"] = Many(Number(-1 - 1e-9, 1 + 1e-9), len(sets), len(sets))
        calls[f"{key}/tau"] = Call(f"{key}/tau", _taus, (shared, all_sets))
    figures = np.empty((len(tables), len(HALVES), len(FIGURES), len(sets)))
    with Journal(work, {"job": "reproduce choose", "code": jobs.code()}) as journal:

        def made(keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
            units = Listed(calls[key] for key in keys)
            for done, (unit, value) in enumerate(place.run(units), len(shapes) - len(keys) + 1):
                progress(done, len(shapes))
                yield unit.key, value

        values = dict(zip(shapes, jobs.each_piece(jobs.InJournal(journal), shapes, made), strict=True))
    for number, (_, half, key) in enumerate(halves):
        found = [values[f"{key}/{each}"] for each in range(seed, seed + seeds)]
        at = figures[divmod(number, len(HALVES))]
        at[0], at[1] = half.shares[found].mean(0), half.accuracy[found].mean(0)
        at[2] = values[f"{key}/tau"]
    return Choice(tables, sets, figures)


def _key(table: Played, half: Half, sets: list[Set]) -> str:
    facts = [half.digest(), sets, table.finalists, table.envs]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _play(
    half: Half,
    sets: list[Set],
    unpaid: Sequence[str],
    finalists: int,
    envs: int,
    seed: int,
    threads: int,
    progress: Progress,
) -> list[int]:
    return play(half, sets, unpaid, finalists=finalists, envs=envs, seed=seed, progress=progress)


def _taus(half: Half, sets: list[Set], threads: int, progress: Progress) -> list[float]:
    return taus(half, sets, progress)
