"""Validation accuracy of the untrained network: the paper's score (equations 4 to 10)."""

from __future__ import annotations

from znas_engine import kernels
from znas_engine.scores.base import Observation, Score


class Accuracy(Score):
    """correct / N in [0, 1], the lowest class winning ties.

    With an i.i.d. zero-bias random classifier its expectation is exactly 1 / classes for every
    architecture (labels are exchangeable): only its spread depends on the architecture.
    """

    name = "accuracy"
    needs_labels = True

    def __call__(self, observation: Observation) -> float:
        labels = observation.labels
        if labels is None:
            raise AssertionError("accuracy was asked for without labels")
        return int(kernels.count_correct(observation.logits[None], labels)[0]) / len(labels)
