"""Masked passes: every contender checked against the reference, then all of them timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.bench.contenders import REFERENCE, Contender, Logits, get_contender
from znas.bench.plan import Group, Supernet, masks_at
from znas.bench.process import Worker, WorkerFailed
from znas_engine.backends.checks import LOGIT_TOLERANCE
from znas_engine.backends.rounding import tolerance
from znas_engine.cores import available_cores
from znas_engine.graph import Graph
from znas_engine.spaces import Mask

Row = dict[str, Any]

#: Masks of the check, not among those that are timed.
CHECKED = 3


class Arena:
    """The contenders of one supernet and one number of threads, alive together once one is asked for.

    All have one cache, so that nobody's first timed call pays for what the check left there.
    """

    def __init__(self, supernet: Supernet, threads: int, names: Sequence[str], cache: Path) -> None:
        self.supernet = supernet
        self.threads = threads
        self.names = tuple(names)
        self.cache = cache
        self._stack = ExitStack()
        self._workers: dict[tuple[Contender, Supernet], Worker | WorkerFailed] = {}
        #: By kind of mask and dtype of the weights.
        self._expected: dict[tuple[str, str | None], tuple[Mask, Logits]] = {}
        self.space, macro, environment = supernet.build()
        self.graph: Graph = self.space.supernet(macro)
        self.labels = environment.batch.labels

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def entrants(self, group: Group) -> list[str]:
        """Who takes part for this kind of mask."""
        return [
            name for name in self.names if group.kind == "one-hot" or not get_contender(name).one_hot_only
        ]

    def worker(self, name: str) -> Worker:
        """Started when it is first asked for; WorkerFailed, each time, if that failed."""
        return self._started(get_contender(name), self.supernet, self.threads)

    def _started(self, contender: Contender, supernet: Supernet, threads: int) -> Worker:
        key = (contender, supernet)
        if key not in self._workers:
            try:
                made = Worker(contender, supernet, threads, self.cache)
                self._workers[key] = self._stack.enter_context(made)
            except WorkerFailed as failure:
                self._workers[key] = failure
        found = self._workers[key]
        if isinstance(found, WorkerFailed):
            raise found
        return found

    def measure(self, group: Group, rounds: int, progress: Callable[[], None]) -> list[Row]:
        """One row per contender of the group; `progress` is called after every timed call."""
        rows = self.checked("passes", group)
        for number in range(rounds):
            timed = [row for row in rows if row["passed"] or _is_forgiven(row)]
            first = CHECKED + number * group.masks
            masks = masks_at(self.space, group.kind, first, group.masks)
            gmac = mean_gmac(self.graph, masks)
            start = number % max(len(timed), 1)  # nobody is always the first after a pause
            for row in timed[start:] + timed[:start]:
                self._time(row, masks, gmac)
                progress()
        return rows

    def expected(self, kind: str, rounded: str | None = None) -> tuple[Mask, Logits]:
        """The masks of the check, and the reference's logits [G, n, classes] for them, on the processor.
        rounded: with weights as that dtype holds them. Computed once."""
        if (kind, rounded) not in self._expected:
            masks = masks_at(self.space, kind, 0, CHECKED)
            supernet = replace(self.supernet, device="cpu", rounded=rounded)
            reference, threads = get_contender(REFERENCE), self.threads
            if supernet != self.supernet:
                # Where it is not timed itself it has all cores, mask after mask: a GPU waits for it.
                reference, threads = replace(reference, shares="operations"), available_cores()
            self._expected[kind, rounded] = masks, self._started(reference, supernet, threads).logits(masks)
        return self._expected[kind, rounded]

    def tolerance(self, kind: str, dtype: str) -> float:
        """What logits may be off by, relative to the largest of their mask."""
        if dtype == "float32":
            return LOGIT_TOLERANCE[dtype]
        return tolerance(dtype, *(list(self.expected(kind, which)[1]) for which in (None, dtype)))

    def checked(self, part: str, group: Group) -> list[Row]:
        """Rows without times: whether each entrant's logits are those of the reference."""
        masks, expected = self.expected(group.kind)
        rows = []
        for name in self.entrants(group):
            row = empty_row(part, group, name)
            try:
                worker = self.worker(name)
                row |= {"prepare_seconds": worker.prepare_seconds, "batched": worker.batched}
                count = CHECKED + (group.masks if worker.batched else 0)
                wanted = expected[np.arange(count) % CHECKED]
                most = self.tolerance(group.kind, row["dtype"])
                row |= check(wanted, worker.logits(masks, group.masks), most, self.labels)
            except WorkerFailed as failure:
                row["why"] = str(failure)
            rows.append(row)
        return rows

    def _time(self, row: Row, masks: Mask, gmac: float) -> None:
        try:
            worker = self.worker(row["contender"])
            if get_contender(row["contender"]).ready:
                worker.time(masks)
            found = worker.time(masks)
        except WorkerFailed as failure:
            row |= {"passed": False, "why": str(failure), "seconds": [], "latencies": [], "gmac": []}
            return
        row["seconds"].append(found["seconds"] / len(masks))
        row["latencies"] += found["latencies"]
        row["gmac"].append(gmac)


def _is_forgiven(row: Row) -> bool:
    """Whether it answered, though wrongly, and is timed all the same."""
    return "error" in row and get_contender(row["contender"]).forgiven


def empty_row(part: str, group: Group, name: str) -> Row:
    """A row that has neither passed its check nor been timed."""
    return {
        "part": part,
        **group.facts,
        "contender": name,
        "dtype": get_contender(name).dtype,
        "passed": False,
        "seconds": [],
        "latencies": [],
        "gmac": [],
    }


def check(expected: Logits, found: Logits, most: float, labels: NDArray[np.int64] | None) -> dict[str, Any]:
    """Logits [G, n, classes] of a contender against the reference's.

    error: the largest difference, relative to the reference's largest logit (of each mask; the worst mask).
    argmax_agreement: share of images with the same class. passed: error of `most` or less, and where the two
    best classes are further apart than twice that, equal counts of correct images (equal classes where there
    are no labels). why: what failed.
    """
    if found.shape != expected.shape:
        return {"passed": False, "why": f"logits of shape {list(found.shape)}, not {list(expected.shape)}"}
    scale = np.abs(expected).max((1, 2))
    error = float((np.abs(found - expected).max((1, 2)) / scale).max())
    same = found.argmax(2) == expected.argmax(2)
    best = np.sort(expected, axis=2)
    certain = best[:, :, -1] - best[:, :, -2] > 2 * most * scale[:, None]
    if labels is None:
        counted = bool(same[certain].all())
    else:
        correct = [(logits.argmax(2) == labels) & certain for logits in (expected, found)]
        counted = bool(np.array_equal(correct[0].sum(1), correct[1].sum(1)))
    result: dict[str, Any] = {"error": error, "argmax_agreement": float(same.mean()), "counts_equal": counted}
    if not error <= most:
        result["why"] = f"logits off by {error:.2g} of the largest, above {most:.2g}"
    elif not counted:
        result["why"] = "counts differ where the margin allows no difference"
    return result | {"passed": "why" not in result}


def mean_gmac(graph: Graph, masks: Mask) -> float:
    """Multiply-accumulates per image, in 1e9, of the nodes that each mask leaves alive; mean over masks."""
    totals = [
        sum(node.flops for node, live in zip(graph.nodes, graph.live(mask), strict=True) if live)
        for mask in masks
    ]
    return float(np.mean(totals)) / 1e9
