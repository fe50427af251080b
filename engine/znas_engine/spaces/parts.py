"""What a search space is said in: edges, the size of a network, an architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from znas_engine.arguments import check_between

#: Of a network that is asked for: what trains on any machine is far below.
MOST_PIXELS, MOST_CLASSES, MOST_CHANNELS = 8192, 1_000_000, 4096


@dataclass(frozen=True, slots=True)
class Edge:
    """A paralleled edge of a cell; `source` and `target` are node numbers in the community's counting."""

    cell: str
    source: int
    target: int

    @property
    def label(self) -> str:
        return f"{self.cell}:{self.source}->{self.target}"


@dataclass(frozen=True, slots=True)
class Macro:
    """The skeleton around the cells.

    channels: width C of the first cells. cells: their number, as `SearchSpace.cells_are` counts them.
    resolution: side of the square images in pixels. stem: "cifar" | "imagenet". inputs: channels of an image.
    """

    channels: int
    cells: int
    resolution: int
    classes: int
    stem: str = "cifar"
    inputs: int = 3

    def __post_init__(self) -> None:
        for name in ("channels", "cells", "resolution", "classes", "inputs"):
            object.__setattr__(self, name, check_between(name, getattr(self, name), 1, 2**20))


@dataclass(frozen=True, slots=True)
class Genotype(ABC):
    """A discrete architecture in the notation of its own community."""

    @abstractmethod
    def __str__(self) -> str:
        """The community's string."""

    @abstractmethod
    def structure(self) -> Any:
        """The same as plain lists and dictionaries, for JSON."""
