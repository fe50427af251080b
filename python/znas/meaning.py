"""Settings under which a part of the answer cannot depend on the images, or an option on anything.

Options that nothing would read are refused (`RULES`), and so is a supernet in which some operation is
nowhere. What is seen only in the values, that all tie, is said in a note of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.cluster.where import LOCAL
from znas.front import FINALISTS
from znas.interventions.probability import Probability
from znas.presets import ORDINARY
from znas.request import OPTIONS, Request
from znas.selection.criteria import Worth, is_exact
from znas_engine.data import Dataset
from znas_engine.errors import InvalidValueError
from znas_engine.graph import Graph, Mixed, Slot
from znas_engine.scores import ForwardScore, GradientScore, Score, StaticScore
from znas_engine.spaces import Macro, SearchSpace
from znas_engine.spaces.base import CELLS

Floats = NDArray[np.float64]
Scores = Sequence[Score]


def never(p: Probability | None) -> bool:
    """Whether nothing is drawn."""
    return p == 0 or (isinstance(p, tuple) and not any(p))


def always(p: Probability | None) -> bool:
    """Whether nothing is measured."""
    return p == 1 or (isinstance(p, tuple) and all(each == 1 for each in p))


@dataclass(frozen=True, slots=True)
class Rule:
    """An option that is read only under a condition. unread: of a settled request, its scores and the space,
    why it is not and what to pass instead, in words that follow the option; None where it is read."""

    option: str
    unread: Callable[[Request, Scores, SearchSpace[Any]], str | None]


def _nothing_drawn(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    return "is of what is drawn, and at p = 0 nothing is: pass --p 0.5" if never(r.p) else None


def _no_prior(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    return "is of a prior, and there is none: pass --prior FILE too" if r.prior is None else None


def _nothing_to_align(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    if always(r.p):
        return "is of a prior beside what is observed, and at p = 1 nothing is: pass a smaller --p"
    return _no_prior(r, scores, space)


def _all_at_once(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    if r.selection == "sequential":
        return None
    return "is of edges one after another: pass --selection sequential too"


def _no_game(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    return "is of Shapley values: it needs --game shapley" if r.game != "shapley" else None


def _game_decides(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    if r.game == "none":
        return None
    return f"and --game {r.game} exclude each other: pass --game none"


def _nothing_sampled(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    if r.game != "shapley":
        return "is of a sampled game: pass --game shapley too"
    most = max(len(space.options(e)) for e in range(len(space.edges)))
    if is_exact(r.estimator, most):
        return f"is of a sampled game, and all coalitions of {most} operations are valued: pass --estimator"
    return None


def _too_few_finalists(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    assert r.finalists is not None
    if r.finalists >= FINALISTS:
        return None
    return f"needs --finalists {FINALISTS} or more: pass it"


def _averaged_before(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    if r.aggregate != "lcb" or _nothing_sampled(r, scores, space) is not None:
        return None
    return "is of environments, which a sampled game has averaged before: pass --estimator exact"


def _score_reads_neither(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    """Where something is drawn, more environments are more draws."""
    if not reads_nothing(scores) or not never(r.p):
        return None
    names = "+".join(score.name for score in scores)
    return f"is of images and weights, and {names} reads neither: pass another --score"


def _no_score_reads_init(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    if reads_nothing(scores):
        return _score_reads_neither(r, scores, space)
    if any(map(_reads_init, scores)):
        return None
    return f"is not used by {'+'.join(score.name for score in scores)}: pass another --score"


def _no_latency(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    if r.max_latency is not None or "@" in (r.pareto or ""):
        return None
    those = "--max-latency 5ms@COLUMN or --pareto latency@COLUMN"
    return f"is of a limit of latency, and there is none: pass {those} too"


def _no_score_reads_norm(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    if any(map(reads_norm, scores)):
        return None
    return f"is not used by {'+'.join(score.name for score in scores)}: pass another --score"


def _done_here(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    ray = isinstance(r.on, str) and r.on != LOCAL
    return None if ray else "is of workers of a cluster: pass --on ray too"


#: Each option's condition. `Method` has options that contradict each other, `znas_engine.data.load` those of
#: images, `Setup` those of limits and sizes, `Preset` and the space those that are always read. Where and how
#: fast work is done (--backend, --device, --threads, --on) may be said of any work, even of none.
RULES = (
    Rule("intervention", _nothing_drawn),
    Rule("prior", _nothing_drawn),
    Rule("prior_scale", _nothing_to_align),
    Rule("force_prior", _no_prior),
    Rule("order", _all_at_once),
    Rule("estimator", _no_game),
    Rule("precision", _nothing_sampled),
    Rule("max_evaluations", _nothing_sampled),
    Rule("criterion", _game_decides),
    Rule("aggregate", _averaged_before),
    Rule("latency_table", _no_latency),
    Rule("envs", _score_reads_neither),
    Rule("images", _score_reads_neither),
    Rule("init", _no_score_reads_init),
    Rule("dtype", _score_reads_neither),
    Rule("pareto", _too_few_finalists),
)
#: Of every verb that measures.
NORM = Rule("norm", _no_score_reads_norm)
#: Of every verb that a cluster can do.
WORKERS = (Rule("actors", _done_here), Rule("threads_per_actor", _done_here))
#: What only a measurement reads: at p = 1 a note says so, since people vary p and leave all else the same.
OF_MEASURING = (
    *("images", "norm", "init", "dtype"),
    *("supernet_channels", "supernet_cells", "supernet_resolution"),
)
#: Edges that a note names.
_NAMED = 6
_DEFAULTS = Request()


def given(request: Request, option: str) -> bool:
    """Whether it has another value than its default, or than its preset's: a request cannot tell who gives
    the default itself from who gives nothing."""
    value = getattr(request, option)
    if option not in ORDINARY:
        return bool(value != getattr(_DEFAULTS, option))
    without: dict[str, Any] = {option: None}
    return bool(value != getattr(replace(request, **without).settled(), option))


def check_options(request: Request, scores: Scores, space: SearchSpace[Any]) -> None:
    """InvalidValueError for an option of a settled request that was `given` and that nothing would read."""
    for rule in RULES:
        _check(rule, request, scores, space)


def _check(rule: Rule, request: Request, scores: Scores, space: SearchSpace[Any]) -> None:
    if not given(request, rule.option) or (why := rule.unread(request, scores, space)) is None:
        return
    value = "" if OPTIONS[rule.option].kind is bool else f" {getattr(request, rule.option)}"
    raise InvalidValueError(f"{flag(rule.option)}{value} {why}, or drop {flag(rule.option)}")


def flag(option: str) -> str:
    """As the command line has it."""
    return f"--{option.replace('_', '-')}"


def reads_nothing(scores: Scores) -> bool:
    """Whether they look at neither images nor weights."""
    return all(isinstance(score, StaticScore) and not score.reads_environment for score in scores)


def check_norm_is_read(request: Request, scores: Scores, space: SearchSpace[Any]) -> None:
    """InvalidValueError for a normalisation of a settled request that was `given` and that no score looks
    at."""
    _check(NORM, request, scores, space)


def check_workers_are_read(request: Request, scores: Scores, space: SearchSpace[Any]) -> None:
    """InvalidValueError for what is said of workers where there are none."""
    for rule in WORKERS:
        _check(rule, request, scores, space)


def reads_norm(score: Score) -> bool:
    """Whether its values depend on the evaluator's normalisation."""
    match score:
        case ForwardScore():
            return any(probe.norm is None for probe in score.probes)
        case GradientScore():
            return score.probe.norm is None
        case _:
            return False


def _reads_init(score: Score) -> bool:
    match score:
        case ForwardScore():
            return any(probe.init is None for probe in score.probes)
        case GradientScore():
            return score.probe.init is None
        case _:
            return isinstance(score, StaticScore) and score.reads_environment


def check_size(space: SearchSpace[Any], macro: Macro, graph: Graph) -> None:
    """InvalidValueError where an operation that a supernet of this space computes is nowhere in this one, or
    reaches no logit there: its score would be noise. graph: the supernet of that size."""
    if not (absent := _absent(space, graph)):
        return
    edges = list(dict.fromkeys(space.edges[e].label for e, _ in absent))
    which = f"{len(edges)} of its {len(space.edges)} edges, {edges[0]} first,"
    for cells in range(macro.cells + 1, CELLS[1] + 1):
        if not _absent(space, space.supernet(replace(macro, cells=cells))):
            raise InvalidValueError(
                f"the supernet of {space.name} with {macro.cells} {space.cells_are} lacks operations of "
                f"{which} which could only be drawn: pass --supernet-cells {cells} or more"
            )
    raise InvalidValueError(
        f"the supernet of {space.name} with {macro.cells} {space.cells_are} lacks operations of {which} "
        "which its `proxy_macro` has"
    )


def _absent(space: SearchSpace[Any], graph: Graph) -> list[tuple[int, int]]:
    """(edge, operation) that a supernet of the space can compute and this one does not."""
    there = reaching(graph)
    return [(e, o) for e, o in np.argwhere(space.computing & space.mixed).tolist() if (e, o) not in there]


def reaching(graph: Graph) -> set[Slot]:
    """The slots of terms that reach the logits and depend on the images."""
    live, fed = graph.live(None), graph.fed(None)
    return {
        slot
        for i, node in enumerate(graph.nodes)
        if live[i] and isinstance(node, Mixed)
        for j, slot in zip(node.inputs, node.slots, strict=True)
        if slot is not None and fed[j]
    }


def remarks(request: Request, scores: Scores, dataset: Dataset) -> Iterator[str]:
    """What the values will not say of a settled request: notes of its result."""
    assert request.images is not None
    if always(request.p):
        if unread := [flag(option) for option in OF_MEASURING if given(request, option)]:
            yield f"at p = 1 nothing is measured: {', '.join(unread)} changed nothing"
        return
    if reads_nothing(scores):
        names = "+".join(score.name for score in scores)
        yield f"{names} reads neither images nor weights: images, envs and init change nothing"
    labelled = [score.name for score in scores if score.needs_labels]
    if labelled and dataset.labelled and request.images < dataset.classes:
        absent = dataset.classes - request.images
        yield (
            f"{request.images} images of {dataset.classes} classes: {absent} classes have none, which "
            f"{'+'.join(labelled)} cannot know: pass --images {dataset.classes} or more"
        )


def drawn(
    space: SearchSpace[Any], worths: Sequence[Worth], selected: NDArray[np.int64], kept: NDArray[np.bool_]
) -> Iterator[str]:
    """How many edges were won by a score that was drawn. worths: of every edge; selected: int64 [E]; kept:
    bool [E]."""
    decided = [e for e in range(len(worths)) if kept[e] and len(space.options(e)) > 1]
    won = [
        space.edges[e].label
        for e in decided
        if (intervened := worths[e].intervened) is not None
        and intervened[space.options(e).index(int(selected[e]))]
    ]
    if won:
        more = f" and {len(won) - _NAMED} more" if len(won) > _NAMED else ""
        yield (
            f"{len(won)} of {len(decided)} edges were won by a draw (~), not by a measurement: "
            f"{', '.join(won[:_NAMED])}{more}; --p 0 measures all"
        )


def ties(space: SearchSpace[Any], scores: Floats, worth_of_edge: dict[int, float]) -> Iterator[str]:
    """Where nothing but chance decided. scores: float64 [E, O], what was compared on every edge, -inf where
    an operation is no candidate; worth_of_edge: of the edges that compete."""
    contested = [e for e in range(len(space.edges)) if len(space.options(e)) > 1]
    tied = [e for e in contested if np.ptp(scores[e, space.options(e)]) == 0]
    if tied and len(tied) == len(contested):
        yield "on every edge all operations scored the same: they are a uniform draw"
    elif tied:
        named = ", ".join(space.edges[e].label for e in tied)
        yield f"on {named} all operations scored the same: theirs are a uniform draw"
    nodes = [[worth_of_edge[e] for e in into] for into in space.contested_nodes() if worth_of_edge]
    even = sum(np.ptp(worths) == 0 for worths in nodes)
    if even:
        yield f"at {even} of {len(nodes)} nodes all edges were worth the same: which stay is a uniform draw"
