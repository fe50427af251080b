"""Where the boxes of a graph lie that runs from the top to the bottom, and the ways of its arrows.

    layout = layered(boxes, arrows)         # Sugiyama, Tagawa & Toda 1981, with boxes as wide as their texts

A text is a box: it overlaps nothing because boxes do not, and an arrow keeps clear of it because the ranks
that an arrow passes hold a place for it. Units are points of a picture; y grows downwards.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

#: Between two boxes of a rank, between ranks, and the width that an arrow takes in a rank that it passes.
GAP, BETWEEN, PASSING = 10.0, 22.0, 4.0
#: Rounds down and up in which boxes change places, and in which they are moved to be straight.
ORDERINGS, STRAIGHTENINGS = 12, 40
#: Boxes below one another, at most, of what has no branches.
COLUMN = 12

#: How much a link between two ranks wants to be straight, by how many of its ends are of an arrow that passes
#: (Gansner, Koutsofios, North & Vo 1993).
STRAIGHT = (1.0, 2.0, 8.0)

Point = tuple[float, float]
Arrow = tuple[Hashable, Hashable]


@dataclass(frozen=True, slots=True)
class Box:
    """width, height: of the box. rank: its row, from 0 on. x, y: of its middle, once it has a place."""

    key: Hashable
    width: float
    height: float
    rank: int = 0
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Layout:
    """boxes: by key. ways: of every arrow, as it was given, the points that it goes through: from the lower
    edge of a box to the upper edge of another. width, height: all of it lies between 0 and these."""

    boxes: Mapping[Hashable, Box]
    ways: Sequence[Sequence[Point]]
    width: float
    height: float


def longest_paths(keys: Sequence[Hashable], arrows: Sequence[Arrow]) -> dict[Hashable, int]:
    """The number of arrows on the longest way to every key; ValueError for what runs in a circle."""
    found = dict.fromkeys(keys, 0)
    for _ in keys:
        moved = False
        for source, target in arrows:
            if found[target] <= found[source]:
                found[target], moved = found[source] + 1, True
        if not moved:
            return found
    if arrows:
        raise ValueError("the arrows run in a circle")
    return found


def layered(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> Layout:
    """Boxes in the rows of their ranks, in an order with few crossings. Every arrow goes down by a rank or
    more; boxes without arrows keep their place in the order in which they are given."""
    board = _Board.of(boxes, arrows)
    board.order()
    xs = board.straightened()
    tops = board.tops()
    left = min(xs[key] - board.all[key].width / 2 for key in board.all)
    right = max(xs[key] + board.all[key].width / 2 for key in board.all)
    placed = {
        key: replace(box, x=xs[key] - left, y=tops[box.rank][0] + tops[box.rank][1] / 2)
        for key, box in board.all.items()
    }
    ways = [_way([placed[key] for key in chain], tops) for chain in board.chains]
    own = {box.key: placed[box.key] for box in boxes}
    return Layout(own, ways, right - left, sum(tops[-1]))


def folded(boxes: Sequence[Box]) -> Layout:
    """Boxes that follow one another, in columns of at most COLUMN of even length, with an arrow from each to
    the next."""
    columns = -(-len(boxes) // COLUMN)
    size = -(-len(boxes) // columns)
    wide = max(box.width for box in boxes)
    tall = max(box.height for box in boxes)
    step, aside = tall + BETWEEN, wide + 4 * GAP
    placed = [
        replace(
            box,
            rank=i % size,
            x=wide / 2 + aside * (i // size),
            y=tall / 2 + step * (i % size) + (BETWEEN if columns > 1 else 0),
        )
        for i, box in enumerate(boxes)
    ]
    ways = []
    for box, after in pairwise(placed):
        start, end = (box.x, box.y + box.height / 2), (after.x, after.y - after.height / 2)
        if after.rank:
            ways.append([start, end])
            continue
        middle, low, high = (box.x + after.x) / 2, start[1] + BETWEEN / 2, end[1] - BETWEEN / 2
        ways.append([start, (box.x, low), (middle, low), (middle, high), (after.x, high), end])
    height = size * step - BETWEEN + (2 * BETWEEN if columns > 1 else 0)
    return Layout({box.key: box for box in placed}, ways, columns * aside - 4 * GAP, height)


@dataclass
class _Board:
    """all: boxes by key, those of passing arrows too. rows: keys by rank from left to right. chains: the keys
    that an arrow goes through. links: between neighbouring ranks, upper and lower key."""

    all: dict[Hashable, Box]
    rows: list[list[Hashable]]
    chains: list[list[Hashable]]
    links: list[list[Arrow]] = field(default_factory=list)

    @classmethod
    def of(cls, boxes: Sequence[Box], arrows: Sequence[Arrow]) -> _Board:
        known = {box.key: box for box in boxes}
        chains: list[list[Hashable]] = []
        for number, (source, target) in enumerate(arrows):
            first, last = known[source].rank, known[target].rank
            if last <= first:
                raise ValueError(f"the arrow from {source!r} to {target!r} does not go down")
            passed = [Box(("passing", number, rank), PASSING, 0, rank) for rank in range(first + 1, last)]
            known |= {box.key: box for box in passed}
            chains.append([source, *(box.key for box in passed), target])
        rows: list[list[Hashable]] = [[] for _ in range(1 + max(box.rank for box in known.values()))]
        for box in known.values():
            rows[box.rank].append(box.key)
        links: list[list[Arrow]] = [[] for _ in rows[1:]]
        for chain in chains:
            for upper, lower in pairwise(chain):
                links[known[upper].rank].append((upper, lower))
        return cls(known, rows, chains, links)

    def order(self) -> None:
        """Barycentres down and up, then neighbours that cross less when they change places; the best seen."""
        best, fewest = [list(row) for row in self.rows], self.crossings()
        for turn in range(ORDERINGS):
            downwards = turn % 2 == 0
            ranks = range(1, len(self.rows)) if downwards else range(len(self.rows) - 2, -1, -1)
            for rank in ranks:
                self._by_barycentre(rank, downwards)
            self._swap()
            if (now := self.crossings()) < fewest:
                best, fewest = [list(row) for row in self.rows], now
        self.rows = best

    def _by_barycentre(self, rank: int, downwards: bool) -> None:
        beside = self.rows[rank - 1 if downwards else rank + 1]
        places = {key: place for place, key in enumerate(beside)}
        near: dict[Hashable, list[int]] = {}
        for upper, lower in self.links[rank - 1 if downwards else rank]:
            own, other = (lower, upper) if downwards else (upper, lower)
            near.setdefault(own, []).append(places[other])
        now = {key: place for place, key in enumerate(self.rows[rank])}
        self.rows[rank].sort(key=lambda key: (float(np.mean(near.get(key, [now[key]]))), now[key]))

    def _swap(self) -> None:
        for rank, row in enumerate(self.rows):
            beside = [each for each in (rank - 1, rank) if 0 <= each < len(self.links)]
            for place in range(len(row) - 1):
                before = self.crossings(beside)
                row[place], row[place + 1] = row[place + 1], row[place]
                if self.crossings(beside) >= before:
                    row[place], row[place + 1] = row[place + 1], row[place]

    def crossings(self, ranks: Iterable[int] | None = None) -> int:
        """How often two arrows cross between these ranks and the next ones, all by default."""
        found = 0
        for rank in range(len(self.links)) if ranks is None else ranks:
            above = {key: place for place, key in enumerate(self.rows[rank])}
            below = {key: place for place, key in enumerate(self.rows[rank + 1])}
            ends = sorted((above[upper], below[lower]) for upper, lower in self.links[rank])
            found += sum(
                ends[i][0] < ends[j][0] and ends[i][1] > ends[j][1]
                for i in range(len(ends))
                for j in range(i + 1, len(ends))
            )
        return found

    def tops(self) -> list[tuple[float, float]]:
        """The upper edge of every rank, and its height."""
        found, top = [], 0.0
        for row in self.rows:
            height = max(self.all[key].height for key in row)
            found.append((top, height))
            top += height + BETWEEN
        return found

    def straightened(self) -> dict[Hashable, float]:
        """x by key: close to what a box is linked with, in the order of its row and apart from each other."""
        xs = {key: 0.0 for row in self.rows for key in row}
        near: dict[Hashable, list[tuple[Hashable, float]]] = {key: [] for key in xs}
        for upper, lower in (link for links in self.links for link in links):
            weight = STRAIGHT[sum(self.all[key].height == 0 for key in (upper, lower))]
            near[upper].append((lower, weight))
            near[lower].append((upper, weight))
        for turn in range(STRAIGHTENINGS):
            for row in self.rows if turn % 2 == 0 else self.rows[::-1]:
                wanted, weights = [], []
                for key in row:
                    total = sum(weight for _, weight in near[key])
                    pull = sum(xs[other] * weight for other, weight in near[key])
                    wanted.append(pull / total if total else xs[key])
                    weights.append(total or 1.0)
                placed = _apart([self.all[key].width for key in row], wanted, weights)
                xs |= dict(zip(row, placed, strict=True))
        self._align(xs)
        return xs

    def _align(self, xs: dict[Hashable, float]) -> None:
        """Makes an arrow's way through several ranks one straight line where its neighbours leave room."""
        beside: dict[Hashable, tuple[Hashable | None, Hashable | None]] = {}
        for row in self.rows:
            for left, key, right in zip([None, *row], row, [*row[1:], None], strict=False):
                beside[key] = left, right
        for chain in self.chains:
            low, high = -np.inf, np.inf
            for key in chain[1:-1]:
                left, right = beside[key]
                if left is not None:
                    low = max(low, xs[left] + (self.all[left].width + PASSING) / 2 + GAP)
                if right is not None:
                    high = min(high, xs[right] - (self.all[right].width + PASSING) / 2 - GAP)
            if len(chain) > 3 and low <= high:
                middle = float(np.clip(np.mean([xs[key] for key in chain[1:-1]]), low, high))
                xs |= dict.fromkeys(chain[1:-1], middle)


def _apart(widths: Sequence[float], wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The places nearest to those wanted, in weighted squares, at which boxes of these widths stand apart in
    their order: neighbours that would overlap move together, as in isotonic regression."""
    offsets = np.cumsum([0.0, *((a + b) / 2 + GAP for a, b in pairwise(widths))])
    pools: list[tuple[float, float, int]] = []  # weighted sum, weight, boxes
    for place, weight in zip(np.array(wanted) - offsets, weights, strict=True):
        pools.append((float(place) * weight, weight, 1))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] >= pools[-1][0] / pools[-1][1]:
            (total, heavy, count), (before, less, fewer) = pools.pop(), pools.pop()
            pools.append((before + total, less + heavy, fewer + count))
    level = np.repeat([total / heavy for total, heavy, _ in pools], [count for _, _, count in pools])
    found: list[float] = (level + offsets).tolist()
    return found


def _way(chain: Sequence[Box], tops: Sequence[tuple[float, float]]) -> list[Point]:
    """Straight down through the ranks that it passes."""
    points: list[Point] = [(chain[0].x, chain[0].y + chain[0].height / 2)]
    for box in chain[1:-1]:
        top, height = tops[box.rank]
        points += [(box.x, top), (box.x, top + height)]
    return [*points, (chain[-1].x, chain[-1].y - chain[-1].height / 2)]
