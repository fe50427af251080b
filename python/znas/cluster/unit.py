"""A unit of work: a pure function of what it holds, done by any worker, as often as need be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from znas.cluster.bench import Bench, Shared
from znas_engine.evaluator import Scores
from znas_engine.progress import Progress
from znas_engine.spaces import Mask


class Unit(Protocol):
    """What a worker is given. key: names what it is of. masks: how many it measures, 0 where nobody knows."""

    @property
    def key(self) -> str: ...

    @property
    def masks(self) -> int: ...

    def run(self, bench: Bench) -> Any:
        """Its value; anything that pickles."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Masks float32 [n, E, O] in one environment, by these scores, on these rows of its images."""

    environment: Shared
    scores: Shared
    rows: slice
    masks: Mask


@dataclass(frozen=True, slots=True)
class Measurement:
    """Masked passes of one supernet. Its value: what `Evaluator.evaluate` gives of every cell."""

    key: str
    supernet: Shared
    cells: tuple[Cell, ...]

    @property
    def masks(self) -> int:
        return sum(len(cell.masks) for cell in self.cells)

    def run(self, bench: Bench) -> list[Scores]:
        evaluator = bench.evaluator(self.supernet)
        return [
            evaluator.evaluate(
                cell.masks,
                score=bench.get(cell.scores),
                environments=bench.get(cell.environment),
                rows=cell.rows,
                progress=bench.advance,
            )
            for cell in self.cells
        ]


@dataclass(frozen=True, slots=True)
class Call:
    """Anything else that takes long, such as one whole search: `function(*arguments, threads, progress)`.

    arguments: each a value, or `Shared`. threads: how many the worker may use. progress: to be told now and
    then that something is going on.
    """

    key: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    @property
    def masks(self) -> int:
        return 0

    def run(self, bench: Bench) -> Any:
        given = [bench.get(each) if isinstance(each, Shared) else each for each in self.arguments]
        progress: Progress = bench.advance
        return self.function(*given, bench.threads, progress)
