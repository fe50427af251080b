"""How far several searches agree on the operations of the edges, and how far chance would bring them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from znas_engine.errors import InvalidValueError


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of `searches` choices per edge.

    modal, modal_share: per edge, the operation chosen most often and by which share of the searches.
    pairwise: the probability that two of the searches agree on an edge, averaged over edges.
    chance, kappa: Fleiss's, (pairwise - chance) / (1 - chance), where chance draws every edge's operation
    from the overall shares: 0 although all agree that one operation is best everywhere, None where nothing
    else was chosen.
    uniform_chance, uniform_kappa: the same against a uniform draw, the mean over edges of 1 / options. Both
    kappas are 1 for full agreement.
    """

    searches: int
    modal: tuple[str, ...]
    modal_share: tuple[float, ...]
    pairwise: float
    chance: float
    kappa: float | None
    uniform_chance: float
    uniform_kappa: float


def agreement(choices: Sequence[Sequence[str]], options: Sequence[int]) -> Agreement:
    """choices[search][edge], out of options[edge] -> their agreement.

    Fleiss, Psychological Bulletin 76, 1971; against uniform chance Brennan & Prediger, Educational and
    Psychological Measurement 41, 1981.

        n_eo = how many of S searches chose o on edge e
        pairwise = mean_e sum_o n_eo (n_eo - 1) / (S (S - 1)),   chance = sum_o (sum_e n_eo / (S E))^2

    Raises InvalidValueError for fewer than 2 searches.
    """
    searches = len(choices)
    if searches < 2:
        raise InvalidValueError(f"agreement needs at least 2 searches but got {searches}: raise --seeds")
    edges = [Counter(edge) for edge in zip(*choices, strict=True)]
    pairs = searches * (searches - 1)
    pairwise = sum(n * (n - 1) for counts in edges for n in counts.values()) / pairs / len(edges)
    total = sum(edges, Counter[str]())
    uniform = mean(1 / of for of in options)
    chance = sum((n / (searches * len(edges))) ** 2 for n in total.values())
    modal = [min(counts.items(), key=lambda item: (-item[1], item[0])) for counts in edges]
    return Agreement(
        searches=searches,
        modal=tuple(name for name, _ in modal),
        modal_share=tuple(n / searches for _, n in modal),
        pairwise=pairwise,
        chance=chance,
        kappa=None if len(total) == 1 else (pairwise - chance) / (1 - chance),
        uniform_chance=uniform,
        uniform_kappa=1.0 if uniform == 1 else (pairwise - uniform) / (1 - uniform),
    )


def same_edges(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of edges on which two searches agree."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
