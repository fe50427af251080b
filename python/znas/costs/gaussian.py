"""Gaussian-process regression on few points: a weighted sum of kernels, its weights by marginal likelihood.

    y = c + f_1(x) + ... + f_g(x) + e,  f_i ~ GP(0, v_i K_i),  e ~ N(0, s^2 d)

c has a wide prior. d is each point's own share of the noise: y^2 where errors are relative, more for
outliers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]

#: Variance of the constant, and limits of the logarithms of all others.
CONSTANT, LOWEST, HIGHEST = 100.0, -16.0, 6.0
#: Degrees of freedom of the errors; how often their shares are estimated.
FREEDOM, ROUNDS = 4.0, 3
#: What no error is below, relative: the best clocks.
LEAST_NOISE = 1e-3


@dataclass(frozen=True, slots=True)
class Posterior:
    """variances: of each kernel, float64 [g]. alpha: weights of the points, float64 [n]. left_out: what is
    predicted of every point by the others, float64 [n]. likelihood: log marginal, up to a constant."""

    variances: Floats
    alpha: Floats
    left_out: Floats
    likelihood: float

    def mean(self, kernels: Floats) -> Floats:
        """kernels [g, m, n] between new points and those of the training -> [m]"""
        mixed = np.einsum("g,gmn->mn", self.variances, kernels) + CONSTANT
        found: Floats = mixed @ self.alpha
        return found


def fit(kernels: Floats, y: Floats) -> Posterior:
    """kernels [g, n, n], y [n] positive, of the order of 1."""
    shares = y**2
    start = np.full(len(kernels) + 1, -3.0)
    with threadpool_limits(1, user_api="blas"):  # these matrices are small
        return _fitted(kernels, y, shares, start)


def _fitted(kernels: Floats, y: Floats, shares: Floats, start: Floats) -> Posterior:
    for turn in range(ROUNDS):
        start, found, noise = _optimised(kernels, y, shares, start)
        if turn < ROUNDS - 1:
            # Clipped: what is left out may be predicted far below what is possible.
            level = np.clip(found.left_out, y / 2, 2 * y)
            z = (y - found.left_out) / (noise * level)
            shares = level**2 * (FREEDOM + z**2) / (FREEDOM + 1)
    return found


def _optimised(kernels: Floats, y: Floats, shares: Floats, start: Floats) -> tuple[Floats, Posterior, float]:
    """The logarithms of the variances that are most likely, the noise's last."""
    from scipy.optimize import minimize

    parts = np.concatenate([kernels, np.diag(shares)[None]])

    def loss(logs: Floats) -> tuple[float, Floats]:
        inverse, alpha, log_det = _solved(parts, logs, y)
        gradient = np.exp(logs) * (
            np.einsum("gij,ij->g", parts, inverse) - np.einsum("i,gij,j->g", alpha, parts, alpha)
        )
        # A weak prior on every scale: nothing runs away where the points do not say.
        return float(y @ alpha + log_det + 0.01 * logs @ logs), gradient + 0.02 * logs

    limits = [(LOWEST, HIGHEST)] * len(kernels) + [(2 * np.log(LEAST_NOISE), HIGHEST)]
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": 60})
    inverse, alpha, log_det = _solved(parts, best.x, y)
    left_out = y - alpha / np.diag(inverse)
    found = Posterior(np.exp(best.x[:-1]), alpha, left_out, -float(y @ alpha + log_det) / 2)
    return best.x, found, float(np.exp(best.x[-1] / 2))


def _solved(parts: Floats, logs: Floats, y: Floats) -> tuple[Floats, Floats, float]:
    """The covariance's inverse, that of y, and the logarithm of its determinant."""
    covariance = np.einsum("g,gij->ij", np.exp(logs), parts) + CONSTANT
    lower = np.linalg.cholesky(covariance + 1e-10 * np.trace(covariance) / len(y) * np.eye(len(y)))
    half = np.linalg.inv(lower)
    inverse: Floats = half.T @ half
    return inverse, inverse @ y, 2 * float(np.log(np.diag(lower)).sum())
