"""The pairs of cells of DARTS and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from znas_engine.errors import InvalidValueError, briefly, unknown_choice
from znas_engine.spaces.base import Edge, Genotype
from znas_engine.spaces.notation import Malformed, is_pair, plain, read

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
CELLS = ("normal", "reduce")
#: Nodes 0 and 1 of a cell are the outputs of the two cells before it; 2 to 5 are intermediate.
TARGETS = (2, 3, 4, 5)
EDGES = tuple(Edge(cell, source, target) for cell in CELLS for target in TARGETS for source in range(target))
IN_EDGES = 2  # each intermediate node of a genotype keeps two
FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")

Terms = tuple[tuple[str, int], ...]  # (operation, source), two per intermediate node


@dataclass(frozen=True, slots=True)
class DartsGenotype(Genotype):
    """Per cell eight (operation, source) pairs, two for each of the nodes 2 to 5."""

    normal: Terms
    reduce: Terms

    def __str__(self) -> str:
        concat = list(TARGETS)
        return (
            f"Genotype(normal={list(self.normal)!r}, normal_concat={concat}, "
            f"reduce={list(self.reduce)!r}, reduce_concat={concat})"
        )

    def structure(self) -> dict[str, Any]:
        cells: dict[str, Any] = {}
        for cell, terms in (("normal", self.normal), ("reduce", self.reduce)):
            cells[cell] = [[operation, source] for operation, source in terms]
            cells[f"{cell}_concat"] = list(TARGETS)
        return cells


def parse(written: Any) -> DartsGenotype:
    """A genotype in any of the ways in which the community writes it.

        Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=..., ...)

    also as `X = Genotype(...)` or `genotypes.Genotype(...)`, as the named tuple itself, as a dictionary with
    these fields, or as its JSON. A cell is eight pairs or, by node, four times two. InvalidValueError for
    anything else.
    """
    found = plain(written)
    if isinstance(written, str):
        try:
            found = read(written, "Genotype", FIELDS)
        except Malformed as error:
            raise _malformed(written, str(error)) from error
    if isinstance(found, tuple) and len(found) == len(FIELDS):
        found = dict(zip(FIELDS, found, strict=True))
    if not isinstance(found, Mapping):
        raise _malformed(written, "it is not a call of Genotype")
    if set(found) != set(FIELDS):
        raise _malformed(written, f"its fields are not {', '.join(FIELDS)}")
    for cell in CELLS:
        concat = found[f"{cell}_concat"]
        if not isinstance(concat, list | tuple | range) or list(concat[:9]) != list(TARGETS):
            raise _malformed(written, f"{cell}_concat must be {list(TARGETS)}")
    return DartsGenotype(_terms(written, "normal", found), _terms(written, "reduce", found))


def _terms(written: Any, cell: str, fields: Mapping[str, Any]) -> Terms:
    pairs = fields[cell]
    count = IN_EDGES * len(TARGETS)
    if isinstance(pairs, list | tuple) and len(pairs) == len(TARGETS):  # by node
        nodes = [node for node in pairs if isinstance(node, list | tuple) and len(node) == IN_EDGES]
        pairs = [pair for node in nodes for pair in node]
    if not isinstance(pairs, list | tuple) or len(pairs) != count:
        raise _malformed(written, f"{cell} must be a list of {count} (operation, node) pairs")
    terms: list[tuple[str, int]] = []
    for k, pair in enumerate(pairs):
        target = TARGETS[k // IN_EDGES]
        if not is_pair(pair):
            raise _malformed(written, f"{cell}[{k}] is not an (operation, node) pair")
        operation, source = pair
        if operation not in OPERATIONS:
            raise unknown_choice("DARTS operation", operation, OPERATIONS)
        if not 0 <= source < target:
            raise _malformed(written, f"{cell}[{k}] must come from a node 0 to {target - 1}, not {source!r}")
        terms.append((operation, source))
    return tuple(terms)


def _malformed(written: Any, why: str) -> InvalidValueError:
    return InvalidValueError(f"not a DARTS genotype: {briefly(written)}: {why}")
