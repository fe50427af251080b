"""The orchestrator's view of the engine: masks in, scores out, made only when something is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.settings import SearchSettings
from znas_engine.backends import get_backend
from znas_engine.data import Dataset
from znas_engine.environment import Environment, draw_environments
from znas_engine.evaluator import ALL, Evaluator
from znas_engine.gpu import with_card
from znas_engine.scores import get_scores
from znas_engine.spaces import Macro, Mask, SearchSpace


class Observer:
    """masks float32 [G, E, O] -> scores float64 [K * S, G]: for each of K environments one row per score.

    Keeps the account of passes and seconds.
    Weights, images and the backend are made at the first call: a search that only draws touches none.
    """

    #: Where passes ran, with the names of GPUs; the CPU before something was measured.
    device = "cpu"
    #: Share of the first environment's images whose largest logit under the mixture is that of float32; None
    #: in float32.
    agreement: float | None = None
    packages: tuple[str, ...] = ()

    def __init__(
        self,
        space: SearchSpace[Any],
        macro: Macro,
        dataset: Dataset,
        settings: SearchSettings,
        progress: Callable[[int, int], None] = lambda done, total: None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.space = space
        self.macro = macro
        self.dataset = dataset
        self.settings = settings
        self.progress = progress
        self.report = report
        self.evaluations = 0
        self.setup_seconds = 0.0
        self.evaluate_seconds = 0.0
        self._evaluator: Evaluator | None = None
        self._environments: Sequence[Environment] = ()

    def __call__(self, masks: Mask, rows: slice = ALL) -> NDArray[np.float64]:
        """rows: the images of every environment that are shown, all by default."""
        evaluator = self._started()
        before = self.evaluations
        scores = evaluator.evaluate(
            masks,
            score=get_scores(self.settings.score),
            environments=self._environments,
            rows=rows,
            progress=lambda done, total: self.progress(before + done, before + total),
        )
        self.evaluations += scores.evaluations
        self.setup_seconds += scores.setup_seconds
        self.evaluate_seconds += scores.evaluate_seconds
        return scores.values

    def versions(self) -> dict[str, str]:
        """Of the packages that the scores depend on; none before something was measured."""
        from importlib.metadata import version

        return {package: version(package) for package in self.packages}

    def _started(self) -> Evaluator:
        if self._evaluator is None:
            s = self.settings
            kind = get_backend(s.backend)
            self._evaluator = kind(
                self.space,
                self.macro,
                norm=s.norm,
                dtype=s.dtype,
                devices=s.devices,
                threads=s.threads,
                report=self.report,
            )
            self._environments = draw_environments(
                self.dataset, count=s.envs, images=s.images, init=s.init, seed=s.seed
            )
            self.device = ", ".join(map(with_card, s.devices))
            self.packages = kind.packages
            if s.dtype != "float32":
                started = time.perf_counter()
                self.agreement = self._agree(self._evaluator, self._environments[0])
                self.setup_seconds += time.perf_counter() - started
        return self._evaluator

    def _agree(self, evaluator: Evaluator, environment: Environment) -> float:
        half, full = (
            each.observe(self.space.mixture()[None], environment)[0].logits.argmax(1)
            for each in (evaluator, evaluator.in_float32())
        )
        return float((half == full).mean())
