"""Which rows a run measures, and the masks that it measures them with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from znas.bench.contenders import contenders_on, get_contender
from znas.selection.operations import one_hot
from znas_engine.arguments import choice
from znas_engine.backends.rounding import rounded
from znas_engine.cores import available_cores
from znas_engine.data import Dataset, load
from znas_engine.devices import kind_of, parse_devices
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import SPACES, Macro, Mask, SearchSpace, get_space
from znas_engine.spaces.base import draw

PARTS = ("peak", "passes", "scaling", "start", "search", "instant")
MASK_KINDS = ("do", "one-hot", "mixture")
#: The lines of a scaling curve, and its points.
SCALED = ("eager", "ort", "native")
SCALED_IMAGES = (16, 32, 64, 128)
SCALED_MASKS = (1, 2, 4, 8, 16)
#: Contenders of a quick run, and its other fields: about two minutes on a processor, a look, not a claim.
QUICK_CONTENDERS = ("eager", "ort", "ort-ready", "torch", "native", "native-bf16")
QUICK: dict[str, Any] = {
    "parts": ("peak", "passes", "start", "search"),
    "kinds": ("do", "one-hot"),
    "images": (16,),
    "threads": (available_cores(),),
    "masks": 2,
    "rounds": 3,
    "repeats": 1,
    "probabilities": (0.5,),
}
#: Every run has the same weights and images.
SEED = 11


@dataclass(frozen=True, slots=True)
class Supernet:
    """Which network on which images, and where it runs; None is the space's or the data set's own."""

    space: str
    images: int
    data: str = "gaussian"
    data_dir: str | None = None
    channels: int | None = None
    cells: int | None = None
    resolution: int | None = None
    device: str = "cpu"
    #: Weights as that dtype holds them.
    rounded: str | None = None

    def build(self) -> tuple[SearchSpace[Any], Macro, Environment]:
        space = get_space(self.space)
        dataset = self._dataset()
        macro = space.macro_for(dataset, channels=self.channels, cells=self.cells)
        environment = Environment(SEED, "gaussian", dataset.batch(self.images, seed=SEED))
        return space, macro, environment if self.rounded is None else rounded(environment, self.rounded)

    def _dataset(self) -> Dataset:
        folder = None if self.data_dir is None else Path(self.data_dir)
        return load(self.data, data_dir=folder, resolution=self.resolution)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are measured in turns, one per contender: `masks` masks of one kind per call."""

    supernet: Supernet
    threads: int
    kind: str
    masks: int

    @property
    def facts(self) -> dict[str, Any]:
        """What its rows have in common."""
        return {
            "space": self.supernet.space,
            "kind": self.kind,
            "images": self.supernet.images,
            "masks": self.masks,
            "threads": self.threads,
            "device": self.supernet.device,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a run measures, checked before any work starts.

    device: where all contenders run; contenders: those that do if none is named.
    images, threads, kinds: axes of the table of passes. masks: per timed call, in batches where a
    contender takes them (the threads' shares). rounds: timed calls per row.
    repeats: of a start and of a whole search. probabilities: of the searches.

    Raises InvalidValueError for a value outside its domain.
    """

    parts: tuple[str, ...] = PARTS
    spaces: tuple[str, ...] = tuple(SPACES.builtin)
    contenders: tuple[str, ...] = ()
    kinds: tuple[str, ...] = MASK_KINDS
    images: tuple[int, ...] = (64,)
    threads: tuple[int, ...] = field(default_factory=lambda: tuple(sorted({1, available_cores()})))
    masks: int = 4
    rounds: int = 9
    repeats: int = 3
    probabilities: tuple[float, ...] = (0.5, 0.0, 1.0)
    data: str = "gaussian"
    data_dir: str | None = None
    channels: int | None = None
    cells: int | None = None
    resolution: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        device, *others = parse_devices(self.device)
        if others:
            raise InvalidValueError(f"`device` must be one device here but got {self.device!r}")
        object.__setattr__(self, "device", device)
        object.__setattr__(self, "contenders", self.contenders or contenders_on(device))
        for what, values, choices in (("part", self.parts, PARTS), ("kind of mask", self.kinds, MASK_KINDS)):
            for value in values:
                choice(what, value, choices)
        for name in self.contenders:
            if kind_of(device) not in get_contender(name).devices:
                raise InvalidValueError(
                    f"the contender {name!r} does not run on {device}: choose one of "
                    + ", ".join(contenders_on(device))
                )
        numbers = {
            "images": self.images,
            "threads": self.threads,
            "masks": (self.masks,),
            "rounds": (self.rounds,),
        }
        for what, counts in numbers.items():
            for count in counts:
                if count < 1:
                    raise InvalidValueError(f"`{what}` must be at least 1 but got {count}")
        for name in self.spaces:
            self.supernet(name, max(self.images)).build()

    def supernet(self, space: str, images: int) -> Supernet:
        return Supernet(
            space, images, self.data, self.data_dir, self.channels, self.cells, self.resolution, self.device
        )

    def groups(self) -> Iterator[tuple[Group, tuple[str, ...]]]:
        """Every group of passes with its contenders, those of one supernet and thread count together."""
        if "passes" in self.parts:
            for space in self.spaces:
                for images in self.images:
                    for threads in self.threads:
                        for kind in self.kinds:
                            group = Group(self.supernet(space, images), threads, kind, self.masks)
                            yield group, self.contenders
        if "scaling" in self.parts:
            lines = tuple(name for name in self.contenders if name in SCALED)
            for space in self.spaces:
                for threads in self.threads:
                    supernet = self.supernet(space, self.images[0])
                    for masks in SCALED_MASKS:
                        if masks != self.masks:
                            yield Group(supernet, threads, "do", masks), lines
                    for images in SCALED_IMAGES:
                        if images != self.images[0]:
                            yield Group(self.supernet(space, images), threads, "do", self.masks), lines


def quick_contenders(device: str) -> tuple[str, ...]:
    """Those of QUICK_CONTENDERS that run on the device."""
    here = contenders_on(device)
    return tuple(name for name in QUICK_CONTENDERS if name in here)


def mask_at(space: SearchSpace[Any], kind: str, index: int) -> Mask:
    """Number `index` of an endless row of masks of one kind, the same in every run.

    do: all do(e, o) of candidates, in a random order, over and over. one-hot: random candidates that compute
    something. mixture: the mixture, each entry off by at most 1 %, so that nothing a
    backend made for an earlier mask serves a later one.
    """
    rng = np.random.default_rng(0 if kind == "do" else index)
    if kind == "do":
        neurons = space.neurons()
        edge, operation = neurons[rng.permutation(len(neurons))[index % len(neurons)]]
        return space.do(edge, operation)
    if kind == "one-hot":
        return one_hot(draw(space.candidates & space.computing, rng), len(space.operations))
    jitter = 1 + 0.01 * (2 * rng.random(space.shape, dtype=np.float32) - 1)
    return (space.mixture() * jitter).astype(np.float32)


def masks_at(space: SearchSpace[Any], kind: str, first: int, count: int) -> Mask:
    """[count, E, O]: `mask_at` for first, first + 1, ..."""
    return np.stack([mask_at(space, kind, first + i) for i in range(count)])
