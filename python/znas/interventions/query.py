"""One point of the supernet that may be measured or drawn: a mask, and what D(Z) knows it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from znas_engine.spaces import Mask

#: How many edges differ from the base, and how many neurons stay on them.
Kind = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A base mask with the rows of some edges replaced.

    mask: float32 [E, O]. edges: the rows that differ from the base. neurons: the (edge, operation) that stay
    on them; none for dropped edges. parts: of a pair, do() of each neuron and the base.
    """

    mask: Mask
    edges: tuple[int, ...]
    neurons: tuple[tuple[int, int], ...]
    parts: tuple[Query, ...] = ()

    @property
    def kind(self) -> Kind:
        """What its score may be compared with: do(e, o), drop(e), coalitions of one size and pairs each have
        a level of their own."""
        return len(self.edges), len(self.neurons)

    @property
    def operations(self) -> tuple[int, ...]:
        """The operations of its neurons."""
        return tuple(o for _, o in self.neurons)


def coalition(base: Mask, edge: int, members: Sequence[int]) -> Query:
    """`members` alone on `edge`, evenly weighted: do(e, o) for one of them, drop(e) for none."""
    mask = base.copy()
    mask[edge] = 0
    if members:
        mask[edge, list(members)] = 1 / len(members)
    return Query(mask, (edge,), tuple((edge, o) for o in members))


def together(base: Mask, neurons: Sequence[tuple[int, int]]) -> Query:
    """do() of several neurons on different edges at once; of none, the base itself."""
    mask = base.copy()
    for edge, operation in neurons:
        mask[edge] = 0
        mask[edge, operation] = 1
    return Query(mask, tuple(edge for edge, _ in neurons), tuple(neurons))


def pair(one: Query, other: Query, base: Query) -> Query:
    """do() of the two neurons of `one` and `other`, which are do() on two edges of `base`."""
    both = together(base.mask, [*one.neurons, *other.neurons])
    return replace(both, parts=(one, other, base))


def drop(base: Mask, edges: Sequence[int]) -> Query:
    """`base` without `edges`: the observation of an ensemble, or of several."""
    mask = base.copy()
    mask[list(edges)] = 0
    return Query(mask, tuple(edges), ())
