"""All architectures of a space: how many there are, and each of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np

from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask, SearchSpace

#: Architectures that are listed, at most.
MOST = 1_000_000
#: (edge, operation) of everything that stands at one node.
Choice = tuple[tuple[int, int], ...]


def count(space: SearchSpace[Any]) -> int:
    """How many architectures there are, those that are not admitted included."""
    return prod(_count(space, into) for into in space.nodes())


def members(space: SearchSpace[Any]) -> Iterator[Mask]:
    """path(a) of every architecture, in the order of edges and operations, the last edge changing first;
    those that are not admitted included.

    Raises:
        InvalidValueError: there are more than `MOST`.
    """
    total = count(space)
    if total > MOST:
        raise InvalidValueError(
            f"all architectures can be listed of a space that has up to {MOST:,}, but {space.name} has "
            f"{in_words(total)}: draw some of them, --random 1000"
        )
    return (_mask(space, chosen) for chosen in product(*(_choices(space, into) for into in space.nodes())))


def in_words(number: int) -> str:
    """15,625, or 1.08e+18"""
    return f"{number:,}" if number < 10**9 else f"{number:.3g}"


def _kept(space: SearchSpace[Any], into: list[int]) -> int:
    return min(len(into), space.in_edges or len(into))


def _count(space: SearchSpace[Any], into: list[int]) -> int:
    """Of one node: the sum over sets of in-edges of the product of their candidates."""
    sets = [1] + [0] * _kept(space, into)  # by size, as an elementary symmetric polynomial grows
    for edge in into:
        options = len(space.options(edge))
        for size in range(len(sets) - 1, 0, -1):
            sets[size] += sets[size - 1] * options
    return sets[-1]


def _choices(space: SearchSpace[Any], into: list[int]) -> Iterator[Choice]:
    for edges in combinations(into, _kept(space, into)):
        for operations in product(*map(space.options, edges)):
            yield tuple(zip(edges, operations, strict=True))


def _mask(space: SearchSpace[Any], chosen: tuple[Choice, ...]) -> Mask:
    mask = np.zeros(space.shape, dtype=np.float32)
    for choice in chosen:
        for neuron in choice:
            mask[neuron] = 1
    return mask
