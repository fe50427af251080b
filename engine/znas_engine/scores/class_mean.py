"""Leave-one-out accuracy of the nearest class mean on what the random classifier reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas_engine.errors import InvalidValueError
from znas_engine.scores.accuracy import labels_of, share_correct
from znas_engine.scores.base import ForwardScore, Observation


class ClassMean(ForwardScore):
    """correct / N in [0, 1] of the class whose mean, over the other images, is nearest.

        for i in images:
            correct += label[i] == argmin_c |x[i] - mean of x[j] over j != i with label[j] == c|

    A class without another image is never nearest; the lowest class wins ties. (The classifier of
    Mensink et al., TPAMI 2013, with the Euclidean metric.)
    """

    name = "class_mean"
    needs_labels = True
    reads = ("pooled",)
    max_images = 100_000

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        assert seen.pooled is not None
        labels = labels_of(seen)
        features = seen.pooled.astype(np.float64)
        features -= features.mean(0)
        members = np.eye(seen.classes)[labels]
        counts = members.sum(0)
        if counts.max() < 2:
            raise InvalidValueError(
                f"the score {self.name!r} needs two images of some class but got {len(labels)} images of as "
                "many classes; pass more --images"
            )
        means = members.T @ features / np.maximum(counts, 1)[:, None]
        distances = (features**2).sum(1, keepdims=True) - 2 * features @ means.T + (means**2).sum(1)[None, :]
        # x - (n mean - x) / (n - 1) = n / (n - 1) (x - mean): what leaving x out of its own mean does.
        without = counts / np.maximum(counts - 1, 1)
        distances = np.where(counts == 0, np.inf, np.maximum(distances, 0))
        own = np.arange(len(labels)), labels
        distances[own] = np.where(counts[labels] > 1, distances[own] * without[labels] ** 2, np.inf)
        return share_correct(-distances.astype(np.float32), labels)
