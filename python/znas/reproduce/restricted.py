"""A space of which only a table's architectures are left: where what a search finds is in no row."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.selection.finalists import losses
from znas.selection.operations import one_hot
from znas_engine.errors import DataError
from znas_engine.spaces import Genotype, Mask, SearchSpace
from znas_engine.tables import Table


def restricted(space: SearchSpace[Any], genotypes: Sequence[Genotype]) -> SearchSpace[Any]:
    """The space, admitting what computes the same as one of `genotypes`, with a uniform draw of these for its
    random architecture. Supernets, scores and costs are the space's.

    A selection of operations that is not among them gives way to the one among them whose sum of scores is
    the least behind: the best-ranked architecture that is there. Of a space whose nodes keep all edges.
    """
    kind: Any = type(space)
    known = {space.function_of(genotype) for genotype in genotypes}
    paths = np.stack([space.mask(genotype) for genotype in genotypes])
    able = paths[[space.admits(mask) for mask in paths]]
    listed = space.functions()
    firsts: dict[Hashable, Genotype] = {}
    for genotype in genotypes if listed is None else listed:
        firsts.setdefault(space.function_of(genotype), genotype)
    one_of_each = [g for f, g in firsts.items() if f in known and space.admits(space.mask(g))]

    class Restricted(kind):  # type: ignore[misc]
        def admits(self, mask: Mask) -> bool:
            return bool(super().admits(mask)) and self.function_of(self.genotype(mask)) in known

        def random_path(self, rng: np.random.Generator) -> Mask:
            path: Mask = paths[rng.integers(len(paths))].copy()
            return path

        def functions(self) -> Sequence[Genotype]:
            return one_of_each

        def repair(self, scores: NDArray[np.float64], selected: NDArray[np.int64]) -> NDArray[np.int64]:
            chosen: NDArray[np.int64] = space.repair(scores, selected)  # `super`'s asks what is there only
            if self.admits(one_hot(chosen, len(self.operations))):
                return chosen
            behind = np.where(able > 0, losses(scores), 0.0).sum((1, 2))
            same = (able.argmax(2) == chosen).sum(1)
            best: NDArray[np.int64] = able[np.lexsort((-same, behind))[0]].argmax(1)
            return best

    found: SearchSpace[Any] = copy(space)
    found.__class__ = Restricted
    return found


class Among:
    """The architectures of a table: space, that of them alone; digest: of which ones. DataError where the
    space admits none of them."""

    def __init__(self, space: SearchSpace[Any], table: Table) -> None:
        if not any(space.admits(space.mask(genotype)) for genotype in table.genotypes):
            raise DataError(
                f"the table {table.path} has no architecture that {space.name} admits, to stand for what a "
                "search finds: give another"
            )
        self.space = restricted(space, table.genotypes)
        text = "\n".join(sorted(map(str, table.genotypes)))
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._known: set[Hashable] = {space.function_of(genotype) for genotype in table.genotypes}

    def has(self, arch: str) -> bool:
        """Whether one of them computes the same."""
        return self.space.function_of(self.space.parse(arch)) in self._known
