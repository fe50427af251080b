"""Everything a search is asked to do, checked before any work starts."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from znas_engine.backends import choose_backend
from znas_engine.data import DATASETS
from znas_engine.errors import InvalidValueError, unknown_choice
from znas_engine.scores import get_score
from znas_engine.spaces import get_space
from znas_engine.supernet.initialisation import check_init
from znas_engine.supernet.normalisation import check_norm


def available_threads() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """The arguments of `znas.search`; see there for what each one does.

    Raises:
        InvalidValueError: a value outside its domain; the message names the nearest valid one.
        MissingDependencyError: a backend whose package is absent.
    """

    space: str = "nasbench201"
    data: str = "gaussian"
    data_dir: Path | None = None
    backend: str = "auto"
    score: str = "naswot"
    p: float = 0.5
    envs: int = 1
    images: int = 64
    norm: str = "calibrated"
    init: str = "gaussian"
    seed: int = 0
    threads: int = field(default_factory=available_threads)
    channels: int | None = None
    cells: int | None = None
    resolution: int | None = None

    def __post_init__(self) -> None:
        get_space(self.space)
        if self.data not in DATASETS:
            raise unknown_choice("data set", self.data, DATASETS)
        object.__setattr__(self, "backend", choose_backend(self.backend))
        score = get_score(self.score)
        if not (math.isfinite(self.p) and 0 <= self.p <= 1):
            raise InvalidValueError(f"`p` must be between 0 and 1 but got {self.p}")
        for name, low, high in (("envs", 1, 10_000), ("images", 1, 1_000_000), ("threads", 1, 1024)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidValueError(f"`{name}` must be between {low:,} and {high:,} but got {value:,}")
        if not 0 <= self.seed < 2**63:
            raise InvalidValueError(f"`seed` must be between 0 and 2**63 - 1 but got {self.seed}")
        if score.needs_labels and self.data == "gaussian":
            raise InvalidValueError(
                f"the score {self.score!r} needs labels and gaussian images have none; "
                "use --data cifar10 --data-dir FOLDER, or --score naswot"
            )
        check_norm(self.norm)
        check_init(self.init)
