"""The cells of an architecture as graphs: whatever its space, as long as images run through it one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from znas_engine.spaces import Genotype, SearchSpace

#: Operations of a cell that is drawn, at most.
MOST = 120


@dataclass(frozen=True, slots=True)
class Term:
    """An operation on an edge. number: of the operation in its space. computes: False where it adds nothing
    to its node, as `none` does."""

    source: int
    target: int
    operation: str
    number: int
    computes: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """terms: in the order of the space's edges. nodes: all of them. inputs: nodes into which no edge of the
    space leads. outputs: nodes out of which none leads, or those that are concatenated."""

    name: str
    terms: tuple[Term, ...]
    nodes: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    joined: bool

    @property
    def is_chain(self) -> bool:
        """Whether every node has one way in and one way out."""
        sources, targets = ([getattr(t, side) for t in self.terms] for side in ("source", "target"))
        return (
            not self.joined
            and len(set(sources)) == len(sources) == len(self.nodes) - 1
            and len(set(targets)) == len(targets)
        )

    def words(self) -> str:
        """For who does not see the picture."""
        return "; ".join(f"{each.source} to {each.target}: {each.operation}" for each in self.terms)


def cells_of(space: SearchSpace[Any], genotype: Genotype) -> tuple[Cell, ...]:
    """One per cell of the space, in the order of its edges."""
    counts = space.mask(genotype)
    found = []
    for name in dict.fromkeys(edge.cell for edge in space.edges):
        own = [(e, edge) for e, edge in enumerate(space.edges) if edge.cell == name]
        terms = [
            Term(edge.source, edge.target, operation, o, bool(space.computing[e, o]))
            for e, edge in own
            for o, operation in enumerate(space.operations)
            for _ in range(int(counts[e, o]))
        ]
        sources, targets = ({getattr(edge, side) for _, edge in own} for side in ("source", "target"))
        nodes = sorted(sources | targets)
        joined = [node for node in space.joined if node in nodes]
        outputs = joined or [node for node in nodes if node not in sources]
        inputs = [node for node in nodes if node not in targets]
        found.append(Cell(name, tuple(terms), tuple(nodes), tuple(inputs), tuple(outputs), bool(joined)))
    return tuple(found)


def title(cell: Cell, cells: Sequence[Cell]) -> str:
    """`the normal cell`; of a space with one, `the cell`."""
    kind = "chain" if cell.is_chain else "cell"
    return f"the {kind}" if len(cells) == 1 else f"the {cell.name} {kind}"
