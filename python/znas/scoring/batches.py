"""Scores of many architectures as themselves: in batches, each of which is a piece of a work file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas import jobs
from znas.setup import Setup
from znas.shape import SECONDS, Many, Number, Shape
from znas_engine.backends import get_backend
from znas_engine.scores import Score
from znas_engine.spaces import Genotype

#: Architectures per piece.
BATCH = 64

_VALUE = Number(-sys.float_info.max, sys.float_info.max)


@dataclass(frozen=True, slots=True)
class Batch:
    """values: float64 [K * S, n], as `Setup.measure` has them. seconds: that it cost when it was measured."""

    values: NDArray[np.float64]
    seconds: float


class Batches:
    """The scores of every architecture, `BATCH` at a time and in order; of a part of a job, those of its own.

        batches = Batches(setup, genotypes, kept, "scores")
        found = list(batches)
        kept.whole()

    kept: the finished pieces. prefix: of their keys: what tells these values from others in the same work
    file. total: how many architectures are in them. Raises what `Setup.measure` raises.
    """

    def __init__(self, setup: Setup, genotypes: Sequence[Genotype], kept: jobs.Kept, prefix: str) -> None:
        self._setup, self._kept = setup, kept
        batches = {
            f"{prefix}/{start}": genotypes[start : start + BATCH] for start in range(0, len(genotypes), BATCH)
        }
        self._batches = {key: batches[key] for key in kept.mine(batches)}
        self.total = sum(map(len, self._batches.values()))

    def __iter__(self) -> Iterator[Batch]:
        rows = self._setup.envs * len(self._setup.scores)
        shapes: dict[str, Shape] = {
            key: {"values": Many(Many(_VALUE, len(batch), len(batch)), rows, rows), "seconds": SECONDS}
            for key, batch in self._batches.items()
        }
        for found in jobs.each_piece(self._kept, shapes, self._measured):
            yield Batch(np.array(found["values"]), found["seconds"])

    def _measured(self, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        setup = self._setup
        masks = (np.stack([setup.space.mask(genotype) for genotype in self._batches[key]]) for key in keys)
        before = setup.setup_seconds + setup.evaluate_seconds
        for number, values in setup.measure_each(masks):
            now = setup.setup_seconds + setup.evaluate_seconds
            yield keys[number], {"values": values.tolist(), "seconds": now - before}
            before = now


def identity(setup: Setup, scores: Sequence[Score] = (), **facts: Any) -> dict[str, Any]:
    """What measured values depend on, of a job with these facts and scores."""
    return jobs.measured(
        dataset=setup.dataset,
        space=setup.space,
        macro=setup.macro,
        evaluator=get_backend(setup.record),
        scores=scores,
        facts=facts
        | {
            "backend": setup.backend,
            "device": ",".join(setup.devices),
            "dtype": setup.dtype,
            "images": setup.images,
            "norm": setup.norm,
        },
    )
