"""The chains of `mobilenet`, how they are written, and which of them compute the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from znas_engine.errors import InvalidValueError, briefly, unknown_choice
from znas_engine.spaces.base import Edge, Genotype
from znas_engine.spaces.notation import Malformed, bounded, plain, read

#: `mb3_k5` is an inverted residual of expansion 3 and kernel 5.
OPERATIONS = ("identity", "mb3_k3", "mb3_k5", "mb3_k7", "mb6_k3", "mb6_k5", "mb6_k7")
#: Layers of each stage; only those behind the first of a stage may be identities.
STAGES = (4, 4, 4, 4, 4, 1)
FIRST = tuple(sum(STAGES[:stage]) for stage in range(len(STAGES)))
EDGES = tuple(Edge("chain", layer, layer + 1) for layer in range(sum(STAGES)))

#: How they are written: the kernel behind an x, as in 3x5.
_SHORT = {name: "-" if name == "identity" else f"{name[2]}x{name[5]}" for name in OPERATIONS}
_LONG = {short: name for name, short in _SHORT.items()}
_WRITTEN = re.compile(r"[-\dx,/]+")


@dataclass(frozen=True, slots=True)
class MobileNetGenotype(Genotype):
    """One operation per layer."""

    operations: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join(",".join(_SHORT[name] for name in stage) for stage in stages(self.operations))

    def structure(self) -> list[str]:
        return list(self.operations)


def stages(operations: Sequence[str]) -> Iterator[Sequence[str]]:
    """The operations of every stage."""
    return (operations[first : first + layers] for first, layers in zip(FIRST, STAGES, strict=True))


def canonical(genotype: MobileNetGenotype) -> MobileNetGenotype:
    """The chain that computes the same and has the identities of every stage last."""
    ordered = (sorted(stage, key="identity".__eq__) for stage in stages(genotype.operations))
    return MobileNetGenotype(tuple(name for stage in ordered for name in stage))


def parse(written: Any) -> MobileNetGenotype:
    """A chain in any of these ways; lists may be tuples, and all may be text.

        6x3,6x3,-,-/6x3,6x3,6x3,-/6x3,6x3,6x3,6x3/6x3,6x3,6x3,-/6x3,6x3,6x3,-/6x3    (MobileNetV2)
        ["mb6_k3", "mb6_k3", "identity", "identity", ...]    the 21 layers, or a list per stage

    6x3 is an inverted residual of expansion 6 and kernel 3, - an identity. InvalidValueError for anything
    else, and for an identity as the first layer of a stage.
    """
    found = plain(written)
    if isinstance(written, str):
        try:
            text = bounded(written)
            found = text if _WRITTEN.fullmatch(text) else read(text)
        except Malformed as error:
            raise _malformed(written) from error
    if isinstance(found, str) and _WRITTEN.fullmatch(found):
        found = [stage.split(",") for stage in found.split("/")]
    if not isinstance(found, list | tuple):
        raise _malformed(written)
    if len(found) == len(STAGES) and all(isinstance(stage, list | tuple) for stage in found):
        if tuple(map(len, found)) != STAGES:
            raise _malformed(written)
        found = [name for stage in found for name in stage]
    if len(found) != len(EDGES):
        raise _malformed(written)
    names = tuple(_name(written, value) for value in found)
    for layer in FIRST:
        if names[layer] == "identity":
            raise InvalidValueError(
                f"layer {layer + 1} of a mobilenet architecture is the first of its stage and cannot be an "
                f"identity: {briefly(written, 120)}; write one of {', '.join(OPERATIONS[1:])} there"
            )
    return MobileNetGenotype(names)


def _name(written: Any, value: Any) -> str:
    if not isinstance(value, str):
        raise _malformed(written)
    name = _LONG.get(value, value)
    if name not in OPERATIONS:
        raise unknown_choice("mobilenet operation", value[:64], (*OPERATIONS, *_LONG))
    return name


def _malformed(written: Any) -> InvalidValueError:
    layers = ", ".join(map(str, STAGES))
    return InvalidValueError(
        f"not a mobilenet architecture: {briefly(written, 120)}; expected {len(STAGES)} stages of {layers} "
        "layers, as in 6x3,6x3,-,-/6x3,6x3,6x3,-/6x3,6x3,6x3,6x3/6x3,6x3,6x3,-/6x3,6x3,6x3,-/6x3, or "
        f"{len(EDGES)} operations"
    )
