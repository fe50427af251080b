"""The rows of the reproduced tables: a name, what it does in words, and the search itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from znas import priors
from znas.expected import expected
from znas.hooks import Hooks
from znas.method import Method
from znas.presets import DEFAULT, ORDINARY
from znas.reproduce.permuted import permuted
from znas.request import SHIPPED, Request
from znas.search import searched
from znas.searchers import (
    Evolution,
    Exhaustive,
    Found,
    MostFlops,
    MostParameters,
    Naswot,
    OfPrior,
    Random,
    Searcher,
    Shortlist,
    TeNas,
    ZeroCostPT,
    run,
)
from znas.searchers.thin import thin
from znas_engine import paths
from znas_engine.arguments import distinct
from znas_engine.backends.passes import count_passes
from znas_engine.errors import InvalidValueError, unknown_choice
from znas_engine.scores import get_scores
from znas_engine.spaces import Macro, SearchSpace, get_space

#: What TE-NAS measures, with sizes and images near its own. Gradients need the torch backend, whatever the
#: others run on.
NTK_CHANNELS = 3
NTK: dict[str, Any] = {"score": "ntk", "images": 32, "aggregate": "rank", "backend": "auto"}
REGIONS: dict[str, Any] = {
    "score": "linear_regions",
    "images": 3000,
    "resolution": 4,
    "channels_in": 1,
    "supernet_channels": None,
    "supernet_cells": None,
}
#: The default's score that is nobody else's, and was kept because it did well on one of the tables.
OURS = "isometry"
#: Masked passes of the search that ranks a free shortlist.
SHORT = 100
#: Those that every other row is tested against.
RANDOM, LARGEST, BUSIEST = "random", "most-parameters", "most-flops"

Adapt = Callable[[Request], Request]
Search = Callable[[Request, Hooks], Found]


@dataclass(frozen=True, slots=True)
class Row:
    """One search, repeated over seeds: `search(adapt(request), hooks)`.

    adapt: what this row changes in the request that all rows share. prior: the file of the one that it uses.
    beside: of an adapted request, another one that the search measures too.
    """

    name: str
    what: str
    adapt: Adapt
    search: Search
    prior: Path | None = None
    beside: Adapt | None = None


def rows(space: SearchSpace[Any], prior: str = SHIPPED, one_shot: Path | None = None) -> dict[str, Row]:
    """All rows for a space, by name, in the order in which they are printed.

    prior: the file that the rows with a prior use, or "shipped". one_shot: that of the rows with a one-shot
    prior of accuracy, which need not be there yet. Without a file these rows do not exist.
    """
    path = prior_path(space, prior)
    found = [
        Row(RANDOM, "one uniformly random architecture", _with(), _baseline(Random())),
        Row(LARGEST, "the architecture with most parameters", _with(), _baseline(MostParameters())),
        Row(BUSIEST, "the architecture with most FLOPs", _with(), _baseline(MostFlops())),
        *_paper(space, path),
        *_one_shot(space, one_shot),
        *_default(space),
        *_on_naswot(space),
        *_of_prior(space, "prior", path),
        *_te_nas(space),
        *_exhaustive(space),
    ]
    return {row.name: row for row in found}


def choose(
    space: SearchSpace[Any],
    names: Sequence[str] | None,
    prior: str = SHIPPED,
    one_shot: Path | None = None,
) -> list[Row]:
    """The named rows in printing order, or all; InvalidValueError naming the nearest for an unknown one."""
    available = rows(space, prior, one_shot)
    distinct("`rows`", names or ())
    for name in names or ():
        if name not in available:
            raise unknown_choice("row", name, available)
    chosen = [row for name, row in available.items() if names is None or name in names]
    path = prior_path(space, prior)
    if prior != SHIPPED and not any(row.prior == path for row in chosen):
        users = ", ".join(row.name for row in available.values() if row.prior == path)
        raise InvalidValueError(
            f"--prior {prior} is of rows that use one: add one of {users} to --rows, or drop --prior"
        )
    return chosen


def _default(space: SearchSpace[Any]) -> Iterator[Row]:
    """`znas.search` with nothing but data, whatever the other rows' images and norm are; and what is left of
    it without its interventions."""
    preset = Request(space=space).settled()
    assert preset.norm is not None
    scores = get_scores(preset.score)
    method = Method.of(preset, space, scores)
    size = f"{preset.images} images, norm {preset.norm}, {cells_in_words(space, preset.supernet_cells or 0)}"
    what = (
        f"znas.search with nothing but data: {preset.score}, a shortlist of {preset.finalists:,} among as "
        f"many random ones, halved over {preset.envs} environments; {size}"
    )
    as_preset = _with(preset=DEFAULT, aggregate="auto", **dict.fromkeys(ORDINARY))
    yield Row("default", what, as_preset, _engine)
    others = "+".join(score.name for score in scores if score.name != OURS)
    yield Row(f"default-but-{OURS}", f"the same by {others}", _then(as_preset, score=others), _engine)
    assert preset.envs is not None
    masks = expected(method, space, preset.envs).masks
    finalists = max(2, (masks - len(space.neurons())) // 2)
    by_do = _then(as_preset, p=0, selection="algorithm1", finalists=finalists)
    do = (
        f"the default's scores of every neuron under do(edge, operation), then the {finalists} architectures "
        "with the best sums among as many random ones, one environment: about the default's passes"
    )
    yield Row("do-finalists", do, by_do, _engine)
    yield Row(
        "do-permuted",
        "negative control: do-finalists with what it measured of operations permuted among all of them "
        "before it selects finalists",
        by_do,
        lambda request, hooks: Found.of(permuted(request, hooks)),
    )
    yield Row(
        f"random-{masks}-by-default-score",
        f"the best of {masks:,} random architectures, as many masks as the default measures, by its scores "
        f"{preset.score}, whose ranks are combined, one environment; {size}",
        _then(as_preset, p=0),
        _baseline(Naswot(masks)),
    )
    half = SHORT // count_passes(scores, preset.norm) // 2
    yield Row(
        "most-flops-first",
        f"the {half} architectures with most live FLOPs and {half} random ones, ranked by the default's "
        f"scores among the random ones, one environment; {size}",
        _then(as_preset, p=0),
        _baseline(Shortlist(half, half)),
    )


def _paper(space: SearchSpace[Any], path: Path | None) -> Iterator[Row]:
    """The paper as written: accuracy, Algorithm 1, Gaussian intervention; -G takes Shapley values."""
    for game, suffix, ps in (("none", "", ("0", "0.5", "1")), ("shapley", "-g", ("0.5", "1"))):
        for p in ps:
            yield Row(
                f"paper{suffix}-p{p}",
                f"the paper as written{', Shapley values' if suffix else ''}: accuracy, p = {p}, "
                "Gaussian intervention, neutral prior",
                _with(score="accuracy", p=float(p), game=game),
                _engine,
            )
    if path is not None:
        score = priors.load(path, space).score
        what = f"the same with a prior, which is of the score {score}: {score}"
        yield from _with_prior("prior", what, _with(score=score, prior=path), path)


def _one_shot(space: SearchSpace[Any], path: Path | None) -> Iterator[Row]:
    """The paper's own D(Z): accuracies of a one-shot supernet, whether or not it ranks."""
    if path is not None:
        what = (
            "the paper with a prior of accuracy from a one-shot supernet, moved to the scale of what is "
            f"observed {_proxy_words(space)}, like that supernet: accuracy"
        )
        adapt = _then(proxied, score="accuracy", prior=path, force_prior=True)
        yield from _with_prior("one-shot", what, adapt, path)
        yield from _of_prior(space, "one-shot", path)


def _with_prior(kind: str, what: str, adapt: Adapt, path: Path) -> Iterator[Row]:
    """At p = 0.5 and 1, with and without Shapley values."""
    for game, suffix in (("none", ""), ("shapley", "-g")):
        for p in ("0.5", "1"):
            yield Row(
                f"paper{suffix}-{kind}-p{p}",
                f"{what}, p = {p}{', Shapley values' if suffix else ''}",
                _then(adapt, p=float(p), game=game),
                _engine,
                path,
            )


def _on_naswot(space: SearchSpace[Any]) -> Iterator[Row]:
    """Other ways to choose by the same score."""
    yield Row("naswot-p0.5", "the preset naswot: naswot, p = 0.5, neutral prior", _with(), _engine)
    searcher = ZeroCostPT()
    yield Row(
        "zero-cost-pt",
        f"Zero-Cost-PT on naswot, the best of {searcher.iterations} iterations by its own naswot, "
        f"{_proxy_words(space)}; the same images throughout, where the original takes others at every step "
        "and 100 batches to compare the iterations",
        proxied,
        _baseline(searcher),
    )
    for n in (10, 100, 1000):
        what = (
            f"NASWOT: best naswot of {n} random architectures that let images through, scored "
            f"{_proxy_words(space)}, where the original takes whole networks and 128 images"
        )
        yield Row(f"naswot-{n}", what, proxied, _baseline(Naswot(n)))
    evolution = Evolution()
    what = (
        f"regularised evolution with naswot for the accuracy of a trained network, {evolution.budget} "
        f"architectures, population {evolution.population}, tournament {evolution.tournament} (the original: "
        f"20,000, 100, 25), scored {_proxy_words(space)}"
    )
    yield Row("evolution", what, proxied, _baseline(evolution))


def _of_prior(space: SearchSpace[Any], kind: str, path: Path | None) -> Iterator[Row]:
    if path is not None:
        what = f"the operations of the largest means of the {kind} prior; nothing is measured or drawn"
        yield Row(f"{kind}-argmax", what, _with(), _argmax(space, path), path)


def _te_nas(space: SearchSpace[Any]) -> Iterator[Row]:
    """Not the original: see the differences in `what`."""
    yield Row(
        "te-nas-like",
        f"pruning as TE-NAS does, without `none`, by the sum of two ranks: ntk, {NTK_CHANNELS} channels, "
        f"{NTK['images']} images, the supernet's frozen normalisation (72, and each network's own there); "
        f"linear regions of {REGIONS['images']:,} images, grey, shrunk to {REGIONS['resolution']} x "
        f"{REGIONS['resolution']} (3 x 3 crops of a channel there), in a network of one channel with a stem "
        "(without there); weights are drawn once (three times there)",
        lambda request: replace(
            proxied(replace(request, supernet_channels=request.supernet_channels or NTK_CHANNELS)), **NTK
        ),
        lambda request, hooks: run(TeNas(), request, hooks, beside=[_regions(request)]),
        beside=_regions,
    )


def _exhaustive(space: SearchSpace[Any]) -> Iterator[Row]:
    if space.functions() is not None:
        yield Row(
            "exhaustive",
            f"best naswot of all distinct functions, half the images, scored {_proxy_words(space)}",
            lambda request: proxied(_halved(request)),
            _baseline(Exhaustive()),
        )


def _proxy(space: SearchSpace[Any]) -> Macro:
    """The size at which single architectures are scored, thousands of them; `--supernet-channels`
    and `--supernet-cells` replace it, a supernet has its space's own."""
    return space.proxy_macro(resolution=32, classes=10)


def _proxy_words(space: SearchSpace[Any]) -> str:
    proxy = _proxy(space)
    return f"in networks of {proxy.channels} channels and {cells_in_words(space, proxy.cells)}"


def cells_in_words(space: SearchSpace[Any], cells: int) -> str:
    """2 cells per stage"""
    noun, _, rest = space.cells_are.partition(" ")
    return f"{cells} {noun.removesuffix('s') if cells == 1 else noun} {rest}".strip()


def _halved(request: Request) -> Request:
    images = request.settled().images
    assert images is not None
    return replace(request, images=images // 2)


def _with(**changes: Any) -> Adapt:
    return lambda request: replace(request, **changes)


def _then(adapt: Adapt, **changes: Any) -> Adapt:
    return lambda request: replace(adapt(request), **changes)


def _engine(request: Request, hooks: Hooks) -> Found:
    return Found.of(searched(request, hooks))


def _baseline(searcher: Searcher) -> Search:
    return lambda request, hooks: run(searcher, request, hooks)


def proxied(request: Request) -> Request:
    """The request at the size of a proxy network where none is given."""
    proxy = _proxy(get_space(request.space))
    return replace(
        request,
        supernet_channels=request.supernet_channels or proxy.channels,
        supernet_cells=request.supernet_cells or proxy.cells,
    )


def _argmax(space: SearchSpace[Any], path: Path) -> Search:
    return lambda request, hooks: run(OfPrior(priors.load(path, space)), request, hooks)


def _regions(request: Request) -> Request:
    return replace(request, space=thin(get_space(request.space)), **REGIONS)


def prior_path(space: SearchSpace[Any], prior: str) -> Path | None:
    """The file of `prior`; None where "shipped" names none."""
    return space.prior if prior == SHIPPED else paths.named(prior, "the prior")
