"""Which NAS-Bench-201 cells compute the same function: a canonical form.

A node's value is a sum of terms. `none` adds no term, `skip_connect` adds the terms of its source, average
pooling is linear, so it distributes over them, and a convolution (ReLU, convolution, normalisation) makes
one new term. A term is therefore

    (how many poolings were applied, what they were applied to: the cell's input, or one convolution)

and a cell is the terms of its output and, for each convolution that the output needs, the terms that it
reads. Two cells compute the same function, given equal weights on corresponding convolutions, where these
sums are equal up to the numbering of the convolutions; the form numbers them canonically.

A convolution that is read twice is not two convolutions: the benchmark's own `to_unique_str` writes both as
the same text, so it unites cells that this form keeps apart. A convolution of zero is not zero: its
normalisation makes it a constant per channel, which pooling leaves as it is and of which the kernel's size
cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, permutations, product
from typing import Any

from znas_engine.spaces.nasbench201.genotype import EDGES, OPERATIONS, NasBench201Genotype

#: The base of a term that is the cell's input; convolutions are numbered from 0.
INPUT = -1
CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")
#: What a convolution of either size is when it reads nothing.
CONSTANT = "constant"
POOLING = "avg_pool_3x3"

Terms = tuple[tuple[int, int], ...]  # sorted (poolings, base)


@dataclass(frozen=True, slots=True, order=True)
class CanonicalCell:
    """Equal for two cells only if they compute the same function with equal weights.

    output: the terms of the cell's output. convolutions: per number, its operation (`CONSTANT` if it reads
    nothing) and the terms it reads. edges: per number, the edge on which it stands in the cell that this is
    the form of (not compared).
    """

    output: Terms
    convolutions: tuple[tuple[str, Terms], ...]
    edges: tuple[int, ...] = field(compare=False)


def canonical(genotype: NasBench201Genotype) -> CanonicalCell:
    """The form of one cell."""
    output, reads = _evaluate(genotype)
    live = _live(output, reads)
    computes = {e: genotype.operations[e] if reads[e] else CONSTANT for e in live}
    signatures = {e: _signature(e, computes, reads) for e in live}
    ordered = sorted(live, key=lambda e: signatures[e])
    alike = [list(group) for _, group in groupby(ordered, key=lambda e: signatures[e])]
    return min(_numbered(computes, output, reads, edges) for edges in _orders(alike))


@lru_cache(maxsize=1)
def classes() -> tuple[tuple[NasBench201Genotype, ...], ...]:
    """All 15,625 cells, those of one function together, the first in the order of `OPERATIONS` first."""
    found: dict[CanonicalCell, list[NasBench201Genotype]] = {}
    for operations in product(OPERATIONS, repeat=len(EDGES)):
        genotype = NasBench201Genotype(operations)
        found.setdefault(canonical(genotype), []).append(genotype)
    return tuple(map(tuple, found.values()))


def _evaluate(genotype: NasBench201Genotype) -> tuple[Terms, dict[int, Terms]]:
    """The terms of the output and, per edge with a convolution, those it reads; bases are edges."""
    nodes: list[list[tuple[int, int]]] = [[(0, INPUT)], [], [], []]
    reads: dict[int, Terms] = {}
    for e, (edge, name) in enumerate(zip(EDGES, genotype.operations, strict=True)):
        source = nodes[edge.source]
        if name == "skip_connect":
            nodes[edge.target] += source
        elif name == POOLING:
            nodes[edge.target] += [
                (poolings + (base == INPUT or reads[base] != ()), base) for poolings, base in source
            ]
        elif name in CONVOLUTIONS:
            reads[e] = tuple(sorted(source))
            nodes[edge.target].append((0, e))
    return tuple(sorted(nodes[3])), reads


def _live(output: Terms, reads: dict[int, Terms]) -> set[int]:
    """The convolutions that the output needs."""
    live: set[int] = set()
    waiting = [output]
    while waiting:
        for _, base in waiting.pop():
            if base != INPUT and base not in live:
                live.add(base)
                waiting.append(reads[base])
    return live


def _signature(base: int, computes: dict[int, str], reads: dict[int, Terms]) -> Any:
    """What a convolution computes, without regard to what else reads it; equal for those that may be
    exchanged, and perhaps for others."""
    if base == INPUT:
        return ("", ())
    inputs = tuple(sorted((poolings, _signature(b, computes, reads)) for poolings, b in reads[base]))
    return (computes[base], inputs)


def _orders(alike: list[list[int]]) -> Iterator[tuple[int, ...]]:
    """Every order of the convolutions in which those of equal signature stay together."""
    for choice in product(*(permutations(group) for group in alike)):
        yield tuple(e for group in choice for e in group)


def _numbered(
    computes: dict[int, str], output: Terms, reads: dict[int, Terms], edges: tuple[int, ...]
) -> CanonicalCell:
    number = {INPUT: INPUT} | {e: i for i, e in enumerate(edges)}

    def renamed(terms: Terms) -> Terms:
        return tuple(sorted((poolings, number[base]) for poolings, base in terms))

    return CanonicalCell(renamed(output), tuple((computes[e], renamed(reads[e])) for e in edges), edges)
