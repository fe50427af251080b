"""Zen: how strongly the last features answer to a nudge of a Gaussian image (Lin et al., ICCV 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.probes import GAUSSIAN_STANDARD, GAUSSIAN_STANDARD_NUDGED

#: The least answer: of a network that passes nothing on.
FLOOR = float(np.finfo(np.float32).tiny)


class Zen(ForwardScore):
    """log E |f(x + a e) - f(x)|_1 + sum over normalisations of log sqrt(mean over channels of variance).

    x and e standard normal images, a = 0.01, f what the classifier averages, N(0, 1) weights, batch
    statistics. As published: the sum of absolute differences is that of the authors' code, where the paper
    writes the Frobenius norm. Their code reads running variances, which approach the batch's over its 32
    repetitions; here they are the batch's, as in the paper. Different from their code: normalisations of
    operations that reach no logit do not count, nor do those of constants, whose logarithm is infinite.
    """

    name = "zen"
    reads = ("unpooled", "variances")
    probes = (GAUSSIAN_STANDARD, GAUSSIAN_STANDARD_NUDGED)
    max_images = FEATURE_IMAGES
    differences = True

    def __call__(self, observations: Sequence[Observation]) -> float:
        before, after = observations
        assert before.unpooled is not None
        assert after.unpooled is not None
        answers = np.abs(after.unpooled - before.unpooled).sum((1, 2, 3), dtype=np.float64)
        means = np.array([variance.mean(dtype=np.float64) for variance in before.variances])
        return float(np.log(max(answers.mean(), FLOOR)) + np.log(means[means > 0]).sum() / 2)
