#!/usr/bin/env python3
"""What a masked pass costs a GPU at least: arithmetic, bytes and launches of the fused steps, against the
peaks of a card.

    python bench/roofline.py [--images 256]

Counts are of the steps that `csrc/src/cuda/plan.cpp` makes of a supernet under a do-mask: convolutions of
one source are one product over all their taps, depthwise ones and pools are part of the sum that reads them,
every plane is written once and read by every step that needs it. Peaks are the vendor's; what they leave out
(operands that wait, instructions that compute addresses) is why a measurement is larger.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from znas_engine._core import TermKind
from znas_engine.backends.native_lowering import Lowering
from znas_engine.data import load
from znas_engine.environment import Environment
from znas_engine.spaces import SPACES, get_space
from znas_engine.supernet.normalisation import Statistics

BLOCK = 16  # channels


@dataclass(frozen=True)
class Card:
    """tensor: dense half-precision multiply-accumulates a second with float32 sums. fma: those of float32 on
    CUDA cores; of half-precision pairs twice as many. bandwidth: of device memory, bytes a second."""

    name: str
    tensor: float
    fma: float
    bandwidth: float


#: From the data sheets; a multiply-accumulate is two of their operations.
CARDS = (
    Card("A100 SXM", 156e12, 9.75e12, 2.04e12),
    Card("H100 SXM", 495e12, 33.5e12, 3.35e12),
    Card("RTX 4090", 82.5e12, 41.3e12, 1.01e12),
)


@dataclass
class Value:
    kind: str
    shape: tuple[int, int, int]
    terms: list[dict[str, Any]] = field(default_factory=list)

    @property
    def padded(self) -> int:
        return math.ceil(self.shape[0] / BLOCK) * BLOCK

    @property
    def pixels(self) -> int:
        return self.shape[1] * self.shape[2]

    @property
    def inlined(self) -> bool:
        """Whether those that read it make it: a depthwise convolution without a bias, for 1x1 ones."""
        return [term.get("kind") for term in self.terms] == ["depthwise"]

    @property
    def bytes(self) -> int:
        return 2 * self.padded * self.pixels


class Recorder:
    """Takes down what a lowering says, in the place of the native program's builder."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.sites = 0

    def _value(self, kind: str, shape: tuple[int, int, int], **term: Any) -> int:
        self.values.append(Value(kind, shape, [term] if term else []))
        return len(self.values) - 1

    def images(self, shape: tuple[int, int, int]) -> int:
        return self._value("images", shape)

    def sum(self, shape: tuple[int, int, int], *, moments: bool) -> int:
        return self._value("sum", shape)

    def max_pool(self, shape: Any, *, source: int, kernel: int, **_: Any) -> int:
        return self._value("max_pool", shape, source=source, kernel=kernel)

    def add(self, value: int, *, kind: TermKind, **term: Any) -> None:
        self.values[value].terms.append({"kind": kind.name} | term)

    def head(self, **_: Any) -> None: ...

    def site(self, values: list[int]) -> int:
        self.sites += 1
        return self.sites - 1


@dataclass
class Count:
    """Of one image under the mixture: multiply-accumulates on tensor cores and of depthwise convolutions,
    bytes of planes written and read; steps, and levels of steps that wait for one another."""

    tensor: int = 0
    depthwise: int = 0
    bytes: int = 0
    steps: int = 0
    levels: int = 0


def counted(values: list[Value]) -> Count:
    count, level = Count(), [0] * len(values)
    steps = [value.kind == "sum" and not value.inlined for value in values]
    for v, value in enumerate(values):
        if not steps[v]:
            continue
        read: set[int] = set()
        taps: dict[tuple[int, Any, Any], set[tuple[int, int]]] = {}
        for term in value.terms:
            if term["kind"] == "constant":
                continue
            source = values[term["source"]]
            if term["kind"] == "depthwise":
                count.depthwise += value.padded * value.pixels * term["kernel"] ** 2
            if term["kind"] == "product":
                first, step = term["shift"] - term["padding"], term["dilation"]
                offsets = [first + step * i for i in range(term["kernel"])]
                taps.setdefault((term["source"], term["rectified"], term["stride"]), set()).update(
                    (dy, dx) for dy in offsets for dx in offsets
                )
            if source.inlined or source.kind == "max_pool":
                if source.inlined:
                    count.depthwise += source.padded * source.pixels * source.terms[0]["kernel"] ** 2
                read.add(source.terms[0]["source"])
            else:
                read.add(term["source"])
        for (source_number, *_), places in taps.items():
            count.tensor += value.pixels * value.padded * values[source_number].padded * len(places)
        count.bytes += value.bytes + sum(values[source].bytes for source in read)
        count.steps += 1
        level[v] = 1 + max((level[source] for source in read), default=0)
    count.levels = len({(level[v], value.shape) for v, value in enumerate(values) if steps[v]})
    return count


def supernet(name: str) -> list[Value]:
    space = get_space(name)
    dataset = load("gaussian")
    graph = space.supernet(space.macro_for(dataset, channels=None, cells=None))
    environment = Environment(1, "constant", dataset.batch(1, seed=1))
    recorder = Recorder()
    builder: Any = recorder
    Lowering(graph, environment.weight, Statistics.identity(graph), space.shape, builder)
    return recorder.values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    images = parser.parse_args().images
    print("| per mask, half precision | " + " | ".join(SPACES.builtin) + " |")
    print("|---|" + "---|" * len(SPACES.builtin))
    counts = [counted(supernet(name)) for name in SPACES.builtin]
    rows: list[tuple[str, list[str]]] = [
        ("steps; launches for any number of masks", [f"{c.steps}; about {c.levels}" for c in counts]),
        ("tensor-core multiply-accumulates", [f"{c.tensor * images / 1e9:.1f} G" for c in counts]),
        ("depthwise multiply-accumulates", [f"{c.depthwise * images / 1e9:.1f} G" for c in counts]),
        ("bytes of planes", [f"{c.bytes * images / 1e9:.2f} GB" for c in counts]),
    ]
    for card in CARDS:
        times = []
        for c in counts:
            parts = np.array(
                [
                    c.tensor * images / card.tensor,
                    c.depthwise * images / (2 * card.fma),
                    c.bytes * images / card.bandwidth,
                ]
            )
            names = ("tensor cores", "depthwise", "memory")
            times.append(f"{1e3 * parts.max():.2f} ms ({names[int(parts.argmax())]})")
        rows.append((f"{card.name}: least time", times))
    for label, cells in rows:
        print(f"| {label} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
