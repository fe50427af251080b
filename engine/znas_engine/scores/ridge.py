"""Leave-one-out accuracy of a fitted linear classifier on what the random classifier reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas_engine.scores.accuracy import labels_of, share_correct
from znas_engine.scores.base import ForwardScore, Observation


class Ridge(ForwardScore):
    """correct / N in [0, 1] of ridge regression on one-hot labels, every image predicted by the others.

        H = K (K + lambda I)^-1,  K = X X^T, X the centred features, lambda = trace(K) / N
        prediction without i:  (H Y - h Y)[i] / (1 - h[i]),  h = diagonal of H

    Unlike `accuracy` it has a first moment: the classifier is fitted, only the features are random. The
    closed form of leave-one-out prediction is exact for a linear smoother (Cook & Weisberg, Residuals and
    Influence in Regression, 1982, section 2.2). lambda is the mean eigenvalue of K, so that the scale of
    the features does not enter.
    """

    name = "ridge"
    needs_labels = True
    reads = ("pooled",)
    max_images = 1024

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        assert seen.pooled is not None
        labels = labels_of(seen)
        features = seen.pooled.astype(np.float64)
        features -= features.mean(0)
        gram = features @ features.T
        n = len(gram)
        penalty = gram.trace() / n or 1.0
        smoother = np.linalg.solve(gram + penalty * np.eye(n), gram)
        own = np.diag(smoother)[:, None]
        targets = np.eye(seen.classes)[labels] - 1 / seen.classes
        predictions = (smoother @ targets - own * targets) / (1 - own)
        return share_correct(predictions.astype(np.float32), labels)
