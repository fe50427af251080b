"""The cells of NAS-Bench-201 and how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from znas_engine.errors import InvalidValueError, briefly, unknown_choice
from znas_engine.spaces.base import Edge, Genotype
from znas_engine.spaces.notation import Malformed, bounded, is_pair, plain, read

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = tuple(Edge("cell", source, target) for target in (1, 2, 3) for source in range(target))


#: The benchmark's string, by itself or as its code prints it.
_STRING = re.compile(r"^\s*(?:Structure\(4 nodes with )?(\|[^()]*\|)\)?\s*$")


@dataclass(frozen=True, slots=True)
class NasBench201Genotype(Genotype):
    """One operation per edge, in the order of `EDGES`."""

    operations: tuple[str, ...]

    def __str__(self) -> str:
        nodes = [[f"{operation}~{source}" for operation, source in node] for node in self.structure()]
        return "+".join(f"|{'|'.join(terms)}|" for terms in nodes)

    def structure(self) -> list[list[list[Any]]]:
        """[[[operation, source], ...] for each of nodes 1, 2, 3]"""
        return [
            [
                [op, edge.source]
                for edge, op in zip(EDGES, self.operations, strict=True)
                if edge.target == node
            ]
            for node in (1, 2, 3)
        ]


def parse(written: Any) -> NasBench201Genotype:
    """A cell in any of the ways in which the benchmark writes it.

        |nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|
        [[["nor_conv_3x3", 0]], [["none", 0], ["skip_connect", 1]], [["avg_pool_3x3", 0], ...]]
        [3, 0, 1, 4, 2, 1], or the names: the operations of the edges 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2

    Lists may be tuples, and all may be text: quoted, after a name (`arch = ...`), or as the benchmark's own
    code prints a structure, Structure(4 nodes with |...|). Operations are numbered as in the list of
    NAS-Bench-201 and NATS-Bench: none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3 (other code
    bases, NASLib for one, number them otherwise). InvalidValueError for anything else.
    """
    found = plain(written)
    if isinstance(written, str):
        try:
            found = _STRING.search(bounded(written)) or read(written)
        except Malformed as error:
            raise _malformed(written) from error
        if isinstance(found, str):
            found = _STRING.search(found)
        if isinstance(found, re.Match):
            return _assembled(written, _terms_of_text(found[1]))
    if not isinstance(found, list | tuple):
        raise _malformed(written)
    if len(found) == len(EDGES):
        named = zip(EDGES, (_name(written, value) for value in found), strict=True)
        return _assembled(written, ((edge.target, edge.source, name) for edge, name in named))
    return _assembled(written, _terms_of_nodes(written, found))


def _terms_of_text(text: str) -> Iterable[tuple[int, int, str]]:
    for target, node in enumerate(re.sub(r"\s", "", text).split("+"), start=1):
        for term in node.removeprefix("|").removesuffix("|").split("|"):
            match = re.fullmatch(r"(\w+)~([0-2])", term)
            if match is None:
                raise _malformed(text)
            yield target, int(match[2]), match[1]


def _terms_of_nodes(written: Any, nodes: list[Any] | tuple[Any, ...]) -> Iterable[tuple[int, int, str]]:
    for target, node in enumerate(nodes, start=1):
        if not isinstance(node, list | tuple) or not all(map(is_pair, node)):
            raise _malformed(written)
        for operation, source in node:
            yield target, source, operation


def _name(written: Any, value: Any) -> str:
    if isinstance(value, str):
        return value
    if type(value) is int and 0 <= value < len(OPERATIONS):
        return OPERATIONS[value]
    raise _malformed(written)


def _assembled(written: Any, terms: Iterable[tuple[int, int, str]]) -> NasBench201Genotype:
    """terms: (target, source, operation), each edge once, in any order."""
    found: dict[tuple[int, int], str] = {}
    for target, source, operation in terms:
        if (source, target) in found or len(found) == len(EDGES):
            raise _malformed(written)
        if operation not in OPERATIONS:
            raise unknown_choice("NAS-Bench-201 operation", operation[:64], OPERATIONS)
        found[source, target] = operation
    if set(found) != {(edge.source, edge.target) for edge in EDGES}:
        raise _malformed(written)
    return NasBench201Genotype(tuple(found[edge.source, edge.target] for edge in EDGES))


def _malformed(written: Any) -> InvalidValueError:
    example = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
    return InvalidValueError(
        f"not a NAS-Bench-201 architecture: {briefly(written, 120)}; expected the form {example}, its lists, "
        "or 6 operations"
    )
