"""Means and standard errors of samples that arrive in rounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Moments:
    """Count, mean and variance per quantity, merged round by round without keeping the samples.

    Merging is Chan, Golub and LeVeque's (1979), which does not cancel for large means.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = np.zeros(shape, dtype=np.int64)
        self.mean = np.zeros(shape)
        self._squares = np.zeros(shape)

    def add(self, samples: NDArray[np.float64], where: NDArray[np.bool_] | None = None) -> None:
        """samples: float64 [m, *shape]. where: bool `shape`, the quantities that were sampled (None: all)."""
        if not len(samples):
            return
        some = np.ones(self.mean.shape, dtype=np.bool_) if where is None else where
        drawn, before = len(samples), self.count[some]
        mean = samples[:, some].mean(0)
        shift = mean - self.mean[some]
        squares = ((samples[:, some] - mean) ** 2).sum(0)
        self.count[some] = before + drawn
        self.mean[some] += shift * drawn / (before + drawn)
        self._squares[some] += squares + shift**2 * before * drawn / (before + drawn)

    @property
    def variance(self) -> NDArray[np.float64]:
        """float64 `shape`: the unbiased sample variance; infinite for fewer than two samples."""
        known = self.count > 1
        return np.where(known, self._squares / np.where(known, self.count - 1, 1), np.inf)

    @property
    def degrees_of_freedom(self) -> NDArray[np.float64]:
        """float64 `shape`: of the variance."""
        return self.count.astype(np.float64) - 1

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """float64 `shape`: of the mean; infinite for fewer than two samples."""
        errors: NDArray[np.float64] = np.sqrt(self.variance / np.maximum(self.count, 1))
        return errors
