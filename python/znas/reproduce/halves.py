"""Tables with the scores of their architectures, cut in halves: one to choose on, one to report on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from znas.reproduce.measured import Measured
from znas.reproduce.played import Half
from znas.request import Request
from znas_engine.arguments import check_between, distinct
from znas_engine.environment import derive_seed
from znas_engine.errors import DataError, InvalidValueError, unknown_choice
from znas_engine.scores import StaticScore, get_score


@dataclass(frozen=True, eq=False)
class Played:
    """A table by a name of its own, its halves, and the finalists and environments of the default search in
    its space; as many of these as were measured."""

    name: str
    measured: Measured
    halves: tuple[Half, Half]
    finalists: int
    envs: int

    def __str__(self) -> str:
        sizes = " and ".join(f"{len(half.accuracy):,}" for half in self.halves)
        return (
            f"{self.name}: {self.measured.column} of {self.measured.table}, {self.measured.space.name}, "
            f"{sizes} functions; {self.finalists} finalists, {self.envs} environments of "
            f"{self.halves[0].environments}"
        )


def read(folders: Sequence[Path], asked: Sequence[str] | None, request: Request) -> list[Played]:
    """What `reproduce correlation` left in these folders, in halves, with the scores that are tried: those
    that were asked for, or all that every folder has.

    Raises InvalidValueError: nothing measured in one, one table twice, scores that not all have, none without
    a pass, too many finalists for a half; DataError where a file is not as it was written.
    """
    measured = [Measured.of(folder) for folder in folders]
    for one, other in combinations(measured, 2):
        if _same(one, other):
            raise InvalidValueError(
                f"{one.folder} and {other.folder} are of one table, which would count twice: name one of them"
            )
    scores = _common(measured, asked)
    names = [each.folder.name for each in measured]
    if len(set(names)) < len(names):
        names = [str(each.folder) for each in measured]
    halves = _halves(measured, scores, request.seed)
    return [_played(*each, request) for each in zip(names, measured, halves, strict=True)]


def _same(one: Measured, other: Measured) -> bool:
    """Whether what they have in common has the same accuracies."""
    if one.space.name != other.space.name:
        return False
    known = dict(zip(map(str, one.genotypes), one.accuracy.tolist(), strict=True))
    both = [(known.get(str(g)), a) for g, a in zip(other.genotypes, other.accuracy.tolist(), strict=True)]
    common = [pair for pair in both if pair[0] is not None]
    return bool(common) and all(first == second for first, second in common)


def _common(measured: Sequence[Measured], asked: Sequence[str] | None) -> list[str]:
    """The scores that are tried, one of which needs no pass."""
    for each in measured:
        for name in distinct("`scores`", asked or ()):
            if name not in each.scores:
                raise unknown_choice(f"score of {each.folder}", name, each.scores)
    scores = list(asked or measured[0].scores)
    scores = [name for name in scores if all(name in each.scores for each in measured)]
    if not scores:
        has = "; ".join(f"{each.folder} has {', '.join(each.scores)}" for each in measured)
        raise InvalidValueError(f"the folders share no score: {has}: run reproduce correlation again")
    if not free(scores):
        raise InvalidValueError(
            f"a shortlist is made by scores that need no pass, but {', '.join(scores)} all need one: run "
            "reproduce correlation with params or cell_path_norm too"
        )
    return scores


def free(scores: Sequence[str]) -> list[str]:
    """Those that need no pass."""
    return [name for name in scores if isinstance(get_score(name), StaticScore)]


def _halves(measured: Sequence[Measured], scores: Sequence[str], seed: int) -> list[tuple[Half, Half]]:
    """By functions, each of which is in the same half of all tables of its space: what is chosen on one table
    is not reported on the same architectures of another."""
    drawn: dict[tuple[str, Hashable], float] = {}
    rngs = {m.space.name: np.random.default_rng(derive_seed(seed, "halves", m.space.name)) for m in measured}
    found = []
    for each in measured:
        space, rows = each.space, dict[Hashable, list[int]]()
        for i, genotype in enumerate(each.genotypes):
            if space.admits(space.mask(genotype)):
                rows.setdefault(space.function_of(genotype), []).append(i)
        parts: tuple[list[list[int]], list[list[int]]] = [], []
        for function, of in rows.items():
            chance = drawn.setdefault((space.name, function), rngs[space.name].random())
            parts[chance >= 0.5].append(of)
        found.append((_half(each, parts[0], scores), _half(each, parts[1], scores)))
    return found


def _half(measured: Measured, functions: Sequence[list[int]], scores: Sequence[str]) -> Half:
    """functions: the architectures of each, of which the first stands for all."""
    firsts = [rows[0] for rows in functions]
    if len(firsts) < 2:
        raise DataError(f"{measured.folder} has too few architectures to be cut in halves: give another")
    values = {name: measured.scores[name][:, firsts] for name in scores}
    return Half(values, measured.accuracy[firsts], np.array([len(rows) for rows in functions]))


def _played(name: str, measured: Measured, halves: tuple[Half, Half], request: Request) -> Played:
    asked = replace(request, space=measured.space).settled()
    finalists = check_between("finalists", asked.finalists, 1, None)
    size = min(len(half.accuracy) for half in halves)
    if finalists >= size:
        raise InvalidValueError(
            f"`finalists` must be fewer than the {size} functions of a half of {name} but got {finalists}: "
            f"pass --finalists {size // 2}, or leave {name} out"
        )
    envs = min(check_between("envs", asked.envs, 1, None), halves[0].environments)
    return Played(name, measured, halves, finalists, envs)
