"""Search spaces, as data."""

from __future__ import annotations

from typing import Any

from znas_engine.errors import unknown_choice
from znas_engine.spaces.base import Edge, Genotype, Macro, Mask, SearchSpace, resize
from znas_engine.spaces.darts import Darts, DartsGenotype
from znas_engine.spaces.nasbench201 import NasBench201, NasBench201Genotype

__all__ = [
    "SPACES",
    "Darts",
    "DartsGenotype",
    "Edge",
    "Genotype",
    "Macro",
    "Mask",
    "NasBench201",
    "NasBench201Genotype",
    "SearchSpace",
    "get_space",
    "resize",
]

SPACES: dict[str, SearchSpace[Any]] = {"nasbench201": NasBench201(), "darts": Darts()}


def get_space(name: str) -> SearchSpace[Any]:
    """The space of that name, or InvalidValueError naming the nearest."""
    if name not in SPACES:
        raise unknown_choice("search space", name, SPACES)
    return SPACES[name]
