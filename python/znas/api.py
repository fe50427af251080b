"""`znas.search`: images in, architecture out."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.games import get_game
from znas.interventions import get_intervention
from znas.interventions.knowledge import FromPrior, Knowledge, Neutral
from znas.interventions.scorer import IntervenedScorer
from znas.observer import Observer
from znas.presets import DEFAULT, settings_from
from znas.result import EdgeReport, RaceReport, ScoreReport, SearchResult, Seconds
from znas.selection.aggregate import OF_ONE_SCORE, Aggregate, get_aggregate, stability
from znas.selection.criteria import Criterion, KeepOne, LeaveOneOut, Shapley, Worth, is_exact, spread
from znas.selection.finalists import finalists, references
from znas.selection.operations import one_hot
from znas.selection.race import CHUNKS, Heat, Race
from znas.selection.strategies import AllAtOnce, Interactions, Sequential, Strategy
from znas.selection.topology import EnsembleWorth, drop_worths, select_edges, shapley_worths
from znas.settings import SHIPPED, SearchSettings
from znas_engine import __version__
from znas_engine.data import load
from znas_engine.environment import derive_seed
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask, SearchSpace, get_space

Progress = Callable[[int, int], None]
Report = Callable[[str], None]


def search(
    settings: SearchSettings | None = None,
    *,
    preset: str | None = None,
    progress: Progress = lambda done, total: None,
    report: Report = lambda line: None,
    **arguments: Any,
) -> SearchResult:
    """Select an architecture by interventions on a randomly initialised supernet (paper, section 3).

        for each edge e and operation o that may be selected:
            V[e, o] = draw from D(Z)                with probability p (equation 8)
                      score under do(e, o)          otherwise
        genotype: argmax_o V[e, o] per edge (Algorithm 1, equation 10), or of its Shapley value (equation
                  11); DARTS keeps, per node, the two edges whose loss costs most (Corollary 2.1)

    Args:
        settings: a whole `SearchSettings`; or give its fields as keyword arguments.
        preset: what the fields are that are not given: "log-rank" (the default), "paper" or "naswot"; see
            `znas.presets`.
        space: the name of a space or `package.module:Name`; see `znas_engine.spaces`.
        data: "gaussian" (needs no files), "cifar10", "cifar100" or "imagefolder"; data_dir: their folder.
        backend: "native", "ort", "torch" or "trt"; "auto" is the first of these that can run here, and
            `report` is told what those before it lack.
        device: "cpu", "cuda:N" or several GPUs, "cuda:0,cuda:1", among which masks are shared out; "default"
            is the first GPU for trt and the CPU for the others; "auto" is the same, but the backend "auto"
            takes the first GPU if results of its compute capability are committed
            (`znas_engine.gpu.MEASURED`). The result names the card.
        dtype: what products read, "float32", "bfloat16" (native, trt) or "float16" (native and ort on a
            GPU, trt).
        score: "naswot", the paper's "accuracy" (needs labels), or another of `znas_engine.scores`; several
            are joined by "+", as in "naswot+path_norm+flops".
        p: probability that a score is drawn instead of measured: a number in [0, 1], one per edge, or "auto"
            (Proposition 1; needs a prior). Cost falls as 1 - p.
        intervention: "gaussian", "cdf_difference" (uniform or constant weights) or "bayesian".
        prior: D(Z): a file of `znas-engine prior fit`, "shipped", or None for a neutral one. force_prior:
            use it although it was not found to rank better than chance. prior_scale: "aligned" moves it to
            the scale of what is observed, "raw" draws it as it is.
        game: "none", "shapley", or "interaction" (pairs of operations on different edges).
        estimator, precision, max_evaluations: how Shapley values are computed; see `znas.games`.
        selection: "algorithm1", or "sequential" (decide, fix, go on) in an order: "random", "node" or
            "confidence". criterion: "keep" or "leave-one-out".
        aggregate: over environments and scores, "mean" or "lcb" (of one score), "rank", "log_rank", or
            "auto": mean for one score and log_rank for several.
        finalists: this many architectures with the best sums of scores are compared as themselves at the
            end; ranks are taken among as many random architectures.
        race: a confidence in [0.5, 1): images come in 8 chunks, and an edge whose winner is decided at that
            confidence is measured no further; scores are means over chunks. None: all images at once.
        envs: environments (weight seed and image batch). Cost is proportional, the spread of a mean falls
            with the square root.
        images: images per environment; more make a score steadier, cost is proportional.
        norm: "calibrated", "batch" or "identity"; init: "gaussian", "uniform" or "constant".
        seed: decides weights, images, interventions and ties.
        threads: worker threads; the result does not depend on them.
        channels, cells, resolution: size of the supernet; None is the space's own.
        progress: called with (masked passes done, those known to be needed).
        report: called with one-line remarks worth showing.

    Raises:
        ZnasError: bad arguments, bad images, a missing package, a score that is not finite; one line each.
    """
    if settings is None:
        settings = settings_from(preset or DEFAULT, **arguments)
    elif arguments or preset is not None:
        raise TypeError("give either `settings` or keyword arguments, not both")
    if settings.remark is not None:
        report(settings.remark)
    started = time.perf_counter()
    space = get_space(settings.space)
    knowledge = _knowledge(settings)
    dataset = load(settings.data, data_dir=settings.data_dir, resolution=settings.resolution)
    macro = space.macro_for(dataset, channels=settings.channels, cells=settings.cells)
    observer = Observer(space, macro, dataset, settings, progress, report)
    race = None if settings.race is None else Race(_chunks(observer, settings), settings.race)
    scorer = IntervenedScorer(
        observe=race or (lambda queries: observer(np.stack([query.mask for query in queries]))),
        rows=len(settings.rows),
        edges=len(space.edges),
        p=settings.p,
        knowledge=knowledge,
        intervention=get_intervention(settings.intervention),
        rng_replaced=_rng(settings, "replaced"),
        rng_draws=_rng(settings, "interventions"),
    )
    mask, edges, notes = _select(space, scorer, observer, race, settings)
    if settings.p == 1 and settings.prior is None:
        notes.append("p = 1 with a neutral prior: nothing was measured, the architecture is a uniform draw")
    genotype = space.genotype(mask)
    network_macro = space.evaluation_macro_for(dataset)
    network = space.network(genotype, network_macro)
    total = time.perf_counter() - started
    working = observer.setup_seconds + observer.evaluate_seconds
    account = scorer.account
    return SearchResult(
        settings=settings,
        genotype=genotype,
        supernet=macro,
        macro=network_macro,
        params=network.parameters,
        flops=network.flops,
        device=observer.device,
        agreement=observer.agreement,
        origin=dataset.origin,
        p=scorer.settled_p,
        auto=scorer.auto,
        observed=account.observed,
        intervened=account.intervened,
        ensembles_observed=account.ensembles_observed,
        ensembles_intervened=account.ensembles_intervened,
        evaluations=observer.evaluations,
        race=None if race is None else RaceReport(race.confidence, CHUNKS, race.measured, race.saved),
        edges=edges,
        seconds=Seconds(
            total=total,
            setup=observer.setup_seconds,
            evaluate=observer.evaluate_seconds,
            select=total - working,
        ),
        notes=tuple(notes),
        versions={"znas-engine": __version__, "numpy": np.__version__} | observer.versions(),
    )


def _chunks(observer: Observer, settings: SearchSettings) -> Callable[[Mask, int], NDArray[np.float64]]:
    """What a race measures: masks on a part of the images."""
    size = settings.images // CHUNKS
    return lambda masks, chunk: observer(masks, slice(chunk * size, (chunk + 1) * size))


def _rng(settings: SearchSettings, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(settings.seed, purpose))


def _knowledge(settings: SearchSettings) -> Knowledge:
    """D(Z), checked against what is searched."""
    if settings.prior is None:
        return Neutral()
    from znas import priors

    path = priors.shipped(settings.space) if settings.prior == SHIPPED else settings.prior
    if path is None:
        raise InvalidValueError(
            f"no prior is shipped for {settings.space}: fit one with znas-engine prior fit"
        )
    prior = priors.load(path)
    if prior.space != settings.space:
        raise InvalidValueError(f"the prior {path} is for {prior.space}, not for {settings.space}")
    if prior.score != settings.score:
        raise InvalidValueError(
            f"the prior {path} is of the score {prior.score!r}, not of {settings.score!r}; "
            f"pass --score {prior.score}, or fit another"
        )
    priors.require(prior, force=settings.force_prior)
    return FromPrior(prior, aligned=settings.prior_scale == "aligned")


def _strategy(space: SearchSpace[Any], settings: SearchSettings) -> Strategy:
    rng = _rng(settings, "strategy")
    if settings.game == "interaction":
        return Interactions(rng)
    criterion: Criterion = KeepOne() if settings.criterion == "keep" else LeaveOneOut()
    if settings.game == "shapley":
        criterion = Shapley(
            get_game(settings.estimator),
            exact=is_exact(settings.estimator, int(space.candidates.sum(1).max())),
            precision=settings.precision,
            max_evaluations=settings.max_evaluations,
            rng=rng,
        )
    return (
        AllAtOnce(criterion)
        if settings.selection == "algorithm1"
        else Sequential(criterion, settings.order, rng)
    )


def _select(
    space: SearchSpace[Any],
    scorer: IntervenedScorer,
    observer: Observer,
    race: Race | None,
    settings: SearchSettings,
) -> tuple[Mask, tuple[EdgeReport, ...], list[str]]:
    """Operations, then topology, then the final round."""
    ties = _rng(settings, "ties")
    aggregate = get_aggregate(settings.aggregate)
    notes: list[str] = []
    decision = _strategy(space, settings).decide(scorer, space, aggregate, ties)
    scores = spread(space, [aggregate(worth.values) for worth in decision.worths])

    selected = space.repair(scores, decision.selected)
    for e in np.flatnonzero(selected != decision.selected):
        before, after = (space.operations[choice[e]] for choice in (decision.selected, selected))
        notes.append(f"{space.edges[e].label}: {before} disconnected the cell and gave way to {after}")

    if settings.game == "shapley":
        ensembles = shapley_worths(scorer, space, decision.base, _rng(settings, "topology"))
    else:
        ensembles = drop_worths(scorer, space, decision.base)
    worth_of_edge = _aggregate_nodes(ensembles, aggregate)
    kept = select_edges(space, worth_of_edge, ties)

    mask = one_hot(selected, len(space.operations)) * kept[:, None]
    if settings.finalists > 1:
        mask, note = _final_round(space, scores, kept, selected, observer, settings)
        notes.append(note)
        kept = np.asarray(mask.any(1))
        selected = np.where(kept, mask.argmax(1), selected)
    report = partial(_report, comparable=len(settings.rows) == settings.envs)
    heats = {} if race is None else race.heats
    edges = _reports(space, selected, kept, decision.worths, scores, ensembles, worth_of_edge, heats, report)
    return mask, edges, notes


def _final_round(
    space: SearchSpace[Any],
    scores: NDArray[np.float64],
    kept: NDArray[np.bool_],
    selected: NDArray[np.int64],
    observer: Observer,
    settings: SearchSettings,
) -> tuple[Mask, str]:
    """The best of the finalists as a one-hot mask, and a note. What ranks is ranked among as many random
    architectures, which may win too."""
    aggregate = get_aggregate(settings.aggregate)
    masks = finalists(space, scores, kept, settings.finalists, selected)
    others = []
    if settings.aggregate not in OF_ONE_SCORE:
        others = references(space, len(masks), masks, _rng(settings, "references"))
    values = observer(np.stack(masks + others))
    found = aggregate(values, values[:, len(masks) :] if others else None)
    winner = int(found.argmax())
    ranked = f" among {len(others)} random ones" if others else ""
    who = f"number {winner + 1}" if winner < len(masks) else "one of the random ones"
    return (masks + others)[winner], (
        f"final round: {len(masks)} architectures compared as themselves{ranked}, {who} won "
        f"({found[winner]:.6g}; the selection before it had {found[0]:.6g})"
    )


def _aggregate_nodes(ensembles: dict[int, EnsembleWorth], aggregate: Aggregate) -> dict[int, float]:
    """One number per contested edge."""
    if not ensembles:
        return {}
    values = aggregate(np.stack([worth.values for worth in ensembles.values()], axis=1))
    return dict(zip(ensembles, values.tolist(), strict=True))


def _reports(
    space: SearchSpace[Any],
    selected: NDArray[np.int64],
    kept: NDArray[np.bool_],
    worths: list[Worth],
    scores: NDArray[np.float64],
    ensembles: dict[int, EnsembleWorth],
    worth_of_edge: dict[int, float],
    heats: dict[int, Heat],
    report: Callable[..., ScoreReport],
) -> tuple[EdgeReport, ...]:
    """scores: float64 [E, O], what `worths` were aggregated to; worth_of_edge: likewise of `ensembles`."""
    reports = []
    for e, (edge, worth) in enumerate(zip(space.edges, worths, strict=True)):
        candidates = space.options(e)
        operations = {
            space.operations[o]: report(
                worth.values[:, i],
                float(scores[e, o]),
                None if worth.intervened is None else worth.intervened[i],
                None if worth.standard_errors is None else float(worth.standard_errors[i]),
            )
            for i, o in enumerate(candidates)
        }
        ensemble = ensembles.get(e)
        reports.append(
            EdgeReport(
                edge=edge.label,
                selected=space.operations[selected[e]],
                kept=bool(kept[e]),
                stability=stability(worth.values, candidates.index(int(selected[e]))),
                operations=operations,
                ensemble=None
                if ensemble is None
                else report(ensemble.values, worth_of_edge[e], ensemble.intervened, None),
                race=heats.get(e),
            )
        )
    return tuple(reports)


def _report(
    values: NDArray[np.float64],
    aggregate: float,
    intervened: bool | None,
    sampling_error: float | None,
    *,
    comparable: bool,
) -> ScoreReport:
    """comparable: whether all values are of one score, so that they have a mean."""
    return ScoreReport(
        values=tuple(values.tolist()),
        aggregate=aggregate,
        mean=float(values.mean()) if comparable else None,
        std=float(values.std(ddof=1)) if comparable and len(values) > 1 else None,
        intervened=intervened,
        sampling_error=sampling_error,
    )
