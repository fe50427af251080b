"""What every backend keeps: it computes what torch computes, whoever asks and with how many threads."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import pytest

from znas_engine.backends import BACKENDS, Backend, evaluator_of, get_backend
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.evaluator import Evaluator
from znas_engine.graph import Conv, Linear
from znas_engine.scores import get_scores
from znas_engine.spaces import SPACES, SearchSpace
from znas_engine.supernet.initialisation import INITIALISATIONS
from znas_engine.supernet.normalisation import NORMS
from znas_engine.testing.agreement import (
    assert_conforms,
    assert_logits_conform,
    kinds_of_masks,
    noise,
    one_line,
    small,
)

EVERY_SPACE = pytest.mark.parametrize(
    "space", [SPACES.get(name) for name in SPACES.builtin], ids=[*SPACES.builtin]
)
EVERY_NORM = pytest.mark.parametrize("norm", NORMS)
#: Every space meets each of the weights and each norm; the first, whose passes take least, all pairs of them.
WEIGHTS_AND_NORMS = pytest.mark.parametrize(
    ("init", "norm", "space"),
    [
        pytest.param(init, norm, SPACES.get(name), id=f"{init}-{norm}-{name}")
        for i, init in enumerate(INITIALISATIONS)
        for n, norm in enumerate(NORMS)
        for s, name in enumerate(SPACES.builtin)
        if s == 0 or (i + n) % len(NORMS) == 0
    ],
)


class BackendContract:
    """Skipped, with the reason, where this machine cannot run the backend.

    backend: its name, `package.module:Name`, or the record itself. device: where it runs, its default if
    None.
    """

    backend: ClassVar[str | Backend]
    device: ClassVar[str | None] = None

    @pytest.fixture(autouse=True)
    def can_run(self) -> None:
        why = self.record.missing(self.where)
        if why is not None:
            pytest.skip(f"--backend {self.record.name} --device {self.where}: {why}")

    @pytest.fixture
    def images(self) -> Batch:
        """70 images for `small`: two chunks of unequal content."""
        return noise(small(SPACES.get(next(iter(SPACES.builtin)))), 70)

    @property
    def record(self) -> Backend:
        return BACKENDS.get(self.backend)

    @property
    def where(self) -> str:
        return self.device or self.record.default_device

    def evaluator(self, space: SearchSpace[Any], **options: Any) -> Evaluator:
        return evaluator_of(self.record)(space, small(space), devices=[self.where], **options)

    def reference(self, space: SearchSpace[Any], norm: str) -> Evaluator:
        return get_backend("torch")(space, small(space), norm=norm)

    def test_what_it_says_of_itself(self) -> None:
        record = self.record
        assert self.where.partition(":")[0] in record.devices
        assert "float32" in record.dtypes_on(self.where)
        kind = evaluator_of(record)
        assert kind.record is record
        assert all(map(version, kind.packages))
        for name in SPACES.builtin:
            space = SPACES.get(name)
            assert "\n" not in (record.supports(space.supernet(small(space))) or "")

    @WEIGHTS_AND_NORMS
    def test_it_computes_what_torch_does(
        self, init: str, norm: str, space: SearchSpace[Any], images: Batch
    ) -> None:
        """Logits, counts and everything that its record says it hands out, under masks of every kind."""
        if evaluator_of(self.record) is get_backend("torch") and self.where == "cpu":
            pytest.skip("it is the reference")
        mine = self.evaluator(space, norm=norm, threads=2)
        assert_conforms(self.reference(space, norm), mine, Environment(11, init, images))

    @EVERY_SPACE
    @EVERY_NORM
    def test_half_precision(self, norm: str, space: SearchSpace[Any], images: Batch) -> None:
        """Logits within the named tolerance of the float32 reference, and equal counts where it decides."""
        reference, environment = self.reference(space, norm), Environment(11, "gaussian", images)
        for dtype in self.record.dtypes_on(self.where):
            if dtype != "float32":
                mine = self.evaluator(space, norm=norm, dtype=dtype, threads=2)
                assert_logits_conform(reference, mine, environment)

    def test_other_dtypes_are_refused(self) -> None:
        space = SPACES.get(next(iter(SPACES.builtin)))
        with one_line(InvalidValueError, match="`dtype` must be"):
            self.evaluator(space, dtype="float8")

    @EVERY_SPACE
    def test_results_do_not_depend_on_threads(self, space: SearchSpace[Any], images: Batch) -> None:
        masks = np.stack(list(kinds_of_masks(space).values()))
        environments = [Environment(seed, "gaussian", images[:20]) for seed in (1, 2)]
        one, three = (
            self.evaluator(space, threads=threads)
            .evaluate(masks, score=get_scores("naswot+entropy"), environments=environments)
            .values
            for threads in (1, 3)
        )
        assert np.array_equal(one, three)

    @EVERY_SPACE
    @pytest.mark.parametrize("norm", ["calibrated", "identity"])
    def test_frozen_norms_see_each_image_alone(
        self, norm: str, space: SearchSpace[Any], images: Batch
    ) -> None:
        """Logits and features of a permuted batch are permuted."""
        run = self.evaluator(space, norm=norm).prepare(
            Environment(5, "gaussian", images), norm=norm, reads=self.record.reads, device=self.where
        )
        pixels = images.images[:20]
        order = np.random.default_rng(0).permutation(len(pixels))
        straight = run(space.mixture(), pixels)
        permuted = run(space.mixture(), np.ascontiguousarray(pixels[order]))
        np.testing.assert_allclose(permuted.logits, straight.logits[order], rtol=1e-5, atol=1e-6)
        for a, b in zip(straight.features, permuted.features, strict=True):
            np.testing.assert_allclose(b, a[order], rtol=1e-5, atol=1e-5)

    @EVERY_SPACE
    def test_what_the_mask_cuts_off_cannot_matter(self, space: SearchSpace[Any], images: Batch) -> None:
        """A path's logits do not change when the weights of all other operations do."""
        mask = kinds_of_masks(space)["fewest nodes"]
        evaluator = self.evaluator(space, norm="identity")
        nodes = zip(evaluator.graph.nodes, evaluator.graph.live(mask), strict=True)
        dead = {node.name for node, live in nodes if not live and isinstance(node, Conv | Linear)}
        assert dead

        class OtherWeights(Environment):
            def weight(self, node: Any) -> Any:
                return super().weight(node) * (100 if node.name in dead else 1)

        own, changed = (
            self.evaluator(space, norm="identity").observe(mask[None], kind(5, "gaussian", images))[0].logits
            for kind in (Environment, OtherWeights)
        )
        assert np.array_equal(own, changed)
