"""`znas.search`: images in, architecture out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.cluster.account import job
from znas.contest import Contest
from znas.expected import Estimate, expected
from znas.front import FrontPoint
from znas.hooks import QUIET, Hooks, Report
from znas.interventions.scorer import Account, IntervenedScorer
from znas.limits import settled
from znas.meaning import always, drawn, remarks, ties
from znas.method import Method
from znas.notebook import shown
from znas.packages import outside
from znas.request import OPTIONS, Request, request_of
from znas.result import EdgeReport, LimitReport, RaceReport, SearchResult, Seconds, edge_reports
from znas.selection.aggregate import Aggregate
from znas.selection.climb import climb
from znas.selection.criteria import spread
from znas.selection.finalists import different, finalists, functions, losses, references
from znas.selection.limited import check_can_be_met, within
from znas.selection.race import CHUNKS, Race
from znas.selection.strategies import SHORTLIST, Decision
from znas.selection.sure import Sure
from znas.selection.topology import EnsembleWorth, drop_worths, select_edges, shapley_worths
from znas.setup import Setup
from znas_engine import __version__
from znas_engine.arguments import instance
from znas_engine.progress import Progress
from znas_engine.spaces import Mask

Floats = NDArray[np.float64]
#: Under limits, architectures with the best sums of worths of which the one with the best pairs is selected,
#: and those that are handed on to be measured where there is no final round.
JOINTLY, IN_TURN = 1000, 100


def search(
    request: Request | None = None,
    *,
    progress: Progress = QUIET.progress,
    report: Report = QUIET.report,
    **options: Any,
) -> SearchResult:
    """Select an architecture by what a randomly initialised supernet shows of it.

    By a shortlist, unless interventions are asked for (`znas.selection.shortlist`):

        shortlist = the architectures that scores without a pass rank first
        genotype: the best of these by all scores, in more and more environments

    By interventions on the supernet (paper, section 3):

        for each edge e and operation o that may be selected:
            V[e, o] = draw from D(Z)                with probability p (equation 8)
                      score under do(e, o)          otherwise
        genotype: argmax_o V[e, o] per edge (Algorithm 1, equation 10), or of its Shapley value (equation
                  11); a space that keeps some edges of a node: those whose loss costs most (Corollary 2.1)

    Args:
        request: a whole `znas.Request`; or give its fields as keyword arguments.
        progress: called with (masked passes done, those that will be needed at most); without one, a notebook
            shows a bar.
        report: called with one-line remarks worth showing.
        OPTIONS

    Names may be objects: `space=MySpace()`, `score=[Naswot(), MyScore()]`, `data=(images, labels)`.

    Raises:
        ZnasError: bad arguments, bad images, a missing package, a score that is not finite; one line each.
    """
    asked = request_of(request, options)
    with shown("masked passes", progress) as told:
        return searched(asked, Hooks(told, report))


def searched(request: Request, hooks: Hooks = QUIET) -> SearchResult:
    """`search` for a whole request."""
    setup = Setup(request, hooks)
    with job(hooks.report):
        return select(setup, Method.of(request.settled(), setup.space, setup.scores))


def select(setup: Setup, method: Method) -> SearchResult:
    """The search itself: a shortlist of architectures, or worths of operations and then of edges."""
    instance("setup", setup, Setup, ": znas.Setup(request) is one")
    instance("method", method, Method, ": znas.Method.of(request.settled(), ...) is one")
    axis = setup.pareto
    if setup.budget is not None:
        check_can_be_met(setup.budget)
    ahead = expected(method, setup.space, setup.envs, front=axis is not None, limits=setup.budget is not None)
    setup.expect(ahead.masks, Estimate(setup.hooks.report, ahead.at_most))
    return _shortlisted(setup, method) if method.selection == SHORTLIST else _intervened(setup, method)


def _shortlisted(setup: Setup, method: Method) -> SearchResult:
    """Whole architectures are compared; what operations add is estimated from them."""
    space, axis = setup.space, setup.pareto
    found = Contest(setup, method, axis)()
    setup.done()
    mask, limits, notes = settled(found.masks, losses(found.scores), setup.budget, setup.hooks.report)
    front: tuple[FrontPoint, ...] = ()
    if axis is not None:
        front, told = axis.front(found.masks, found.totals, setup.budget, mask, setup.hooks.report)
        notes = notes + told
    kept = np.asarray(mask.any(1))
    edges = edge_reports(
        space,
        np.where(kept, mask.argmax(1), found.scores.argmax(1)),
        kept,
        found.worths,
        found.scores,
        {},
        {},
        {},
        comparable=len(setup.scores) == 1,
    )
    notes = [found.note, *notes, *remarks(setup.request.settled(), setup.scores, setup.dataset)]
    return _result(setup, method, None, None, mask, limits, front, edges, notes, sure=found.sure)


def _intervened(setup: Setup, method: Method) -> SearchResult:
    """Worths of operations, then of edges, then the final round."""
    space, chance, axis = setup.space, method.rng("ties"), setup.pareto
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
    ensembles = edge_worths(decision, scorer, setup, method)
    worth_of_edge = combined_edges(ensembles, method.combine)
    masks, selected, notes = candidates(decision, scores, worth_of_edge, setup, method, chance)
    uniform = list(ties(space, scores, worth_of_edge))
    front: tuple[FrontPoint, ...] = ()
    ranked: list[Mask] = []
    if method.finalists > 1:
        best, more = masks[: method.finalists], []
        if axis is not None:
            more = axis.ladder(best, scores, worth_of_edge, setup.budget, len(best), method.rng("front"))
        ranked, found, note = final_round(best, more, setup, method)
        masks = ranked + masks[method.finalists :]
        notes.append(note)
    setup.done()
    mask, limits, measured = settled(masks, losses(scores), setup.budget, setup.hooks.report)
    notes += measured
    if axis is not None and ranked:
        front, told = axis.front(ranked, found, setup.budget, mask, setup.hooks.report)
        notes += told
    kept = np.asarray(mask.any(1))
    selected = np.where(kept, mask.argmax(1), selected)
    if always(method.p) and method.prior is None:
        notes.append("p = 1 with a neutral prior: nothing was measured, the architecture is a uniform draw")
    else:
        notes += drawn(space, decision.worths, selected, kept)
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
    return _result(setup, method, scorer, race, mask, limits, front, edges, notes)


def _result(
    setup: Setup,
    method: Method,
    scorer: IntervenedScorer | None,
    race: Race | None,
    mask: Mask,
    limits: tuple[LimitReport, ...],
    front: tuple[FrontPoint, ...],
    edges: tuple[EdgeReport, ...],
    notes: list[str],
    *,
    sure: Sure | None = None,
) -> SearchResult:
    """scorer: None where operations were not asked of. mask: the one-hot mask of what was selected."""
    genotype = setup.space.genotype(mask)
    network = setup.space.network(genotype, setup.trained)
    account = Account() if scorer is None else scorer.account
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
        p=0.0 if scorer is None else scorer.settled_p,
        auto=None if scorer is None else scorer.auto,
        observed=account.observed,
        intervened=account.intervened,
        ensembles_observed=account.ensembles_observed,
        ensembles_intervened=account.ensembles_intervened,
        evaluations=setup.evaluations,
        race=None if race is None else RaceReport(race.confidence, CHUNKS, race.measured, race.saved),
        sure=sure,
        limits=limits,
        front=front,
        preprocess=setup.pictures.preprocessing(),
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


def candidates(
    decision: Decision,
    scores: Floats,
    worth_of_edge: dict[int, float],
    setup: Setup,
    method: Method,
    chance: np.random.Generator,
) -> tuple[list[Mask], NDArray[np.int64], list[str]]:
    """The architectures of the final round as one-hot masks, the first of which is selected where there is
    none; the operations selected before it, int64 [E]; and notes. Under limits all keep them."""
    space, budget = setup.space, setup.budget
    if budget is None:
        selected, notes = repaired(decision, scores, setup)
        kept = select_edges(space, worth_of_edge, chance)
        return finalists(space, scores, kept, method.finalists, selected), selected, notes
    kept = select_edges(space, worth_of_edge, chance)
    selected, joint = decision.selected, decision.joint
    count = max(method.finalists, IN_TURN if joint is None else JOINTLY)
    masks = within(budget, scores, worth_of_edge, kept, count)
    if joint is not None:
        order = np.argsort(-joint(np.stack([mask.argmax(1) for mask in masks])), kind="stable")
        masks = [masks[i] for i in order]
    return masks[: max(method.finalists, IN_TURN)], selected, []


def final_round(
    masks: list[Mask], more: list[Mask], setup: Setup, method: Method
) -> tuple[list[Mask], Floats, str]:
    """Finalists and others from the best on, their scores float64 [n], and a note. What ranks is ranked among
    as many random architectures as there are finalists, which may win too; so may `more`, those of a front,
    and, under limits, neighbours of the best, which change no other's score."""
    others: list[Mask] = []
    if method.ranks:
        others = references(setup.space, len(masks), masks, method.rng("references"), setup.budget)
    apart = list(different(setup.space, more, functions(setup.space, masks + others)))
    everyone = masks + others + apart
    values = setup.measure(np.stack(everyone))
    among = values[:, len(masks) : len(masks) + len(others)] if others else values
    found = method.combine(values, among)
    climbed: list[Mask] = []
    if setup.budget is not None:
        climbed, reached = climb(
            setup.budget,
            everyone,
            found,
            lambda new: method.combine(setup.measure(new), among),
            len(masks),
        )
        everyone, found = everyone + climbed, np.concatenate([found, reached])
    order = method.rng("finalists").permutation(len(found))  # of those that tie
    order = order[np.argsort(-found[order], kind="stable")]
    winner = int(order[0])
    ranked = f" among {len(others)} random ones" if others else ""
    beside = f", {len(apart)} more for the front" if apart else ""
    beside += f", {len(climbed)} neighbours of the best" if climbed else ""
    kinds = ["one of the random ones"] * len(others)
    kinds += ["one of those for the front"] * len(apart) + ["one of the neighbours"] * len(climbed)
    who = f"number {winner + 1}" if winner < len(masks) else kinds[winner - len(masks)]
    note = (
        f"final round: {len(masks)} architectures compared as themselves{ranked}{beside}, {who} won "
        f"({found[winner]:.6g}; the selection before it had {found[0]:.6g})"
    )
    return [everyone[i] for i in order], found[order], note


def _chunks(setup: Setup) -> Callable[[Mask, int], Floats]:
    """What a race measures: masks on a part of the images."""
    size = setup.images // CHUNKS
    return lambda masks, chunk: setup.measure(masks, slice(chunk * size, (chunk + 1) * size))


def _described() -> str:
    """The options as lines of a docstring."""
    return "\n        ".join(f"{name}: {option.help}." for name, option in OPTIONS.items())


search.__doc__ = (search.__doc__ or "").replace("OPTIONS", _described())
