"""The rows of the reproduced tables: a name, what it does in words, and the search itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from znas import api, priors
from znas.presets import DEFAULT, PRESETS, settings_from
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
from znas.settings import SHIPPED, SearchSettings
from znas_engine.errors import unknown_choice
from znas_engine.spaces import Macro, get_space

#: Gradients need the torch backend, whatever the others run on.
TE_NAS: dict[str, Any] = {"score": "ntk+linear_regions", "aggregate": "auto", "backend": "auto"}
#: The two that every other row is tested against.
RANDOM, LARGEST = "random", "most-parameters"

Adapt = Callable[[SearchSettings], SearchSettings]
Search = Callable[[SearchSettings], Found]


@dataclass(frozen=True, slots=True)
class Row:
    """One search, repeated over seeds: `search(adapt(settings))`.

    adapt: what this row changes in the settings that all rows share; it raises what is wrong with them, so
    all rows are checked before the first search.
    """

    name: str
    what: str
    adapt: Adapt
    search: Search


def rows(space: str, prior: str = SHIPPED) -> dict[str, Row]:
    """All rows for a space, by name, in the order in which they are printed.

    prior: the file that the rows with a prior use, or "shipped"; without one these rows do not exist.
    """
    path = prior_path(space, prior)
    found = [
        Row(
            RANDOM,
            "one uniformly random architecture",
            _with(),
            _baseline(Random()),
        ),
        Row(
            LARGEST,
            "the architecture with most parameters",
            _with(),
            _baseline(MostParameters()),
        ),
        *_paper(path),
        _default(space),
        Row("naswot-p0.5", "the preset naswot: naswot, p = 0.5, neutral prior", _with(), _engine),
        Row(
            "zero-cost-pt",
            "Zero-Cost-PT on naswot, one iteration, on the space's own supernet",
            _with(),
            _baseline(ZeroCostPT()),
        ),
        *(
            Row(
                f"naswot-{n}",
                f"best naswot of {n} random architectures, scored {_proxy_words(space)}",
                proxied,
                _baseline(Naswot(n)),
            )
            for n in (10, 100, 1000)
        ),
        Row(
            "evolution",
            f"regularised evolution on naswot, 200 architectures, scored {_proxy_words(space)}",
            proxied,
            _baseline(Evolution()),
        ),
    ]
    if path is not None:
        found.append(
            Row(
                "darts-pt",
                "leave-one-out on the mean of the prior; nothing is measured",
                _with(),
                _darts_pt(path),
            )
        )
    found.append(
        Row(
            "te-nas",
            f"pruning by the ranks of {TE_NAS['score']}, half the images, {_proxy_words(space)}",
            lambda settings: replace(proxied(_halved(settings)), **TE_NAS),
            _baseline(TeNas()),
        )
    )
    if get_space(space).functions() is not None:
        found.append(
            Row(
                "exhaustive",
                f"best naswot of all distinct functions, half the images, scored {_proxy_words(space)}",
                lambda settings: proxied(_halved(settings)),
                _baseline(Exhaustive()),
            )
        )
    return {row.name: row for row in found}


def choose(space: str, names: Sequence[str] | None, prior: str = SHIPPED) -> list[Row]:
    """The named rows in printing order, or all; InvalidValueError naming the nearest for an unknown one."""
    available = rows(space, prior)
    for name in names or ():
        if name not in available:
            raise unknown_choice("row", name, available)
    return [row for name, row in available.items() if names is None or name in names]


def _default(space: str) -> Row:
    """`znas.search` with nothing but data, whatever the other rows' images and norm are."""
    preset = settings_from(DEFAULT, space=space)
    changes = {name: getattr(preset, name) for name in (*PRESETS[DEFAULT], "aggregate")}
    what = (
        f"znas.search with nothing but data: {preset.score}, p = 0, then {preset.finalists:,} architectures "
        f"ranked among as many random ones; {preset.images} images, norm {preset.norm}, "
        f"{_cells_in_words(space, preset.cells or 0)}"
    )
    return Row("default", what, _with(**changes), _engine)


def _paper(path: Path | None) -> list[Row]:
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
        score = priors.load(path).score
        for game, suffix in (("none", ""), ("shapley", "-g")):
            for p in ("0.5", "1"):
                found.append(
                    Row(
                        f"paper{suffix}-prior-p{p}",
                        f"the same with a prior, which is of the score {score}: {score}, p = {p}",
                        _with(score=score, p=float(p), game=game, prior=path),
                        _engine,
                    )
                )
    return found


def _proxy(space: str) -> Macro:
    """The size at which single architectures are scored, thousands of them; `--channels` and `--cells`
    replace it, a supernet has its space's own."""
    return get_space(space).proxy_macro(resolution=32, classes=10)


def _proxy_words(space: str) -> str:
    proxy = _proxy(space)
    return f"in networks of {proxy.channels} channels and {_cells_in_words(space, proxy.cells)}"


def _cells_in_words(space: str, cells: int) -> str:
    words = get_space(space).cells_are
    return f"{cells} {words.replace('cells', 'cell', 1) if cells == 1 else words}"


def _halved(settings: SearchSettings) -> SearchSettings:
    return replace(settings, images=settings.images // 2)


def _with(**changes: Any) -> Adapt:
    return lambda settings: replace(settings, **changes)


def _engine(settings: SearchSettings) -> Found:
    return Found.of(api.search(settings))


def _baseline(searcher: Searcher) -> Search:
    return lambda settings: run(searcher, settings)


def proxied(settings: SearchSettings) -> SearchSettings:
    """The settings at the size of a proxy network where none is given."""
    return replace(
        settings,
        channels=_proxy(settings.space).channels if settings.channels is None else settings.channels,
        cells=_proxy(settings.space).cells if settings.cells is None else settings.cells,
    )


def _darts_pt(path: Path) -> Search:
    return lambda settings: run(DartsPT(priors.load(path)), settings)


def prior_path(space: str, prior: str) -> Path | None:
    """The file of `prior`; None where "shipped" names none."""
    return priors.shipped(space) if prior == SHIPPED else Path(prior)
