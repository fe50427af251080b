"""Validation accuracy of the untrained network: the paper's score (equations 4 to 10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine import kernels
from znas_engine.scores.base import ForwardScore, Observation


class Accuracy(ForwardScore):
    """correct / N in [0, 1], the lowest class winning ties.

    With an i.i.d. zero-bias random classifier its expectation is exactly 1 / classes for every
    architecture (labels are exchangeable): only its spread depends on the architecture.
    """

    name = "accuracy"
    needs_labels = True
    reads = ("correct",)

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        assert seen.correct is not None
        return seen.correct / len(labels_of(seen))


def labels_of(observation: Observation) -> NDArray[np.int64]:
    """The labels, which the evaluator has seen to."""
    if observation.labels is None:
        raise AssertionError("a score that needs labels was asked for without any")
    return observation.labels


def share_correct(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """logits float32 [N, classes], labels int64 [N] -> the share of images whose label has the largest."""
    return int(kernels.count_correct(logits[None], labels)[0]) / len(labels)
