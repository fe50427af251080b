"""NASWOT: how differently a random network sees different images (Mellor et al., ICML 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas_engine.scores.base import ForwardScore, Observation


class Naswot(ForwardScore):
    """log det(K + I), K[i, j] = number of ReLU units that images i and j switch alike.

        for code in activation codes of all live ReLU modules:
            K[i, j] += bits - hamming(code[i], code[j])

    The published score is log det K, which is minus infinity as soon as two images share a code. The
    identity, one private unit for every image, keeps it finite and moves it by far less than one unit in K.
    """

    name = "naswot"
    reads = ("codes",)
    max_images = 1024

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        if not seen.codes:
            return 0.0  # log det I: no ReLU tells images apart
        agreements = seen.codes.agreements()
        return float(np.linalg.slogdet(agreements + np.eye(len(agreements))).logabsdet)
