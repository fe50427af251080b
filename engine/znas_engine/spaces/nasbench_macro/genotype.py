"""The chains of NAS-Bench-Macro, how they are written, and which of them compute the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from znas_engine.errors import InvalidValueError, briefly, unknown_choice
from znas_engine.spaces.base import Edge, Genotype
from znas_engine.spaces.notation import Malformed, bounded, plain, read

#: Their digits are their places. `mb3_k3` is an inverted residual of expansion 3 and kernel 3.
OPERATIONS = ("identity", "mb3_k3", "mb6_k5")
#: Layers of each stage; the first of a stage doubles the channels and halves the resolution.
STAGES = (2, 3, 3)
FIRST = (0, 2, 5)
EDGES = tuple(Edge("chain", layer, layer + 1) for layer in range(sum(STAGES)))

_DIGITS = re.compile(f"[0-{len(OPERATIONS) - 1}]{{{len(EDGES)}}}")


@dataclass(frozen=True, slots=True)
class NasBenchMacroGenotype(Genotype):
    """One operation per layer."""

    operations: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(str(OPERATIONS.index(name)) for name in self.operations)

    def structure(self) -> list[str]:
        return list(self.operations)


def canonical(genotype: NasBenchMacroGenotype) -> NasBenchMacroGenotype:
    """The chain that computes the same and has, behind the first layer of every stage, its identities last.

    There an identity does nothing, so it may stand anywhere; the first layer's changes shape.
    """
    found: list[str] = []
    for first, layers in zip(FIRST, STAGES, strict=True):
        found.append(genotype.operations[first])
        found += sorted(genotype.operations[first + 1 : first + layers], key="identity".__eq__)
    return NasBenchMacroGenotype(tuple(found))


def parse(written: Any) -> NasBenchMacroGenotype:
    """A chain in any of these ways; lists may be tuples, and all may be text.

        01120211
        [0, 1, 1, 2, 0, 2, 1, 1]
        ["identity", "mb3_k3", "mb3_k3", "mb6_k5", "identity", "mb6_k5", "mb3_k3", "mb3_k3"]

    The digits are text: of a number the zeros in front are lost, and it is refused. InvalidValueError for
    anything else.
    """
    found = plain(written)
    if isinstance(written, str):
        try:
            text = bounded(written)
            found = text if _DIGITS.fullmatch(text) else read(text)
        except Malformed as error:
            raise _malformed(written) from error
    if isinstance(found, str) and _DIGITS.fullmatch(found):
        found = list(map(int, found))
    if not isinstance(found, list | tuple) or len(found) != len(EDGES):
        raise _malformed(written)
    return NasBenchMacroGenotype(tuple(_name(written, value) for value in found))


def _name(written: Any, value: Any) -> str:
    if type(value) is int and 0 <= value < len(OPERATIONS):
        return OPERATIONS[value]
    if not isinstance(value, str):
        raise _malformed(written)
    if value not in OPERATIONS:
        raise unknown_choice("NAS-Bench-Macro operation", value[:64], OPERATIONS)
    return value


def _malformed(written: Any) -> InvalidValueError:
    return InvalidValueError(
        f"not a NAS-Bench-Macro architecture: {briefly(written, 120)}; expected eight digits of 0, 1 and 2 "
        "as text, with the zeros in front, as in 01120211, or 8 operations"
    )
