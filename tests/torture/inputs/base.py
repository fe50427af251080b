"""What every kind of input is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from random import Random
from typing import Any

from znas_engine.spaces import get_space

NB201, DARTS = get_space("nasbench201"), get_space("darts")


class Input(ABC):
    """One kind of input. folder: for its files, its own."""

    name: str
    #: How many of them are tried, beside other kinds.
    weight: int = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def make(self, rng: Random) -> Any:
        """A hostile case."""

    @abstractmethod
    def use(self, case: Any) -> bool:
        """Whether what our code makes of it is right; raises a ZnasError where it is refused."""

    def put(self, name: str, data: bytes | str) -> Path:
        """The file `name` with these bytes."""
        path = self.folder / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
        return path
