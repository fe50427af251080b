"""Whether a result that was read from a file can be what a search wrote there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import numpy as np

from znas.front import contradiction as of_front
from znas.plain import difference, mistyped
from znas.renamed import renamed
from znas.result import EdgeReport, ScoreReport, SearchResult
from znas.selection.operations import one_hot
from znas_engine.arguments import check_between
from znas_engine.errors import DataError, InvalidValueError, briefly

#: Where a field is in the file, if not under its own name.
_PLACES = {
    "conditions": "",
    "macro": "network",
    "auto": "method.auto",
    "ensembles_observed": "ensembles.observed",
    "ensembles_intervened": "ensembles.intervened",
}
#: What an older version knows fewer fields of, which then have their defaults.
_GROWING = ("request", "network", "supernet")
#: What an older version does not say at all.
_NEW: dict[str, Any] = {"limits": [], "front": [], "preprocess": None, "sure": None}
#: Of a network that is built to be counted, at most.
_CELLS = 1024
#: What a request may ask for, and a result was found under.
_CONDITIONS = ("seed", "envs", "images", "norm", "dtype", "init", "threads")
_METHOD = (
    *("intervention", "prior", "prior_scale", "game", "estimator", "selection", "order", "criterion"),
    *("aggregate", "finalists"),
)


def check(result: SearchResult, plain: Mapping[str, Any], *, same_space: bool) -> None:
    """Holds a result to its file and to itself: types, what it would write, selection, parameters and flops.

    same_space: whether its space is the one that the file names.

    Raises:
        DataError: one line that names the first value that is not right. InvalidValueError, PluginError: what
            the space says of the architecture.
    """
    hints = get_type_hints(SearchResult)
    for name in (field.name for field in fields(SearchResult)):
        wrong = mistyped(getattr(result, name), hints[name], _PLACES.get(name, name))
        if wrong is not None:
            raise DataError(wrong)
    for contradiction in _contradictions(result, plain):
        raise DataError(contradiction)
    now = result.to_dict()
    if not same_space:
        now["request"]["space"] = plain["request"]["space"]
    plain = {**plain, "request": renamed(plain["request"])}
    whole = _NEW | {name: now[name] | part if name in _GROWING else part for name, part in plain.items()}
    if (different := difference(whole, now)) is not None:
        raise DataError(different)
    _check_network(result)


def _contradictions(result: SearchResult, plain: Mapping[str, Any]) -> Iterator[str]:
    space, found = result.space, result.conditions
    if len(plain["rows"]) != found.envs * len(found.scores):
        yield f"`rows` are {len(plain['rows'])}, not one for each of `envs` {found.envs} and `score`"
    facts = {name: getattr(found, name) for name in _CONDITIONS}
    facts |= {name: value for name, value in result.method.items() if name in _METHOD}
    for name, used in facts.items():
        asked = getattr(result.request, name)
        if asked not in (None, "auto", used):
            yield f"`{name}` is {briefly(used)}, but `request.{name}` is {briefly(asked)}"
    labels = [edge.label for edge in space.edges]
    if [edge.edge for edge in result.edges] != labels:
        yield f"`edges` are not the {len(labels)} of the space {space.name}"
    for e, edge in enumerate(result.edges):
        if list(edge.operations) != [space.operations[o] for o in space.options(e)]:
            yield f"`edges[{e}].operations` are not those of the space {space.name}"
        if edge.selected not in edge.operations:
            yield f"`edges[{e}].selected` is {briefly(edge.selected)}, no operation of the edge"
        if any(len(report.values) != len(plain["rows"]) for report in _reports(edge)):
            yield f"`edges[{e}]` has values for more or fewer than the {len(plain['rows'])} `rows`"
    if isinstance(result.p, tuple) and len(result.p) != len(labels):
        yield f"`p` has {len(result.p)} numbers for {len(labels)} edges"
    selected = np.array([space.operations.index(edge.selected) for edge in result.edges], dtype=np.int64)
    kept = np.array([edge.kept for edge in result.edges], dtype=np.bool_)
    fits = {"size": result.macro.resolution, "channels": result.macro.inputs, "classes": result.macro.classes}
    if result.preprocess is not None and (wrong := result.preprocess.unlike(**fits)) is not None:
        yield f"{wrong} as the network"
    wrong = of_front(result.front, result.request.pareto, space, result.macro)
    if wrong is not None:
        yield wrong
    mask = one_hot(selected, len(space.operations)) * kept[:, None]
    if not np.array_equal(mask, space.mask(result.genotype)):
        yield f"`arch` is {briefly(result.arch, 200)}, which is not what `edges` select"


def _reports(edge: EdgeReport) -> Iterator[ScoreReport]:
    yield from edge.operations.values()
    if edge.ensemble is not None:
        yield edge.ensemble


def _check_network(result: SearchResult) -> None:
    """Another network than was found comes of a space that was made with arguments, which no file tells."""
    check_between("network.cells", result.macro.cells, 1, _CELLS)
    graph = result.space.network(result.genotype, result.macro)
    for name, found, now in (
        ("params", result.params, graph.parameters),
        ("flops", result.flops, graph.flops),
    ):
        if found != now:
            raise InvalidValueError(
                f"its network has {found:,} {name} there, but {now:,} in the space {result.space.name} as it "
                "is here; give the space as it was then, znas.load(..., space=...) or show --space"
            )
