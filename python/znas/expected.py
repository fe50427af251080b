"""How many masked passes lie ahead, and how long they take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import prod
from typing import Any

from znas.hooks import Report
from znas.meaning import never
from znas.method import Method
from znas.selection.criteria import is_exact
from znas.selection.race import CHUNKS
from znas.selection.strategies import SHORTLIST, edge_pairs
from znas_engine.progress import duration
from znas_engine.spaces import SearchSpace

#: Seconds of passes from which the time of all is estimated, and from which that is worth a word.
MEASURED, WORTH_A_WORD = 1.0, 5.0
#: A space with so many choices for every architecture that the final round wants has them.
PLENTY = 4


@dataclass(frozen=True, slots=True)
class Expected:
    """Masks that a search will measure, counted once per environment. at_most: whether it may be fewer."""

    masks: int
    at_most: bool


def expected(
    method: Method, space: SearchSpace[Any], envs: int, *, front: bool = False, limits: bool = False
) -> Expected:
    """What `znas.search.select` will measure in so many environments: worths of operations, then of edges,
    then the final round; or what `znas.shortlist` will. front: whether architectures of every cost are
    compared too, about as many as finalists. limits: whether it goes on to neighbours of its best, as many at
    most."""
    if method.selection == SHORTLIST:
        more = method.finalists * (front + limits)
        left = sum(-(-method.finalists // 2**k) for k in range(1, envs))
        return Expected(2 * method.finalists + 1 + more + left + (envs - 1) * (method.finalists + 1), True)
    options = [len(space.options(e)) for e in range(len(space.edges))]
    into = [len(edges) for edges in space.contested_nodes()]
    worths, edges = sum(options), sum(into)
    if method.game == "interaction":
        worths += 1 + sum(options[e] * options[f] for e, f in edge_pairs(space))
    if method.game == "shapley":
        worths = sum(_coalitions(method, players) for players in options)
        edges = sum(1 << players for players in into)
    if method.selection == "sequential" and method.order == "confidence":
        worths *= 2
    final = 0 if method.finalists == 1 else method.finalists * (1 + method.ranks + front + limits)
    certain = (
        never(method.p)
        and method.game == "none"
        and method.selection == "algorithm1"
        and method.race is None
        and not front
        and not limits
        and min(options) > 1  # the only operation of an edge is asked for once for all such edges
        and prod(options) >= PLENTY * final
    )
    worths = (worths + edges) * (1 if method.race is None else CHUNKS)
    return Expected((worths + final) * envs, not certain)


def _coalitions(method: Method, players: int) -> int:
    if is_exact(method.estimator, players) or method.max_evaluations is None:
        return 1 << players
    return min(1 << players, method.max_evaluations)


@dataclass(slots=True)
class Estimate:
    """Says once, after the first passes, how long all of them will take."""

    report: Report
    at_most: bool
    _first: tuple[float, int] | None = field(default=None, init=False)
    _said: bool = field(default=False, init=False)

    def __call__(self, done: int, total: int) -> None:
        """done of `total` passes."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now, done
        began, before = self._first
        if self._said or done == before or now - began < MEASURED:
            return
        self._said = True
        seconds = (now - began) * (1 + (total - done) / (done - before))
        if seconds >= WORTH_A_WORD:
            most = "at most " if self.at_most else ""
            self.report(f"{most}{total:,} masked passes, about {duration(seconds)}")
