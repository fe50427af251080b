"""Racing: an edge is measured chunk by chunk of images until its winner is decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from znas.interventions.query import Query
from znas.selection.criteria import Floats
from znas_engine.arguments import number
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask

#: Equal parts that the images of every environment are measured in.
CHUNKS = 8
#: Paired differences that a spread is estimated from, at least.
REPLICATES = 4
#: Spreads of so small a part of a score are rounding.
ROUNDING = 1e-12


def check_race(confidence: float, images: int, min_images: int) -> None:
    """InvalidValueError for a confidence outside [0.5, 1), or images that are not CHUNKS parts of at least
    `min_images`."""
    if not 0.5 <= number("race", confidence, "at least 0.5 and below 1") < 1:
        raise InvalidValueError(f"`race` must be at least 0.5 and below 1 but got {confidence:g}")
    if images % CHUNKS or images < CHUNKS * min_images:
        valid = max(-(-images // CHUNKS), min_images) * CHUNKS
        raise InvalidValueError(
            f"--race measures {CHUNKS} equal chunks of at least {min_images} images but got {images:,}: "
            f"pass --images {valid}"
        )


@dataclass(frozen=True, slots=True)
class Heat:
    """The race of one edge. chunks: measured of CHUNKS. error: `error_bound` when it was decided, or None
    where the race went to its end."""

    chunks: int
    error: float | None


@dataclass(slots=True)
class Race:
    """Scores of queries as means over chunks of images; an edge stops when its winner is decided.

        for each chunk:
            measure it under the masks of all edges that still race, in every environment
            stop the edges whose leader is the best with probability >= confidence

    The operations of an edge are compared on the same chunks and environments (paired replicates). do(e, o)
    of at least two operations on one edge race; everything else is measured on all chunks.

    measure: (masks float32 [G, E, O], number of the chunk) -> scores float64 [K, G].
    heats: per edge that raced. measured, saved: scores of one mask in one environment on one chunk.
    """

    measure: Callable[[Mask, int], Floats]
    confidence: float
    heats: dict[int, Heat] = field(default_factory=dict)
    measured: int = 0
    saved: int = 0

    def __call__(self, queries: Sequence[Query]) -> Floats:
        """float64 [K, G]: the mean over the chunks that were measured."""
        masks = np.stack([query.mask for query in queries])
        racing = _edges_in_question(queries)
        running = np.ones(len(queries), dtype=bool)
        seen: list[Floats] = []
        for chunk in range(CHUNKS):
            scores = self.measure(masks[running], chunk)
            seen.append(np.full((len(scores), len(queries)), np.nan))
            seen[-1][:, running] = scores
            self.measured += scores.size
            if chunk + 1 == CHUNKS:
                break
            for e, members in list(racing.items()):
                error = error_bound(np.concatenate(seen)[:, members], looks(len(scores)))
                if error <= 1 - self.confidence:
                    del racing[e]
                    running[members] = False
                    self.heats[e] = Heat(chunk + 1, error)
                    self.saved += len(members) * len(scores) * (CHUNKS - chunk - 1)
            if not running.any():
                break
        self.heats |= {e: Heat(CHUNKS, None) for e in racing}
        means: Floats = np.nanmean(seen, axis=0)
        return means


def _edges_in_question(queries: Sequence[Query]) -> dict[int, list[int]]:
    """Per edge with at least two do(e, o): their positions."""
    found: dict[int, list[int]] = {}
    for i, query in enumerate(queries):
        if query.neurons:
            found.setdefault(query.edges[0], []).append(i)
    return {e: members for e, members in found.items() if len(members) > 1}


def looks(environments: int) -> int:
    """How often an edge may stop before the last chunk: from REPLICATES replicates on."""
    return max(0, CHUNKS - -(-REPLICATES // environments))


def error_bound(replicates: Floats, looks: int) -> float:
    """Bound on the probability of declaring best a leader (largest mean) that is not.

        looks * (n - 1) * max over opponents of P(Student t with m - 1 degrees > mean / (s / sqrt(m)))

    of the leader's paired differences: a p-value with a union bound over opponents and looks. It holds for
    normal differences. Differences without any spread (counts of few images) decide nothing.

    replicates: float64 [m, n], a row per chunk and environment, a column per operation. 1 below REPLICATES.
    """
    m, n = replicates.shape
    if m < REPLICATES:
        return 1.0
    from scipy.special import stdtr

    leader = int(replicates.mean(0).argmax())
    leads = replicates[:, [leader]] - np.delete(replicates, leader, axis=1)
    spread = leads.std(0, ddof=1) / np.sqrt(m)
    if (spread <= ROUNDING * np.abs(replicates).max()).any():
        return 1.0
    tail = float(stdtr(m - 1, -leads.mean(0) / spread).max())
    return float(min(1.0, looks * (n - 1) * tail))
