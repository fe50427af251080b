#!/usr/bin/env python3
"""What a masked pass costs a GPU at least: arithmetic, bytes and launches of the fused steps, against the
peaks of a card.

    python bench/roofline.py [--images 256] [--space NAME ...] [--resolution SIDE]

Counts are of the steps that `csrc/src/cuda/plan.cpp` makes of a supernet under a do-mask: convolutions of
one source are one product over all their taps, pools and the depthwise convolutions that 1x1 ones alone read
are part of the sum that reads them, every plane is written once and read by every step that needs it. Peaks
are the vendor's; what they leave out (operands that wait, instructions that compute addresses) is why a
measurement is larger. Launches are the plan's own: they are printed where znas-engine was built for GPUs,
which takes nvcc and no GPU.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from znas_engine import _core
from znas_engine._core import NO_SLOT, ProgramBuilder, TermKind
from znas_engine.backends.native_lowering import Lowering
from znas_engine.data import load
from znas_engine.environment import Environment
from znas_engine.spaces import SPACES, get_space
from znas_engine.supernet.normalisation import Statistics

BLOCK = 16  # channels


@dataclass(frozen=True)
class Card:
    """tensor: dense half-precision multiply-accumulates a second with float32 sums. pairs: those of float16
    pairs on CUDA cores, the most that depthwise convolutions reach. bandwidth: of device memory, bytes a
    second."""

    name: str
    tensor: float
    pairs: float
    bandwidth: float

    def least(self, count: Count, images: int) -> str:
        """The time of a pass, and what takes it."""
        seconds = {
            "tensor cores": count.tensor * images / self.tensor,
            "depthwise": count.depthwise * images / self.pairs,
            "memory": count.bytes * images / self.bandwidth,
        }
        most = max(seconds, key=lambda name: seconds[name])
        return f"{1e3 * seconds[most]:.2f} ms ({most})"


#: From the data sheets; a multiply-accumulate is two of their operations.
CARDS = (
    Card("A100 SXM", 156e12, 39e12, 2.04e12),
    Card("H100 SXM", 495e12, 67e12, 3.35e12),
    Card("H200 SXM", 495e12, 67e12, 4.8e12),
    Card("RTX 4090", 82.5e12, 41.3e12, 1.01e12),
)


@dataclass
class Value:
    """inlined: whether those that read it make it, and it has no step."""

    kind: str
    shape: tuple[int, int, int]
    moments: bool = False
    terms: list[dict[str, Any]] = field(default_factory=list)
    inlined: bool = False

    @property
    def padded(self) -> int:
        return math.ceil(self.shape[0] / BLOCK) * BLOCK

    @property
    def pixels(self) -> int:
        return self.shape[1] * self.shape[2]

    @property
    def bytes(self) -> int:
        return 2 * self.padded * self.pixels


class Recorder:
    """Takes down what a lowering says, in the place of the native program's builder."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        #: What is read beside the sums: by the classifier, and as activation codes.
        self.handed_out: set[int] = set()
        self.sites = 0

    def _value(self, kind: str, shape: tuple[int, int, int], moments: bool = False) -> int:
        self.values.append(Value(kind, shape, moments))
        return len(self.values) - 1

    def images(self, shape: tuple[int, int, int]) -> int:
        return self._value("images", shape)

    def sum(self, shape: tuple[int, int, int], *, moments: bool) -> int:
        return self._value("sum", shape, moments)

    def max_pool(self, shape: Any, *, source: int, **_: Any) -> int:
        made = self._value("max_pool", shape)
        self.values[made].terms.append({"kind": "max_pool", "source": source})
        return made

    def add(self, value: int, *, kind: TermKind, **term: Any) -> None:
        self.values[value].terms.append({"kind": kind.name} | term)

    def head(self, *, sources: list[int], **_: Any) -> None:
        self.handed_out.update(sources)

    def site(self, values: list[int]) -> int:
        self.handed_out.update(values)
        self.sites += 1
        return self.sites - 1

    def fused(self) -> list[Value]:
        """The values, those `inlined` that the plan's `find_inlined` finds."""
        for value in self.values:
            kinds = [term["kind"] for term in value.terms]
            value.inlined = (
                kinds == ["depthwise"]
                and value.terms[0]["kernel"] <= 5
                and value.terms[0]["slot"] == NO_SLOT
                and not value.moments
            )
        for value in self.values:
            channelwise = any(term["kind"] == "depthwise" for term in value.terms)
            for term in value.terms:
                if term["kind"] != "constant" and (channelwise or not _is_one_by_one(term)):
                    self.values[term["source"]].inlined = False
        for v in self.handed_out:
            self.values[v].inlined = False
        return self.values


def _is_one_by_one(term: dict[str, Any]) -> bool:
    return (
        term["kind"] == "product"
        and not term["rectified"]
        and (term["kernel"], term["stride"], term["padding"], term["shift"]) == (1, 1, 0, 0)
    )


@dataclass
class Count:
    """Of one image under the mixture: multiply-accumulates on tensor cores and of depthwise convolutions,
    bytes of planes written and read; steps. launches: of the plan, None where this build has none."""

    tensor: int = 0
    depthwise: int = 0
    bytes: int = 0
    steps: int = 0
    launches: int | None = None


def counted(values: list[Value]) -> Count:
    count = Count()
    for value in values:
        if value.kind != "sum" or value.inlined:
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
    return count


def supernet(name: str, resolution: int | None) -> Count:
    """Of a space's supernet on images of that side, by default its data's own."""
    space = get_space(name)
    dataset = load("gaussian", resolution=resolution)
    graph = space.supernet(space.macro_for(dataset, channels=None, cells=None))
    environment = Environment(1, "constant", dataset.batch(1, seed=1))
    recorder = Recorder()

    def lower(builder: Any) -> None:
        Lowering(graph, environment.weight, Statistics.identity(graph), space.shape, builder)

    lower(recorder)
    count = counted(recorder.fused())
    if hasattr(_core, "cuda_plan_size"):
        builder = ProgramBuilder()
        lower(builder)
        steps, count.launches = _core.cuda_plan_size(builder.build(precision="float16", target="cuda"))
        assert steps == count.steps, f"{name}: {count.steps} steps were counted and the plan has {steps}"
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--space", action="append", help="repeatable; all built-in ones by default")
    parser.add_argument("--resolution", type=int, help="side of the images in pixels; 32 by default")
    arguments = parser.parse_args()
    spaces = arguments.space or list(SPACES.builtin)
    counts = [supernet(name, arguments.resolution) for name in spaces]
    print("| per mask, half precision | " + " | ".join(spaces) + " |")
    print("|---|" + "---|" * len(spaces))
    for label, cells in table(counts, arguments.images):
        print(f"| {label} | " + " | ".join(cells) + " |")


def table(counts: list[Count], images: int) -> Iterator[tuple[str, list[str]]]:
    """Rows of it: what they are called, and a cell per count."""
    yield "steps", [f"{c.steps}" for c in counts]
    if all(c.launches is not None for c in counts):
        yield "launches of sums, for any number of masks", [f"{c.launches}" for c in counts]
    yield "tensor-core multiply-accumulates", [f"{c.tensor * images / 1e9:.1f} G" for c in counts]
    yield "depthwise multiply-accumulates", [f"{c.depthwise * images / 1e9:.1f} G" for c in counts]
    yield "bytes of planes", [f"{c.bytes * images / 1e9:.2f} GB" for c in counts]
    for card in CARDS:
        yield f"{card.name}: least time", [card.least(count, images) for count in counts]


if __name__ == "__main__":
    main()
