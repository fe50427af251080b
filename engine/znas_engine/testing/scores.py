"""What every score keeps."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from znas_engine.backends import BACKENDS, GRADIENTS, get_backend
from znas_engine.backends.record import unread
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.scores import ANSWERS, READS, ForwardScore, GradientScore, Score, StaticScore
from znas_engine.spaces import DEFAULT, Mask, SearchSpace, get_space
from znas_engine.testing.agreement import kinds_of_masks, noise, one_line, runnable, small


class ScoreContract:
    """score: what is tested. space: on whose architectures. images: so many, unless it needs more.
    tolerance: how far backends may be apart, absolute and relative."""

    score: ClassVar[Score]
    space: ClassVar[SearchSpace[Any]] = get_space(DEFAULT)
    images: ClassVar[int] = 16
    tolerance: ClassVar[float] = 1e-3

    def test_what_it_says_of_itself(self) -> None:
        score = self.score
        assert re.fullmatch(r"[^\s+:]+", score.name)
        assert isinstance(score, ForwardScore | StaticScore | GradientScore)
        assert score.min_images >= 1
        assert score.max_images is None or score.max_images >= score.min_images
        if isinstance(score, ForwardScore):
            assert set(score.reads) <= {*READS, *ANSWERS}
            assert score.probes

    def test_a_finite_number_that_tells_architectures_apart(self) -> None:
        values = self.values(self.masks())
        assert np.isfinite(values).all()
        assert len(set(values.tolist())) > 1

    def test_the_same_again_and_whatever_is_asked_with_it(self) -> None:
        masks = self.masks()
        values = self.values(masks)
        assert np.array_equal(self.values(masks), values)
        assert np.array_equal(self.values(masks[::-1].copy()), values[::-1])

    def test_the_same_on_every_backend(self) -> None:
        """Those that cannot run it say so in one line."""
        masks = self.masks()
        expected = self.values(masks)
        for backend in runnable():
            if isinstance(self.score, GradientScore) and backend != GRADIENTS:
                with one_line(InvalidValueError, match="needs gradients"):
                    self.values(masks, backend=backend)
                continue
            if unread(BACKENDS.get(backend), [self.score]):
                with one_line(InvalidValueError, match="does not hand out; use --backend"):
                    self.values(masks, backend=backend)
                continue
            found = self.values(masks, backend=backend)
            np.testing.assert_allclose(
                found, expected, rtol=self.tolerance, atol=self.tolerance, err_msg=backend
            )

    def test_labels_are_read_where_it_says_so(self) -> None:
        masks = self.masks()
        unlabelled = Batch(self.batch().images, None)
        if self.score.needs_labels:
            with one_line(InvalidValueError, match="needs labels"):
                self.values(masks, unlabelled)
        else:
            assert np.array_equal(self.values(masks, unlabelled), self.values(masks))

    def test_other_numbers_of_images_are_refused(self) -> None:
        masks, macro = self.masks()[:1], small(self.space)
        if self.score.min_images > 1:
            with one_line(InvalidValueError, match="`images` must be at least"):
                self.values(masks, noise(macro, self.score.min_images - 1))
        if self.score.max_images is not None:
            with one_line(InvalidValueError, match="`images` must be at most"):
                self.values(masks, noise(macro, self.score.max_images + 1))
        try:
            fewest = self.values(masks, noise(macro, self.score.min_images))
        except InvalidValueError as error:  # it may ask for more than a number: two images of some class, say
            refused = str(error)
        else:
            assert np.isfinite(fewest).all()
            return
        assert self.score.name in refused
        assert "\n" not in refused

    def masks(self) -> Mask:
        """What a search sends: observations of neurons and ensembles, architectures; and no network."""
        rng = np.random.default_rng(0)
        kinds = kinds_of_masks(self.space)
        drawn = [self.space.random_path(rng) for _ in range(4)]
        return np.stack([*(kinds[name] for name in ("mixture", "do", "drop", "coalition", "empty")), *drawn])

    def batch(self) -> Batch:
        return noise(small(self.space), max(self.images, self.score.min_images))

    def values(
        self, masks: Mask, batch: Batch | None = None, *, backend: str = GRADIENTS
    ) -> NDArray[np.float64]:
        """masks [G, E, O] -> float64 [G], by an evaluator of its own."""
        environment = Environment(7, "gaussian", self.batch() if batch is None else batch)
        evaluator = get_backend(backend)(self.space, small(self.space))
        found = evaluator.evaluate(masks, score=self.score, environments=[environment])
        return found.values.reshape(len(masks))
