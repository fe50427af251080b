"""What searches find under limits, looked up: accuracies beside the best there is, and limits broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from znas import jobs
from znas.calls import Pieces, Task, each_piece
from znas.costs.latencies import Latencies
from znas.costs.latency_table import LatencyTable
from znas.costs.limits import Bound, Budget, Counted
from znas.costs.quantities import Limit, in_words
from znas.hooks import QUIET, Hooks
from znas.method import Method
from znas.reproduce.sheet import Sheet
from znas.reproduce.statistics import Summary, summary
from znas.reproduce.trials import check_seeds
from znas.request import Request
from znas.scoring.batches import identity
from znas.search import select
from znas.selection.criteria import Floats
from znas.setup import Setup
from znas_engine.errors import DataError, unknown_choice
from znas_engine.evaluator import ALL
from znas_engine.journal import Journal
from znas_engine.progress import Progress
from znas_engine.scores import Score
from znas_engine.spaces import Mask
from znas_engine.tables import Table

#: Limits: these percentiles of what the architectures of the table cost.
QUARTILES = (25, 50, 75)
#: Costs that are known exactly, beside the devices of the table.
EXACT = ("params", "flops")
#: An entry of the journal.
FOUND = {"arch": str}
NOTES = (
    "limit: that percentile of the table's costs; accuracies in percent, mean ± deviation over seeds",
    "best: the highest accuracy of the table within the limit; regret: best less found",
    "random, largest: the mean accuracy within the limit, and that of the most parameters within it",
    "broken: seeds whose architecture is over the limit, by the table",
    (
        "HELP (NeurIPS 2021) reports on CIFAR-100 and a Xeon 6226 under 8, 11 and 14 ms 67.3, 70.2 and 72.1 "
        "of 69.33, 71.50 and 72.75: regrets of 2.0, 1.3 and 0.7 on another column and device"
    ),
)


class Remembering(Setup):
    """Measures no mask twice: searches of one seed under different limits share what they measured."""

    @cached_property
    def _values(self) -> dict[tuple[Any, ...], Floats]:
        return {}

    def measure(
        self,
        masks: Mask,
        rows: slice = ALL,
        *,
        scores: Sequence[Score] | None = None,
        environments: slice = ALL,
    ) -> Floats:
        own = self.scores if scores is None else scores
        what = (tuple(score.name for score in own), environments.start, environments.stop)
        keys = [(mask.tobytes(), *what) for mask in masks]
        new = [i for i, key in enumerate(keys) if key not in self._values]
        if new:
            found = super().measure(masks[new], rows, scores=scores, environments=environments)
            for i, values in zip(new, found.T, strict=True):
                self._values[keys[i]] = values
        return np.stack([self._values[key] for key in keys], axis=1)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of the architectures of both tables that the space admits: masks [n, E, O], accuracies
    and parameters [n], and every cost by name [n]."""

    archs: list[str]
    masks: Mask
    accuracy: Floats
    params: Floats
    costs: dict[str, Floats]

    @classmethod
    def of(cls, setup: Setup, table: Table, column: str, latency: LatencyTable) -> Truth:
        """DataError where the tables share nothing."""
        space = setup.space
        masks = table.masks(space)
        there = [i for i, mask in enumerate(masks) if space.admits(mask)]
        known = {latency.space.mask(g).tobytes(): k for k, g in enumerate(latency.genotypes)}
        both = [i for i in there if masks[i].tobytes() in known]
        if not both:
            raise DataError(f"the tables {table.path} and {latency.path} have no architecture in common")
        rows = [known[masks[i].tobytes()] for i in both]
        counted = {name: Counted.named(name, space, setup.trained).of_masks(masks[both]) for name in EXACT}
        return cls(
            [str(table.genotypes[i]) for i in both],
            masks[both],
            table.columns[column][both],
            counted["params"],
            {name: values[rows] for name, values in latency.columns.items()} | counted,
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One limit: a cost, a percentile of it, and what that is."""

    cost: str
    percentile: int
    most: float

    @property
    def name(self) -> str:
        return f"{self.cost}/{self.percentile}"

    @property
    def kind(self) -> str:
        return self.cost if self.cost in EXACT else "latency"


def cases(truth: Truth, devices: Sequence[str] | None) -> list[Case]:
    """Every cost at every quartile; InvalidValueError for a device that the table does not have."""
    for name in devices or ():
        if name not in truth.costs:
            raise unknown_choice("device", name, truth.costs)
    return [
        Case(name, q, float(np.percentile(values, q)))
        for name, values in truth.costs.items()
        if devices is None or name in devices
        for q in QUARTILES
    ]


def constrained(
    request: Request,
    truth: Truth,
    chosen: Sequence[Case],
    *,
    latency: LatencyTable,
    measured: int,
    seeds: int,
    work: Path,
    progress: Progress = QUIET.progress,
) -> dict[str, list[str]]:
    """What is found under every limit with the seeds `request.seed`, ...; what `work` holds is not repeated.

    measured: rows of the latency table that predictions are made from, other ones for every seed.
    """
    check_seeds(request.seed, seeds, 1)
    first = Setup(request)
    method = Method.of(request.settled(), first.space, first.scores)
    about = identity(
        first,
        job="reproduce constrained",
        method=method.to_dict(),
        latency=jobs.file(latency.path, "the latency table"),
        measured=measured,
        network=asdict(first.trained),
    )
    searches = {
        f"{case.name}/{case.most!r}/{seed}": (seed, case)
        for seed in range(request.seed, request.seed + seeds)
        for case in chosen
    }

    def tasks(keys: Sequence[str]) -> Iterator[Task]:
        for seed, of_seed in groupby(keys, lambda key: searches[key][0]):
            wanted = {key: searches[key][1] for key in of_seed}
            do = partial(_of_seed, wanted, latency, measured)
            yield Task(f"seed {seed}", first.at_hand(replace(request, seed=seed)), do)

    found: dict[str, list[str]] = {case.name: [] for case in chosen}
    with Journal(work, about) as journal:
        shapes = dict.fromkeys(searches, FOUND)
        values = each_piece(first, jobs.InJournal(journal), shapes, tasks, Hooks(progress))
        for (_, case), value in zip(searches.values(), values, strict=True):
            found[case.name].append(value["arch"])
    return found


def _of_seed(
    wanted: dict[str, Case], latency: LatencyTable, measured: int, request: Request, hooks: Hooks
) -> Pieces:
    """Under each of the limits, by key; what is measured under one is not measured again under another."""
    searches = _Searches(request, hooks, latency, measured)
    for key, case in wanted.items():
        yield key, searches.under(case)


class _Searches:
    """Those of one seed."""

    def __init__(self, request: Request, hooks: Hooks, latency: LatencyTable, measured: int) -> None:
        self.request, self.hooks, self.latency, self.measured = request, hooks, latency, measured
        self._costs: dict[str, Counted | Latencies] = {}

    @cached_property
    def setup(self) -> Remembering:
        return Remembering(self.request, self.hooks)

    def under(self, case: Case) -> dict[str, str]:
        setup = self.setup
        if case.cost not in self._costs:
            self._costs[case.cost] = self._cost(case.cost)
        limit = Limit(case.kind, case.most, False, None if case.kind in EXACT else case.cost, str(case.most))
        bound = Bound(limit, case.most, self._costs[case.cost])
        setup.budget = Budget(setup.space, setup.trained, (bound,))
        method = Method.of(setup.request.settled(), setup.space, setup.scores)
        return {"arch": select(setup, method).arch}

    def _cost(self, name: str) -> Counted | Latencies:
        setup = self.setup
        if name in EXACT:
            return Counted.named(name, setup.space, setup.trained)
        return Latencies(
            setup.space, setup.trained, name, self.latency, seed=setup.seed, measured=self.measured
        )


def sheet(truth: Truth, chosen: Sequence[Case], found: dict[str, list[str]], notes: Sequence[str]) -> Sheet:
    """Accuracies, regrets and limits broken."""
    entries = [_entry(truth, case, found[case.name]) for case in chosen]
    return Sheet(
        title=f"Searches under limits, {len(found[chosen[0].name])} seeds",
        headings=[
            *("cost", "limit", "within", "found", "best", "regret"),
            *("random", "largest", "broken"),
        ],
        cells=[list(_cells(entry)) for entry in entries],
        notes=[*NOTES, *notes],
        records=[
            {name: value for name, value in entry.items() if name not in ("found", "regret", "architectures")}
            | {f"{of}_{part}": entry[of][part] for of in ("found", "regret") for part in ("mean", "std")}
            for entry in entries
        ],
        data={"table": "constrained", "rows": entries},
    )


def _entry(truth: Truth, case: Case, archs: list[str]) -> dict[str, Any]:
    within = truth.costs[case.cost] <= case.most
    rows = {arch: row for row, arch in enumerate(truth.archs)}
    for arch in archs:
        if arch not in rows:
            raise DataError(f"the tables do not have the architecture {arch}")
    own = [rows[arch] for arch in archs]
    best = float(truth.accuracy[within].max())
    most = truth.params[within] == truth.params[within].max()
    return {
        "cost": case.cost,
        "percentile": case.percentile,
        "limit": case.most,
        "within": float(within.mean()),
        "found": asdict(summary(truth.accuracy[own])),
        "best": best,
        "regret": asdict(summary(best - truth.accuracy[own])),
        "random": float(truth.accuracy[within].mean()),
        "largest": float(truth.accuracy[within][most].mean()),
        "broken": int((~within[own]).sum()),
        "architectures": archs,
    }


def _cells(entry: dict[str, Any]) -> Iterator[str]:
    kind = entry["cost"] if entry["cost"] in EXACT else "latency"
    yield entry["cost"]
    yield f"{in_words(kind, entry['limit'])} ({entry['percentile']} %)"
    yield f"{entry['within']:.0%}"
    for name in ("found", "best", "regret"):
        value = entry[name]
        yield f"{value:.2f}" if isinstance(value, float) else _spread(Summary(**value))
    yield f"{entry['random']:.2f}"
    yield f"{entry['largest']:.2f}"
    yield str(entry["broken"])


def _spread(found: Summary) -> str:
    return f"{found.mean:.2f}" + ("" if found.std is None else f" ± {found.std:.2f}")
