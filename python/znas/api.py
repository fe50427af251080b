"""`znas.search`: images in, architecture out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.interventions import GaussianIntervention, draw_replaced
from znas.result import EdgeReport, ScoreReport, SearchResult, Seconds
from znas.selection.operations import select_operations
from znas.selection.topology import connect, contested_edges, one_hot, select_edges
from znas.settings import SearchSettings
from znas_engine import __version__
from znas_engine.backends import get_backend
from znas_engine.data import Dataset, load
from znas_engine.environment import derive_seed, draw_environments
from znas_engine.scores import get_score
from znas_engine.spaces import Macro, Mask, SearchSpace, get_space, resize

Progress = Callable[[int, int], None]
Report = Callable[[str], None]


def search(
    settings: SearchSettings | None = None,
    *,
    progress: Progress = lambda done, total: None,
    report: Report = lambda line: None,
    **arguments: Any,
) -> SearchResult:
    """Select an architecture by interventions on a randomly initialised supernet (paper, Algorithm 1).

        for each edge e and operation o that may be selected:
            V[e, o] = draw from D(Z)                with probability p (equation 8)
                      score under do(e, o)          otherwise
        genotype: argmax_o V[e, o] per edge (equation 10); DARTS keeps, per node, the two edges whose
                  drop(e) costs most (Corollary 2.1)

    Args:
        settings: a whole `SearchSettings`; or give its fields as keyword arguments:
        space: "nasbench201" or "darts".
        data: "gaussian" (needs no files), "cifar10", "cifar100" or "imagefolder"; data_dir: their folder.
        backend: "auto", "ort" or "torch".
        score: "naswot", or the paper's "accuracy" (needs labels).
        p: probability in [0, 1] that a neuron's score is drawn instead of measured. Cost falls as 1 - p.
        envs: environments (weight seed and image batch); scores are averaged over them. Cost is
            proportional, the spread of a mean falls with the square root.
        images: images per environment; more make a score steadier, cost is proportional.
        norm: "calibrated", "batch" or "identity"; init: "gaussian", "uniform" or "constant".
        seed: decides weights, images, interventions and ties.
        threads: worker threads; the result does not depend on them.
        channels, cells, resolution: size of the supernet; None is the space's own.
        progress: called with (masked passes done, all of them).
        report: called with one-line remarks worth showing.

    Raises:
        ZnasError: bad arguments, bad images, a missing package, a score that is not finite; one line each.
    """
    if settings is None:
        settings = SearchSettings(**arguments)
    elif arguments:
        raise TypeError("give either `settings` or keyword arguments, not both")
    started = time.perf_counter()
    space = get_space(settings.space)
    dataset = load(settings.data, data_dir=settings.data_dir, resolution=settings.resolution)
    macro = resize(
        space.search_macro(resolution=dataset.resolution, classes=dataset.classes),
        channels=settings.channels,
        cells=settings.cells,
    )
    plan = _Plan.draw(space, settings.p, np.random.default_rng(derive_seed(settings.seed, "replaced")))
    observation = _observe(plan, space, macro, dataset, settings, progress, report)
    selecting = time.perf_counter()
    found = _select(plan, observation.values, space, settings)
    notes: list[str] = list(found.notes)
    if settings.p == 1:
        notes.append("p = 1 with a neutral prior: nothing was measured, the architecture is a uniform draw")
    genotype = space.genotype(found.mask)
    network_macro = space.evaluation_macro(resolution=dataset.resolution, classes=dataset.classes)
    network = space.network(genotype, network_macro)
    ended = time.perf_counter()
    return SearchResult(
        settings=settings,
        genotype=genotype,
        supernet=macro,
        macro=network_macro,
        params=network.parameters,
        flops=network.flops,
        device=observation.device,
        origin=dataset.origin,
        observed=int((~plan.replaced[: len(plan.neurons)]).sum()),
        intervened=int(plan.replaced[: len(plan.neurons)].sum()),
        ensembles_observed=int((~plan.replaced[len(plan.neurons) :]).sum()),
        ensembles_intervened=int(plan.replaced[len(plan.neurons) :].sum()),
        evaluations=observation.evaluations,
        edges=found.edges,
        seconds=Seconds(
            total=ended - started,
            setup=selecting - started - observation.evaluate_seconds,
            evaluate=observation.evaluate_seconds,
            select=ended - selecting,
        ),
        notes=tuple(notes),
        versions={"znas-engine": __version__}
        | {package: version(package) for package in ("numpy", *observation.packages)},
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What has a score: neurons (edge, operation), then ensembles; and which of them are drawn (eq. 8)."""

    neurons: list[tuple[int, int]]
    ensembles: list[int]
    replaced: NDArray[np.bool_]

    @classmethod
    def draw(cls, space: SearchSpace[Any], p: float, rng: np.random.Generator) -> _Plan:
        operations = [o for o, selectable in enumerate(space.selectable) if selectable]
        neurons = [(e, o) for e in range(len(space.edges)) for o in operations]
        ensembles = contested_edges(space)
        return cls(neurons, ensembles, draw_replaced(len(neurons) + len(ensembles), p, rng))

    def masks(self, space: SearchSpace[Any]) -> Mask:
        """float32 [observed, E, O], in the order of the plan."""
        every = [space.do(e, o) for e, o in self.neurons] + [space.drop(e) for e in self.ensembles]
        chosen = [mask for mask, replaced in zip(every, self.replaced, strict=True) if not replaced]
        return np.stack(chosen) if chosen else np.empty((0, *space.shape), np.float32)


@dataclass(frozen=True, slots=True)
class _Observation:
    """values: float64 [K, plan], NaN where a draw will come."""

    values: NDArray[np.float64]
    evaluations: int
    evaluate_seconds: float
    device: str
    packages: tuple[str, ...]


def _observe(
    plan: _Plan,
    space: SearchSpace[Any],
    macro: Macro,
    dataset: Dataset,
    settings: SearchSettings,
    progress: Progress,
    report: Report,
) -> _Observation:
    values = np.full((settings.envs, len(plan.replaced)), np.nan)
    masks = plan.masks(space)
    if not len(masks):
        return _Observation(values, 0, 0.0, "cpu", ())
    evaluator = get_backend(settings.backend)(
        space, macro, norm=settings.norm, threads=settings.threads, report=report
    )
    environments = draw_environments(
        dataset, count=settings.envs, images=settings.images, init=settings.init, seed=settings.seed
    )
    scores = evaluator.evaluate(
        masks, score=get_score(settings.score), environments=environments, progress=progress
    )
    values[:, ~plan.replaced] = scores.values
    return _Observation(
        values, scores.evaluations, scores.evaluate_seconds, evaluator.device, evaluator.packages
    )


@dataclass(frozen=True, slots=True)
class _Selection:
    mask: Mask
    edges: tuple[EdgeReport, ...]
    notes: tuple[str, ...]


def _select(
    plan: _Plan, observed: NDArray[np.float64], space: SearchSpace[Any], settings: SearchSettings
) -> _Selection:
    """Intervene, then Algorithm 1, then the topology rules of the space."""
    rng = np.random.default_rng(derive_seed(settings.seed, "interventions"))
    ties = np.random.default_rng(derive_seed(settings.seed, "ties"))
    split = len(plan.neurons)
    values = GaussianIntervention().apply(observed, plan.replaced, rng)
    edge_count, operation_count = space.shape
    scores = np.full((edge_count, operation_count), np.nan)
    scores[tuple(zip(*plan.neurons, strict=True))] = values[:, :split].mean(0)
    selected = select_operations(scores, ties)
    notes: list[str] = []
    if space.in_edges is None:
        repaired = connect(space, scores, selected)
        for e in np.flatnonzero(repaired != selected):
            name = space.operations[repaired[e]]
            notes.append(f"{space.edges[e].label}: none disconnected the cell and gave way to {name}")
        selected = repaired
    dropped = np.full(edge_count, np.nan)
    dropped[plan.ensembles] = values[:, split:].mean(0)
    kept = select_edges(space, dropped, ties)
    mask = one_hot(selected, operation_count)
    mask[~kept] = 0
    reports = [_report(values[:, i], intervened=bool(plan.replaced[i])) for i in range(values.shape[1])]
    neurons = dict(zip(plan.neurons, reports[:split], strict=True))
    ensembles = dict(zip(plan.ensembles, reports[split:], strict=True))
    edges = tuple(
        EdgeReport(
            edge=edge.label,
            selected=space.operations[selected[e]],
            kept=bool(kept[e]),
            operations={name: neurons[e, o] for o, name in enumerate(space.operations) if (e, o) in neurons},
            drop=ensembles.get(e),
        )
        for e, edge in enumerate(space.edges)
    )
    return _Selection(mask, edges, tuple(notes))


def _report(values: NDArray[np.float64], *, intervened: bool) -> ScoreReport:
    return ScoreReport(
        values=tuple(values.tolist()),
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if len(values) > 1 else None,
        intervened=intervened,
    )
