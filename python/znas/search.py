"""`znas.search`: images in, architecture out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.hooks import QUIET, Hooks, Report
from znas.interventions.scorer import IntervenedScorer
from znas.meaning import always, remarks, ties
from znas.method import Method
from znas.packages import outside
from znas.request import OPTIONS, Request
from znas.result import EdgeReport, RaceReport, SearchResult, Seconds, edge_reports
from znas.selection.aggregate import Aggregate
from znas.selection.criteria import spread
from znas.selection.finalists import finalists, references
from znas.selection.operations import one_hot
from znas.selection.race import CHUNKS, Race
from znas.selection.strategies import Decision
from znas.selection.topology import EnsembleWorth, drop_worths, select_edges, shapley_worths
from znas.setup import Setup
from znas_engine import __version__
from znas_engine.arguments import instance
from znas_engine.errors import unknown_choice
from znas_engine.progress import Progress
from znas_engine.spaces import Mask

Floats = NDArray[np.float64]


def search(
    request: Request | None = None,
    *,
    progress: Progress = QUIET.progress,
    report: Report = QUIET.report,
    **options: Any,
) -> SearchResult:
    """Select an architecture by interventions on a randomly initialised supernet (paper, section 3).

        for each edge e and operation o that may be selected:
            V[e, o] = draw from D(Z)                with probability p (equation 8)
                      score under do(e, o)          otherwise
        genotype: argmax_o V[e, o] per edge (Algorithm 1, equation 10), or of its Shapley value (equation
                  11); a space that keeps some edges of a node: those whose loss costs most (Corollary 2.1)

    Args:
        request: a whole `znas.Request`; or give its fields as keyword arguments.
        progress: called with (masked passes done, those known to be needed).
        report: called with one-line remarks worth showing.
        OPTIONS

    Names may be objects: `space=MySpace()`, `score=[Naswot(), MyScore()]`, `data=(images, labels)`.

    Raises:
        ZnasError: bad arguments, bad images, a missing package, a score that is not finite; one line each.
    """
    if request is None:
        unknown = [name for name in options if name not in OPTIONS]
        if unknown:
            raise unknown_choice("option", unknown[0], OPTIONS)
        request = Request(**options)
    elif options:
        raise TypeError("give either a `request` or its fields as keyword arguments, not both")
    instance("request", request, Request, ": give its fields as keyword arguments")
    setup = Setup(request, Hooks(progress, report))
    return select(setup, Method.of(request.settled(), setup.space, setup.scores))


def select(setup: Setup, method: Method) -> SearchResult:
    """The search itself: worths of operations, then of edges, then the final round."""
    instance("setup", setup, Setup, ": znas.Setup(request) is one")
    instance("method", method, Method, ": znas.Method.of(request.settled(), ...) is one")
    space, chance = setup.space, method.rng("ties")
    race = None if method.race is None else Race(_chunks(setup), method.race)
    scorer = IntervenedScorer(
        observe=race or (lambda queries: setup.measure(np.stack([query.mask for query in queries]))),
        rows=setup.envs * len(setup.scores),
        edges=len(space.edges),
        p=method.p,
        knowledge=method.knowledge,
        intervention=method.intervention,
        rng_replaced=method.rng("replaced"),
        rng_draws=method.rng("interventions"),
    )
    decision = method.strategy().decide(scorer, space, method.combine, chance)
    scores = spread(space, [method.combine(worth.values) for worth in decision.worths])
    selected, notes = repaired(decision, scores, setup)
    ensembles = edge_worths(decision, scorer, setup, method)
    worth_of_edge = combined_edges(ensembles, method.combine)
    kept = select_edges(space, worth_of_edge, chance)
    uniform = list(ties(space, scores, worth_of_edge))
    mask = one_hot(selected, len(space.operations)) * kept[:, None]
    if method.finalists > 1:
        mask, note = final_round(scores, kept, selected, setup, method)
        notes.append(note)
        kept = np.asarray(mask.any(1))
        selected = np.where(kept, mask.argmax(1), selected)
    if always(method.p) and method.prior is None:
        notes.append("p = 1 with a neutral prior: nothing was measured, the architecture is a uniform draw")
    notes += [*remarks(setup.request.settled(), setup.scores, setup.dataset), *uniform]
    edges = edge_reports(
        space,
        selected,
        kept,
        decision.worths,
        scores,
        ensembles,
        worth_of_edge,
        {} if race is None else race.heats,
        comparable=len(setup.scores) == 1,
    )
    return _result(setup, method, scorer, race, mask, edges, notes)


def _result(
    setup: Setup,
    method: Method,
    scorer: IntervenedScorer,
    race: Race | None,
    mask: Mask,
    edges: tuple[EdgeReport, ...],
    notes: list[str],
) -> SearchResult:
    """mask: the one-hot mask of what was selected."""
    genotype = setup.space.genotype(mask)
    network = setup.space.network(genotype, setup.trained)
    account = scorer.account
    return SearchResult(
        request=setup.request,
        space=setup.space,
        conditions=setup.conditions(),
        method=method.to_dict(),
        genotype=genotype,
        supernet=setup.macro,
        macro=setup.trained,
        params=network.parameters,
        flops=network.flops,
        p=scorer.settled_p,
        auto=scorer.auto,
        observed=account.observed,
        intervened=account.intervened,
        ensembles_observed=account.ensembles_observed,
        ensembles_intervened=account.ensembles_intervened,
        evaluations=setup.evaluations,
        race=None if race is None else RaceReport(race.confidence, CHUNKS, race.measured, race.saved),
        preprocess=setup.dataset.preprocessing(),
        edges=edges,
        seconds=Seconds.of(setup),
        notes=tuple(notes),
        versions={"znas-engine": __version__, "numpy": np.__version__}
        | setup.versions()
        | outside(setup.request.settled()),
    )


def repaired(decision: Decision, scores: Floats, setup: Setup) -> tuple[NDArray[np.int64], list[str]]:
    """The nearest selection that is an architecture of the space, int64 [E], and what had to give way."""
    space = setup.space
    selected = space.repair(scores, decision.selected)
    notes = [
        f"{space.edges[e].label}: {space.operations[decision.selected[e]]} disconnected the cell and gave "
        f"way to {space.operations[selected[e]]}"
        for e in np.flatnonzero(selected != decision.selected)
    ]
    return selected, notes


def edge_worths(
    decision: Decision, scorer: IntervenedScorer, setup: Setup, method: Method
) -> dict[int, EnsembleWorth]:
    """How much the cell needs each edge that competes for a place."""
    if method.game == "shapley":
        return shapley_worths(scorer, setup.space, decision.base, method.rng("topology"))
    return drop_worths(scorer, setup.space, decision.base)


def combined_edges(ensembles: dict[int, EnsembleWorth], combine: Aggregate) -> dict[int, float]:
    """One number per contested edge."""
    if not ensembles:
        return {}
    values = combine(np.stack([worth.values for worth in ensembles.values()], axis=1))
    return dict(zip(ensembles, values.tolist(), strict=True))


def final_round(
    scores: Floats, kept: NDArray[np.bool_], selected: NDArray[np.int64], setup: Setup, method: Method
) -> tuple[Mask, str]:
    """The best of the finalists as a one-hot mask, and a note. What ranks is ranked among as many random
    architectures, which may win too."""
    masks = finalists(setup.space, scores, kept, method.finalists, selected)
    others = references(setup.space, len(masks), masks, method.rng("references")) if method.ranks else []
    values = setup.measure(np.stack(masks + others))
    found = method.combine(values, values[:, len(masks) :] if others else None)
    winner = int(found.argmax())
    ranked = f" among {len(others)} random ones" if others else ""
    who = f"number {winner + 1}" if winner < len(masks) else "one of the random ones"
    return (masks + others)[winner], (
        f"final round: {len(masks)} architectures compared as themselves{ranked}, {who} won "
        f"({found[winner]:.6g}; the selection before it had {found[0]:.6g})"
    )


def _chunks(setup: Setup) -> Callable[[Mask, int], Floats]:
    """What a race measures: masks on a part of the images."""
    size = setup.images // CHUNKS
    return lambda masks, chunk: setup.measure(masks, slice(chunk * size, (chunk + 1) * size))


def _described() -> str:
    """The options as lines of a docstring."""
    return "\n        ".join(f"{name}: {option.help}." for name, option in OPTIONS.items())


search.__doc__ = (search.__doc__ or "").replace("OPTIONS", _described())
