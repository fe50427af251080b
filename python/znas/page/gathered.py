"""What a page is made of: results, where they stand among random architectures, what was trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from znas.result import SearchResult


@dataclass(frozen=True, slots=True)
class Placed:
    """An architecture among random ones. name: what it is, in words. value: its scores as one number, larger
    is better. percentile: the share, in percent, of the random ones that it is better than; low, high: its
    interval over environments, None for one environment. within: the same of those random ones that keep the
    search's limits of parameters and multiply-accumulates; None without limits."""

    name: str
    arch: str
    params: int
    flops: int
    value: float
    percentile: float
    low: float | None
    high: float | None
    within: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where what was found stands. placed: it, and then what stands beside it. random: (parameters, value) of
    every random architecture. kept: how many of these keep the limits. score: in words. seed: of the draws,
    which the search did not see."""

    placed: tuple[Placed, ...]
    random: tuple[tuple[int, float], ...]
    kept: int
    score: str
    seed: int
    envs: int
    images: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trained:
    """A row of what a training left. recipe: its name. learned: images that it was trained on. accuracy,
    deployed_accuracy: shares of other `images` that the network and its deployed file classify rightly.
    interval: of the accuracy. judged: on which images."""

    name: str
    arch: str
    params: int
    flops: int
    seed: int
    recipe: str
    epochs: int
    learned: int
    seconds: float
    accuracy: float
    interval: tuple[float, float]
    images: int
    deployed_accuracy: float
    judged: str


@dataclass(frozen=True, slots=True)
class Run:
    """name: of the run, on a page of several. where: what commands call its folder. files: by name the
    digests of what lies in it."""

    name: str
    where: str
    result: SearchResult
    files: Mapping[str, str] = field(default_factory=dict)
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything on a page."""

    runs: Sequence[Run]
    trained: Sequence[Trained] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        runs = [
            {
                "name": run.name,
                "result": run.result.to_dict(),
                "standing": None if run.standing is None else run.standing.to_dict(),
                "digests": digests(run),
            }
            for run in self.runs
        ]
        return {"runs": runs, "trained": [asdict(each) for each in self.trained]}


#: What says the same twice, but for the time that it took.
_FLEETING = ("seconds",)


def digests(run: Run) -> dict[str, str]:
    """SHA-256 of the result without its seconds, and of the files that lie beside it."""
    plain = {name: value for name, value in run.result.to_dict().items() if name not in _FLEETING}
    text = json.dumps(plain, sort_keys=True).encode()
    return {"the result without its seconds": hashlib.sha256(text).hexdigest()} | dict(run.files)
