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

from znas.front import FINALISTS
from znas.interventions.probability import Probability
from znas.request import OPTIONS, Request
from znas.selection.criteria import is_exact
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
    why it is not, in words that follow the option; None where it is."""

    option: str
    unread: Callable[[Request, Scores, SearchSpace[Any]], str | None]


def _nothing_drawn(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    return "is of what is drawn, and at p = 0 nothing is: pass --p 0.5" if never(r.p) else None


def _no_prior(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    return "is of a prior, and there is none: pass --prior FILE too" if r.prior is None else None


def _all_at_once(r: Request, scores: Scores, space: SearchSpace[Any]) -> str | None:
    if r.selection == "sequential":
        return None
    return "is of edges one after another: pass --selection sequential too"


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


#: Each option's condition; `Method` has those of options that exclude each other.
RULES = (
    Rule("intervention", _nothing_drawn),
    Rule("prior", _nothing_drawn),
    Rule("prior_scale", _no_prior),
    Rule("force_prior", _no_prior),
    Rule("order", _all_at_once),
    Rule("precision", _nothing_sampled),
    Rule("max_evaluations", _nothing_sampled),
    Rule("pareto", _too_few_finalists),
)
_DEFAULTS = Request()


def check_options(request: Request, scores: Scores, space: SearchSpace[Any]) -> None:
    """InvalidValueError for an option of a settled request that has another value than its default and that
    nothing would read."""
    for rule in RULES:
        value = getattr(request, rule.option)
        if value == getattr(_DEFAULTS, rule.option):
            continue
        if (why := rule.unread(request, scores, space)) is not None:
            flag = f"--{rule.option.replace('_', '-')}"
            given = "" if OPTIONS[rule.option].kind is bool else f" {value}"
            raise InvalidValueError(f"{flag}{given} {why}, or drop {flag}")


def check_norm_is_read(request: Request, scores: Scores) -> None:
    """InvalidValueError for a normalisation that was asked for (of a request that is not settled) and that no
    score looks at."""
    usual = replace(request, norm=None).settled().norm
    if request.norm in (None, usual) or any(map(_reads_norm, scores)):
        return
    names = "+".join(score.name for score in scores)
    raise InvalidValueError(f"--norm {request.norm} is not used by {names}: drop --norm")


def _reads_norm(score: Score) -> bool:
    match score:
        case ForwardScore():
            return any(probe.norm is None for probe in score.probes)
        case GradientScore():
            return score.norm is None
        case _:
            return False


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
                f"{which} which could only be drawn: pass --cells {cells} or more"
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
        return
    if all(isinstance(score, StaticScore) and not score.reads_environment for score in scores):
        names = "+".join(score.name for score in scores)
        yield f"{names} reads neither images nor weights: images, envs and init change nothing"
    labelled = [score.name for score in scores if score.needs_labels]
    if labelled and dataset.labelled and request.images < dataset.classes:
        absent = dataset.classes - request.images
        yield (
            f"{request.images} images of {dataset.classes} classes: {absent} classes have none, which "
            f"{'+'.join(labelled)} cannot know: pass --images {dataset.classes} or more"
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
