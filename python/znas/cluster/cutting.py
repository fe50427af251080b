"""How masks become units: of a few seconds each for the worker that takes one, and smaller at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from znas.cluster.bench import Shared
from znas.cluster.unit import Cell, Measurement
from znas_engine.environment import Environment
from znas_engine.evaluator import Scores
from znas_engine.spaces import Mask

#: Seconds of a unit: usual; at least, unless there is less to do than that for every worker.
USUAL, LEAST = 5.0, 0.2
#: Masks of a unit of whose speed nothing is known yet, and of which a unit is a multiple where it can be: a
#: backend may compute so many together.
FIRST = 16
#: Of a new measurement of a worker's speed, how much counts.
NEWEST = 0.5


@dataclass(frozen=True, slots=True)
class Work:
    """Masks float32 [G, E, O] in every one of these environments, by the same scores.

    share: of the k-th environment, what workers are sent.
    """

    masks: Mask
    environments: Sequence[Environment]
    scores: Shared
    rows: slice
    share: Callable[[Environment], Shared]


@dataclass(slots=True)
class _Open:
    """A work of which something is left to measure. parts: of every environment, (which masks, values)."""

    work: Work
    left: int
    parts: list[list[tuple[NDArray[np.intp], Scores]]] = field(default_factory=list)

    def whole(self) -> Scores:
        """What `Evaluator.evaluate` gives of all of it."""
        rows, total, setup, evaluate, images = [], 0, 0.0, 0.0, 0
        for parts in self.parts:
            first = parts[0][1]
            values = np.empty((len(first.values), len(self.work.masks)))
            for which, found in parts:
                values[:, which] = found.values
                total, images = total + found.evaluations, found.images
                setup, evaluate = setup + found.setup_seconds, evaluate + found.evaluate_seconds
            rows.append(values)
        return Scores(np.concatenate(rows), total, images, setup, evaluate)


@dataclass(frozen=True, slots=True)
class _Piece:
    work: int
    environment: int
    which: NDArray[np.intp]


class Cutter:
    """Cuts works into units as workers ask for them, and puts values together again.

    order: of masks, in which neighbours are best measured together. lanes: how many workers there are. Works
    are taken from `works` as they are needed, so that memory is bounded whatever their number; one without
    masks makes no unit.
    """

    ahead = 2  # so that a worker never waits for its next unit

    def __init__(
        self,
        works: Iterable[Work],
        supernet: Shared,
        order: Callable[[Mask], NDArray[np.intp]],
        lanes: Callable[[], int],
    ) -> None:
        self._works = enumerate(works)
        self._supernet = supernet
        self._order = order
        self._lanes = lanes
        self._open: dict[int, _Open] = {}
        self._pieces: deque[_Piece] = deque()
        self._of_unit: dict[str, list[_Piece]] = {}
        self._left = 0  # masks of all pieces
        self._speed: dict[Hashable, float] = {}  # of a worker, in masks per second
        self._speeds = 0.0  # of all together: a sum over thousands of workers would be made for every unit
        self._latest: tuple[tuple[int, int], Shared] = ((-1, -1), supernet)
        self._ended = False
        self._units = 0

    def take(self, worker: Hashable) -> Measurement | None:
        """The next unit for that worker; None when all are handed out."""
        wanted = self._wanted(worker)
        pieces: list[_Piece] = []
        while wanted > 0 and self._more():
            piece = self._pieces.popleft()
            if len(piece.which) > wanted:
                rest = _Piece(piece.work, piece.environment, piece.which[wanted:])
                self._pieces.appendleft(rest)
                piece = _Piece(piece.work, piece.environment, piece.which[:wanted])
            pieces.append(piece)
            wanted -= len(piece.which)
            self._left -= len(piece.which)
        if not pieces:
            return None
        unit = Measurement(f"unit {self._units}", self._supernet, tuple(map(self._cell, pieces)))
        self._units += 1
        self._of_unit[unit.key] = pieces
        return unit

    def put(self, unit: Measurement, values: Sequence[Scores]) -> Iterator[tuple[int, Scores]]:
        """The values of a unit; yields the numbers of works that are whole now, and what they gave."""
        for piece, found in zip(self._of_unit.pop(unit.key), values, strict=True):
            open_ = self._open[piece.work]
            open_.parts[piece.environment].append((piece.which, found))
            open_.left -= len(piece.which)
            if not open_.left:
                yield piece.work, self._open.pop(piece.work).whole()

    def timed(self, worker: Hashable, masks: int, seconds: float) -> None:
        """How long a worker took for a unit."""
        new = masks / max(seconds, 1e-6)
        old = self._speed.get(worker, 0.0)
        self._speed[worker] = NEWEST * new + (1 - NEWEST) * (old or new)
        self._speeds += self._speed[worker] - old

    def _wanted(self, worker: Hashable) -> int:
        """Masks that take it about `USUAL` seconds; fewer where half of its share of what is left is less."""
        if not self._speed:
            return FIRST
        usual = self._speeds / len(self._speed)
        speed = self._speed.get(worker, usual)
        self._more()
        seconds = USUAL
        if self._ended:
            seconds = min(USUAL, max(LEAST, self._left / usual / (2 * max(self._lanes(), 1))))
        wanted = int(seconds * speed)
        return max(1, wanted if wanted < FIRST else wanted // FIRST * FIRST)

    def _more(self) -> bool:
        """Whether there is a piece to hand out; takes works until there are enough for all workers."""
        while not self._ended and self._left < self._enough():
            number, work = next(self._works, (-1, None))
            if work is None:
                self._ended = True
                break
            self._begin(number, work)
        return bool(self._pieces)

    def _enough(self) -> float:
        """Masks that keep all workers busy for a while."""
        speed = self._speeds / len(self._speed) if self._speed else FIRST / USUAL
        return 2 * USUAL * speed * max(self._lanes(), 1)

    def _begin(self, number: int, work: Work) -> None:
        count, environments = len(work.masks), len(work.environments)
        if not count:
            return
        self._open[number] = _Open(work, count * environments, [[] for _ in range(environments)])
        order = self._order(work.masks)
        self._pieces.extend(_Piece(number, k, order) for k in range(environments))
        self._left += count * environments

    def _cell(self, piece: _Piece) -> Cell:
        work = self._open[piece.work].work
        which = piece.work, piece.environment
        if which != self._latest[0]:  # those of one follow one another; drawn again, it would be sent again
            self._latest = which, work.share(work.environments[piece.environment])
        return Cell(self._latest[1], work.scores, work.rows, np.ascontiguousarray(work.masks[piece.which]))
