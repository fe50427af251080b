"""The latency of a search's networks on one target: predicted from a few, measured where it counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from znas.costs.features import Floats, Reader, random_masks
from znas.costs.latency import DEVICES, PROCESSES, Latency, Meter, Target
from znas.costs.latency_table import LatencyTable
from znas.costs.predictor import CHOICE, MEASURED, LatencyModel, sample, sample_of
from znas_engine.errors import InvalidValueError, briefly
from znas_engine.progress import Progress, unheard
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace

#: Rows of a table that a prediction is made from, at most.
MOST_ROWS = 200
#: Seconds of repeats, at most, of an architecture that only teaches.
TEACHING = 1.0
#: Random architectures of which sums over edges are fitted to predictions, and how many of them may be
#: further above their prediction than what the sum is allowed.
SUMMED, BEYOND = 1000, 0.01


class Latencies:
    """Of networks of one size on one target, in milliseconds.

    target: backend:device[:threads], or a column of `table`, which then is what measures: latencies that
    are known already. measured: architectures that a prediction is made from, MEASURED of those that are
    measured here and MOST_ROWS of a table by default.

    Raises:
        InvalidValueError, MissingDependencyError, DataError: no such target, one that is not here, a table
            that cannot be read.
    """

    def __init__(
        self,
        space: SearchSpace[Any],
        macro: Macro,
        target: str,
        table: Path | LatencyTable | None = None,
        *,
        seed: int = 0,
        measured: int | None = None,
        progress: Progress = unheard,
        report: Callable[[str], None] = unheard,
    ) -> None:
        self.space, self.macro, self.target = space, macro, target
        self.seed, self.measured, self._progress, self._report = seed, measured, progress, report
        self.table: LatencyTable | None = None
        self._taken: dict[str, Latency] = {}
        if target.partition(":")[0] not in DEVICES:
            self.table = _table(table, space, target)
        else:
            self.target = str(Target.parse(target))
            Target.parse(target).check()

    @cached_property
    def model(self) -> LatencyModel:
        """Fitted when it is first asked for, its error told."""
        rng = np.random.default_rng(self.seed)
        if self.table is not None:
            rows = _rows(self.table, self.space, self.macro, self.measured or MOST_ROWS, rng)
            genotypes = [self.table.genotypes[row] for row in rows]
            times = self.table.column(self.target)[rows].tolist()
        else:
            genotypes, times = sample(self.space, self.measured or MEASURED, rng), []
            self._report(f"measuring {len(genotypes)} architectures on {self.target}")
            with Meter(self.space, self.macro, Target.parse(self.target), seconds=TEACHING) as meter:
                for genotype in genotypes:
                    times.append(meter.measure(genotype).median_ms)
                    self._progress(len(times), len(genotypes))
        model = LatencyModel.fit(self.space, self.macro, genotypes, times)
        self._report(
            f"latency on {self.target}: predicted from {len(genotypes)} architectures by {model.form}; held "
            f"out: {model.error}"
        )
        return model

    def of(self, genotype: Genotype) -> float:
        """As predicted."""
        return float(self.model.predict([genotype])[0])

    def of_masks(self, masks: Mask) -> Floats:
        """As predicted, of masks [n, E, O]."""
        return self.model.of_masks(masks)

    def measurable(self, genotype: Genotype) -> bool:
        """Whether `measure` knows more than a prediction."""
        return self.table is None or self.table.find(genotype, self.target) is not None

    def measure(self, genotype: Genotype) -> Latency | float | None:
        """On the target, once; or what the table has, None where that has none."""
        if self.table is not None:
            return self.table.find(genotype, self.target)
        if (name := str(genotype)) not in self._taken:
            self._taken[name] = self._meter.measure(genotype)
        return self._taken[name]

    @cached_property
    def _meter(self) -> Meter:
        """Whose processes end with this object: a front measures some dozens."""
        return Meter(self.space, self.macro, Target.parse(self.target), processes=PROCESSES)

    per_operation = None

    @cached_property
    def relaxed(self) -> tuple[Floats, float]:
        """What is nearly never more than the prediction, as a sum: what every operation adds on its edge,
        float64 [E, O], -inf where it is no candidate, and the rest."""
        masks = random_masks(self.space, SUMMED, np.random.default_rng(0))
        predicted = self.of_masks(masks)
        flat = masks.reshape(len(masks), -1).astype(np.float64)
        design = np.hstack([flat, np.ones((len(masks), 1))])
        weights = np.linalg.lstsq(design, predicted, rcond=None)[0]
        beyond = float(np.quantile(design @ weights - predicted, 1 - BEYOND))
        costs = np.where(self.space.candidates, weights[:-1].reshape(self.space.shape), -np.inf)
        return costs, float(weights[-1]) - max(beyond, 0.0)


def _table(given: Path | LatencyTable | None, space: SearchSpace[Any], target: str) -> LatencyTable:
    if given is None:
        raise InvalidValueError(
            f"`max_latency` must name where it is measured, {', '.join(DEVICES)} and a device as in "
            f"ort:cpu:1, or a column of --latency-table FILE, but got {briefly(target)}"
        )
    table = given if isinstance(given, LatencyTable) else LatencyTable.read(given, space)
    table.column(target)
    return table


def _rows(
    table: LatencyTable, space: SearchSpace[Any], macro: Macro, count: int, rng: np.random.Generator
) -> list[int]:
    """Of what the space admits so many, those that say most; all of it if there is no more."""
    if len(table.admitted) <= count:
        return table.admitted
    pool = rng.permutation(table.admitted)[: CHOICE * count].tolist()
    reader = Reader(space, macro)
    features = reader.read(reader.masks([table.genotypes[row] for row in pool]))
    return [pool[i] for i in sample_of(features, count, rng)]
