"""Which architectures are scored: those that are written down, of a file, random ones, all of a space."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from znas.admitted import admitted
from znas.hooks import QUIET, Report
from znas.network import read
from znas.selection.finalists import DRAWS, different
from znas.selection.members import members
from znas_engine.arguments import check_between
from znas_engine.errors import InvalidValueError, briefly
from znas_engine.paths import named
from znas_engine.spaces import Genotype, SearchSpace
from znas_engine.tables import read_architectures

#: Random architectures, at most.
MOST = 100_000


def written(space: SearchSpace[Any], architectures: Any) -> list[Genotype]:
    """What a list of architectures says, in any notation of the space or as genotypes; InvalidValueError."""
    if isinstance(architectures, str | bytes | Genotype) or not isinstance(architectures, Iterable):
        raise InvalidValueError(
            f"`architectures` must be a list of architectures but got {briefly(architectures)}: write [...] "
            "around one"
        )
    return [read(space, each) for each in architectures]


def of_file(space: SearchSpace[Any], file: str | Path, report: Report = QUIET.report) -> list[Genotype]:
    """Of a table, a benchmark's folder, or a file with one per line; DataError."""
    return read_architectures(named(file, "`file`"), space, report=report)


def drawn(space: SearchSpace[Any], number: int, rng: np.random.Generator, report: Report) -> list[Genotype]:
    """So many random architectures, admitted and of different functions; fewer, which is said, where the
    space has no more. InvalidValueError where it admits none."""
    paths = (space.random_path(rng) for _ in range(DRAWS * number))
    found = list(islice(different(space, paths, set()), number))
    found = found or [admitted(space, lambda: space.random_path(rng))]
    if len(found) < number:
        report(f"{space.name} gave {len(found):,} random architectures that differ, {number:,} were asked")
    return [space.genotype(mask) for mask in found]


def every(space: SearchSpace[Any]) -> list[Genotype]:
    """All of a small space, disconnected ones included; InvalidValueError for a large one."""
    return [space.genotype(mask) for mask in members(space)]


def distinct(genotypes: Iterable[Genotype], report: Report = QUIET.report) -> dict[str, Genotype]:
    """By notation, in the order of their first appearance; what repeats one is said and does not count."""
    given = list(genotypes)
    found: dict[str, Genotype] = {}
    for genotype in given:
        found.setdefault(str(genotype), genotype)
    if len(given) > len(found):
        report(f"{len(given) - len(found):,} of {len(given):,} architectures repeat another and count once")
    return found


def number_of(name: str, value: Any) -> int:
    """Of random architectures."""
    return check_between(name, value, 0, MOST)
