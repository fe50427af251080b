"""Whether small images would do: how scores at one resolution rank what they rank at another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.hooks import QUIET
from znas.reproduce.correlation import Scored, combination, functions, in_brackets, score_architectures
from znas.reproduce.folder import SCORES
from znas.reproduce.rows import cells_in_words
from znas.reproduce.sheet import Sheet
from znas.reproduce.statistics import Correlation, kendall, over_functions, rank_correlations
from znas.request import Request
from znas.selection.criteria import Floats
from znas.selection.finalists import references
from znas.setup import Setup
from znas_engine.arguments import check_between, distinct
from znas_engine.environment import derive_seed
from znas_engine.errors import InvalidValueError
from znas_engine.progress import Progress
from znas_engine.scores import Score
from znas_engine.spaces import Genotype, get_space

#: Pixels of a side, at most.
MOST = 8192


def sides(texts: Sequence[str]) -> list[int]:
    """Resolutions in ascending order; InvalidValueError for fewer than two, and for what is none."""
    for text in texts:
        if not (text.isascii() and text.isdigit()):
            raise InvalidValueError(f"`resolutions` must be whole numbers such as 32,64 but got {text!r}")
    if len(texts) < 2:
        raise InvalidValueError(f"`resolutions` must be at least two, such as 32,64, but got {texts[0]}")
    found = sorted(check_between("resolutions", int(text), 1, MOST) for text in texts)
    distinct("`resolutions`", list(map(str, found)))
    return found


def at(request: Request, side: int) -> Request:
    """The request with images of that side, which the supernet sees as they are, whatever its preset."""
    return replace(request, resolution=side, supernet_resolution=side)


def drawn(request: Request, count: int) -> list[Genotype]:
    """Random architectures of different functions; InvalidValueError where the space has not so many."""
    check_between("architectures", count, 2, None)
    space = get_space(request.space)
    rng = np.random.default_rng(derive_seed(request.seed, "resolutions"))
    found = references(space, count, [], rng)
    if len(found) < count:
        raise InvalidValueError(
            f"`architectures` must be at most {len(found)}, of which {space.name} has different ones, but "
            f"got {count}"
        )
    return [space.genotype(mask) for mask in found]


def at_resolutions(
    genotypes: list[Genotype],
    accuracies: dict[str, Floats],
    scores: Sequence[Score],
    request: Request,
    resolutions: Sequence[int],
    *,
    folder: Path,
    progress: Progress = QUIET.progress,
) -> dict[int, Scored]:
    """By resolution. folder: has one for each, with its work file."""
    found = {}
    for number, side in enumerate(resolutions):

        def advance(done: int, total: int, number: int = number) -> None:
            progress(number * total + done, len(resolutions) * total)

        found[side] = score_architectures(
            genotypes,
            accuracies,
            scores,
            at(request, side),
            work=folder / str(side) / SCORES,
            progress=advance,
        )
    return found


def resolutions(
    scored: Mapping[int, Scored], sets: Sequence[str], request: Request, source: str, setup: Setup
) -> Sheet:
    """Every score, or set of scores `a+b`, at each resolution against each other one, against itself in
    another environment, and against every accuracy. source: of the architectures, in words. setup: of the
    largest images."""
    genotypes = next(iter(scored.values())).genotypes
    _, which = functions(get_space(request.space), genotypes)
    entries = [entry for name in sets for entry in _entries(scored, name, which, request.seed)]
    return Sheet(
        title=f"Rank correlation between resolutions, {len(genotypes):,} {source}",
        headings=["score", "pixels", "with", "Kendall tau", "Spearman rho", "seconds"],
        cells=[_cells(entry) for entry in entries],
        notes=[
            (
                "value [95 % percentile bootstrap over architectures, those of one function together]; not "
                "of other weights and images"
            ),
            (
                f"scores are means over {setup.envs} environment(s), whose weights are the same at every "
                "resolution where shapes are; another environment: the mean of Kendall's tau over pairs of "
                "single ones, which have other weights and images"
            ),
            "a+b: sum over scores of log(rank / n) in this population",
            (
                f"{setup.dataset.name} images, which are shown at every resolution as --resolution does "
                f"(larger than their own: enlarged), {setup.images} of them, norm {setup.norm}, "
                f"{setup.macro.channels} channels, {cells_in_words(setup.space, setup.macro.cells)}"
            ),
            "seconds: of measuring every function once at these pixels, all single scores of the set",
        ],
        records=[_record(entry) for entry in entries],
        data={
            "table": "resolutions",
            "space": get_space(request.space).name,
            "resolutions": list(scored),
            "architectures": list(map(str, genotypes)),
            "rows": entries,
        },
        left=(0, 1, 2),
    )


def _entries(
    scored: Mapping[int, Scored], name: str, which: NDArray[np.int64], seed: int
) -> list[dict[str, Any]]:
    names = name.split("+")
    combine = combination(names)
    each = {side: np.stack([of.scores[n] for n in names]) for side, of in scored.items()}
    whole = {side: combine(values.mean(1)) for side, values in each.items()}
    found = []

    def add(side: int, other: str, kendall_: Correlation | float, spearman: Correlation | None) -> None:
        found.append(
            {
                "score": name,
                "pixels": side,
                "with": other,
                "kendall": asdict(kendall_) if isinstance(kendall_, Correlation) else {"value": kendall_},
                "spearman": None if spearman is None else asdict(spearman),
                "seconds": sum(scored[side].seconds[n] for n in names),
            }
        )

    for side, other in combinations(scored, 2):
        ranked = whole[side], whole[other]
        add(side, f"{other} pixels", *rank_correlations(ranked, over_functions(ranked, which, seed)))
    for side, values in each.items():
        alone = [combine(values[:, k]) for k in range(values.shape[1])]
        pairs = [kendall(a, b) for a, b in combinations(alone, 2)]
        if pairs:
            add(side, "another environment", float(np.mean(pairs)), None)
        for column, truth in scored[side].accuracies.items():
            ranked = whole[side], truth
            add(side, column, *rank_correlations(ranked, over_functions(ranked, which, seed)))
    return found


def _cells(entry: dict[str, Any]) -> list[str]:
    tau, rho = entry["kendall"], entry["spearman"]
    return [
        entry["score"],
        str(entry["pixels"]),
        entry["with"],
        f"{tau['value']:.3f}" if rho is None else in_brackets(Correlation(**tau)),
        "" if rho is None else in_brackets(Correlation(**rho)),
        f"{entry['seconds']:.1f}",
    ]


def _record(entry: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in entry.items() if name not in ("kendall", "spearman")}
    for name in ("kendall", "spearman"):
        flat |= {f"{name}_{part}": value for part, value in (entry[name] or {}).items()}
    return flat
