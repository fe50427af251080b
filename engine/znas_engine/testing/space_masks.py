"""What a space says of its edges, operations and masks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from znas_engine.errors import DataError, InvalidValueError
from znas_engine.spaces import Genotype, Mask, SearchSpace
from znas_engine.testing.agreement import one_line, path, small

#: Architectures that are drawn.
DRAWN = 40


class SpaceDraws:
    """space: what is tested."""

    space: ClassVar[SearchSpace[Any]]

    def architectures(self, count: int = DRAWN, *, idle: bool = False) -> Iterator[Mask]:
        """Paths of the space, drawn uniformly; idle: also those on which most operations compute nothing."""
        rng = np.random.default_rng(0)
        for _ in range(count):
            yield self.space.random_path(rng)
        if idle:
            for _ in range(count):
                selected = self._selected(self._scores(rng, idle=True))
                yield self._kept(path(self.space, selected), rng)

    def admitted(self, count: int) -> list[Genotype]:
        """Architectures of the space."""
        found = [self.space.genotype(mask) for mask in self.architectures() if self.space.admits(mask)]
        assert len(found) >= count, f"of {DRAWN} random architectures {len(found)} are admitted"
        return found[:count]

    def _scores(self, rng: np.random.Generator, *, idle: bool) -> Any:
        """float64 [E, O], -inf where there is no candidate; idle: what computes nothing is ahead."""
        scores = rng.normal(size=self.space.shape) + 2 * (idle & ~self.space.computing)
        return np.where(self.space.candidates, scores, -np.inf)

    def _selected(self, scores: Any) -> Any:
        return scores.argmax(1)

    def _kept(self, mask: Mask, rng: np.random.Generator) -> Mask:
        """With as many in-edges of every node as an architecture keeps."""
        kept = mask.copy()
        for into in self.space.contested_nodes():
            kept[rng.permutation(into)[self.space.in_edges :]] = 0
        return kept


class MaskContract(SpaceDraws):
    def test_names(self) -> None:
        space = self.space
        assert re.fullmatch(r"[^\s+:]+", space.name)
        assert len(set(space.operations)) == len(space.operations)
        assert len({edge.label for edge in space.edges}) == len(space.edges)
        assert space.shape == (len(space.edges), len(space.operations))
        assert space.prior is None or space.prior.is_file()
        for preset, fields in space.presets.items():
            assert isinstance(preset, str)
            assert all(isinstance(name, str) and name.isidentifier() for name in fields)

    def test_candidates(self) -> None:
        space = self.space
        for found in (space.candidates, space.mixed, space.computing):
            assert found.dtype == np.bool_
            assert found.shape == space.shape
        assert (space.candidates & space.computing).any(1).all()
        assert not (space.candidates & ~space.mixed).any()
        assert not (space.computing & ~space.mixed).any()
        assert [e for e, _ in space.neurons()] == np.repeat(
            np.arange(len(space.edges)), space.candidates.sum(1)
        ).tolist()

    def test_the_vocabulary_of_masks(self) -> None:
        space, mixture = self.space, self.space.mixture()
        assert mixture.dtype == np.float32
        assert np.allclose(mixture.sum(1), 1)
        assert not mixture[~space.mixed].any()
        for edge, operation in space.neurons():
            rest = np.arange(len(space.edges)) != edge
            done, options = space.do(edge, operation), space.options(edge)
            assert done[edge].tolist() == np.eye(len(space.operations))[operation].tolist()
            assert np.array_equal(done[rest], mixture[rest])
            assert not space.drop(edge)[edge].any()
            assert np.array_equal(space.drop(edge)[rest], mixture[rest])
            assert np.array_equal(space.coalition(edge, [operation]), done)
            assert np.array_equal(space.coalition(edge, []), space.drop(edge))
            assert np.allclose(space.coalition(edge, options)[edge][options], 1 / len(options))

    def test_masks_in_words(self) -> None:
        space = self.space
        assert space.describe(space.mixture()) == "mixture"
        assert space.describe(space.drop(0)) == f"drop({space.edges[0].label})"
        edge, operation = max(space.neurons(), key=lambda neuron: len(space.options(neuron[0])))
        if len(space.options(edge)) > 1:
            words = f"do({space.edges[edge].label}, {space.operations[operation]})"
            assert space.describe(space.do(edge, operation)) == words

    def test_architectures_are_masks(self) -> None:
        space = self.space
        for mask in self.architectures(idle=True):
            assert mask.dtype == np.float32
            assert not mask[~space.candidates].any()
            genotype = space.genotype(mask)
            assert np.array_equal(space.mask(genotype), mask)
            assert space.genotype(space.mask(genotype)) == genotype
            assert space.mask(genotype).dtype == np.float32

    def test_masks_that_are_no_architecture(self) -> None:
        space = self.space
        masks = [
            np.zeros(space.shape),
            np.full(space.shape, 0.5),
            np.full(space.shape, np.nan),
            np.ones((1, 1)),
        ]
        if (space.mixed.sum(1) > 1).any():
            masks.append(space.mixture())
        for mask in masks:
            with one_line(InvalidValueError):
                space.genotype(mask.astype(np.float32))

    def test_admitted_architectures_let_images_through(self) -> None:
        graph = self.space.supernet(small(self.space))
        for mask in self.architectures(idle=True):
            assert graph.fed(mask)[-1] or not self.space.admits(mask)

    def test_repair(self) -> None:
        """It leaves what is admitted alone, and what it returns is admitted, whatever edges are given up."""
        space, rng = self.space, np.random.default_rng(1)
        for idle in (False, True) * DRAWN:
            scores = self._scores(rng, idle=idle)
            selected = self._selected(scores)
            found = space.repair(scores, selected.copy())
            assert found.shape == selected.shape
            assert space.candidates[np.arange(len(found)), found].all()
            assert space.admits(self._kept(path(space, found), rng))
            assert np.array_equal(space.repair(scores, found.copy()), found)
            if not space.contested_nodes() and space.admits(path(space, selected)):
                assert np.array_equal(found, selected)

    def test_functions(self) -> None:
        """`function_of` is a key, what stands for a function is one of it, and `functions` lists every one
        once."""
        space = self.space
        drawn = self.admitted(5)
        keys = {space.function_of(genotype) for genotype in drawn}
        assert keys == {space.function_of(space.genotype(space.mask(genotype))) for genotype in drawn}
        for genotype in drawn:
            stands = space.representative(genotype)
            assert space.representative(stands) == stands
            assert space.function_of(stands) == space.function_of(genotype)
            assert space.admits(space.mask(stands))
        listed = space.functions()
        if listed is not None:
            functions = [space.function_of(genotype) for genotype in listed]
            assert len(set(functions)) == len(functions)
            assert keys <= set(functions)
            assert all(space.admits(space.mask(genotype)) for genotype in listed)

    def test_a_folder_without_a_reader_or_without_files(self, tmp_path: Path) -> None:
        with one_line(DataError):
            self.space.read_folder(tmp_path)

    @pytest.mark.parametrize("resolution", [1, 7, 30])
    def test_other_resolutions_are_built_or_refused(self, resolution: int) -> None:
        try:
            macro = self.space.search_macro(resolution=resolution, classes=10)
            assert self.space.supernet(macro).nodes[0].shape[1:] == (resolution, resolution)
        except InvalidValueError as error:
            refused = str(error)
        else:
            return
        assert "\n" not in refused
        assert str(resolution) in refused
