"""The rows of the reproduced tables: a name, what it does in words, and the search itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from znas import priors
from znas.hooks import Hooks
from znas.presets import DEFAULT, ORDINARY
from znas.request import SHIPPED, Request
from znas.search import searched
from znas.searchers import (
    DartsPT,
    Evolution,
    Exhaustive,
    Found,
    MostParameters,
    Naswot,
    Random,
    Searcher,
    TeNas,
    ZeroCostPT,
    run,
)
from znas_engine import paths
from znas_engine.arguments import distinct
from znas_engine.errors import InvalidValueError, unknown_choice
from znas_engine.spaces import Macro, SearchSpace, get_space

#: Gradients need the torch backend, whatever the others run on.
TE_NAS: dict[str, Any] = {"score": "ntk+linear_regions", "aggregate": "auto", "backend": "auto"}
#: The two that every other row is tested against.
RANDOM, LARGEST = "random", "most-parameters"

Adapt = Callable[[Request], Request]
Search = Callable[[Request, Hooks], Found]


@dataclass(frozen=True, slots=True)
class Row:
    """One search, repeated over seeds: `search(adapt(request), hooks)`.

    adapt: what this row changes in the request that all rows share. of_prior: whether it uses the prior.
    """

    name: str
    what: str
    adapt: Adapt
    search: Search
    of_prior: bool = False


def rows(space: SearchSpace[Any], prior: str = SHIPPED) -> dict[str, Row]:
    """All rows for a space, by name, in the order in which they are printed.

    prior: the file that the rows with a prior use, or "shipped"; without one these rows do not exist.
    """
    path = prior_path(space, prior)
    found = [
        Row(RANDOM, "one uniformly random architecture", _with(), _baseline(Random())),
        Row(LARGEST, "the architecture with most parameters", _with(), _baseline(MostParameters())),
        *_paper(space, path),
        _default(space),
        *_on_naswot(space),
        *_on_prior(space, path),
        *_on_half_the_images(space),
    ]
    return {row.name: row for row in found}


def choose(space: SearchSpace[Any], names: Sequence[str] | None, prior: str = SHIPPED) -> list[Row]:
    """The named rows in printing order, or all; InvalidValueError naming the nearest for an unknown one."""
    available = rows(space, prior)
    distinct("`rows`", names or ())
    for name in names or ():
        if name not in available:
            raise unknown_choice("row", name, available)
    chosen = [row for name, row in available.items() if names is None or name in names]
    if prior != SHIPPED and not any(row.of_prior for row in chosen):
        users = ", ".join(row.name for row in available.values() if row.of_prior)
        raise InvalidValueError(
            f"--prior {prior} is of rows that use one: add one of {users} to --rows, or drop --prior"
        )
    return chosen


def _default(space: SearchSpace[Any]) -> Row:
    """`znas.search` with nothing but data, whatever the other rows' images and norm are."""
    preset = Request(space=space).settled()
    what = (
        f"znas.search with nothing but data: {preset.score}, p = 0, then {preset.finalists:,} architectures "
        f"ranked among as many random ones; {preset.images} images, norm {preset.norm}, "
        f"{_cells_in_words(space, preset.supernet_cells or 0)}"
    )
    of_preset = dict.fromkeys(ORDINARY)
    return Row("default", what, _with(preset=DEFAULT, aggregate="auto", **of_preset), _engine)


def _paper(space: SearchSpace[Any], path: Path | None) -> list[Row]:
    """The paper as written: accuracy, Algorithm 1, Gaussian intervention; -G takes Shapley values."""
    found = []
    for game, suffix, ps in (("none", "", ("0", "0.5", "1")), ("shapley", "-g", ("0.5", "1"))):
        for p in ps:
            found.append(
                Row(
                    f"paper{suffix}-p{p}",
                    f"the paper as written{', Shapley values' if suffix else ''}: accuracy, p = {p}, "
                    "Gaussian intervention, neutral prior",
                    _with(score="accuracy", p=float(p), game=game),
                    _engine,
                )
            )
    if path is not None:
        score = priors.load(path, space).score
        for game, suffix in (("none", ""), ("shapley", "-g")):
            for p in ("0.5", "1"):
                found.append(
                    Row(
                        f"paper{suffix}-prior-p{p}",
                        f"the same with a prior, which is of the score {score}: {score}, p = {p}",
                        _with(score=score, p=float(p), game=game, prior=path),
                        _engine,
                        of_prior=True,
                    )
                )
    return found


def _on_naswot(space: SearchSpace[Any]) -> Iterator[Row]:
    """Other ways to choose by the same score."""
    yield Row("naswot-p0.5", "the preset naswot: naswot, p = 0.5, neutral prior", _with(), _engine)
    yield Row(
        "zero-cost-pt",
        "Zero-Cost-PT on naswot, one iteration, on the space's own supernet",
        _with(),
        _baseline(ZeroCostPT()),
    )
    for n in (10, 100, 1000):
        what = f"best naswot of {n} random architectures, scored {_proxy_words(space)}"
        yield Row(f"naswot-{n}", what, proxied, _baseline(Naswot(n)))
    what = f"regularised evolution on naswot, 200 architectures, scored {_proxy_words(space)}"
    yield Row("evolution", what, proxied, _baseline(Evolution()))


def _on_prior(space: SearchSpace[Any], path: Path | None) -> Iterator[Row]:
    if path is not None:
        what = "leave-one-out on the mean of the prior; nothing is measured"
        yield Row("darts-pt", what, _with(), _darts_pt(space, path), of_prior=True)


def _on_half_the_images(space: SearchSpace[Any]) -> Iterator[Row]:
    """Searches that compare thousands, on half the images."""
    yield Row(
        "te-nas",
        f"pruning by the ranks of {TE_NAS['score']}, half the images, {_proxy_words(space)}",
        lambda request: replace(proxied(_halved(request)), **TE_NAS),
        _baseline(TeNas()),
    )
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
    return f"in networks of {proxy.channels} channels and {_cells_in_words(space, proxy.cells)}"


def _cells_in_words(space: SearchSpace[Any], cells: int) -> str:
    words = space.cells_are
    return f"{cells} {words.replace('cells', 'cell', 1) if cells == 1 else words}"


def _halved(request: Request) -> Request:
    images = request.settled().images
    assert images is not None
    return replace(request, images=images // 2)


def _with(**changes: Any) -> Adapt:
    return lambda request: replace(request, **changes)


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


def _darts_pt(space: SearchSpace[Any], path: Path) -> Search:
    return lambda request, hooks: run(DartsPT(priors.load(path, space)), request, hooks)


def prior_path(space: SearchSpace[Any], prior: str) -> Path | None:
    """The file of `prior`; None where "shipped" names none."""
    return space.prior if prior == SHIPPED else paths.named(prior, "the prior")
