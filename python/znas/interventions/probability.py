"""p: how often a score is drawn instead of measured. Equation 8 and Proposition 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import number
from znas_engine.errors import InvalidValueError, briefly

Probability = float | str | tuple[float, ...]
_WANTED = "number in [0, 1], 'auto' or one number per edge"
#: Random numbers are multiples of it, so that one below a smaller p is none but 0.
SMALLEST = 2.0**-53


def check_p(p: object) -> Probability:
    """A number in [0, 1], "auto", or one number per edge; anything else is an InvalidValueError."""
    if isinstance(p, str):
        if p == "auto":
            return "auto"
        raise InvalidValueError(f"`p` must be a {_WANTED} but got {briefly(p)}")
    several = isinstance(p, Sequence) and not isinstance(p, bytes)
    if several or (isinstance(p, np.ndarray) and p.ndim == 1):
        values = tuple(_number(value) for value in p)  # type: ignore[attr-defined]
        if values:
            return values
        raise InvalidValueError(f"`p` must be a {_WANTED} but got none")
    return _number(p)


def parse_p(text: str) -> Probability:
    """The command line's form: 0.5, auto, or 0.1,0.2,... with one number per edge."""
    if text == "auto":
        return text
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InvalidValueError(
            f"`p` must be a number, 'auto' or one number per edge separated by commas but got {text!r}"
        ) from None
    return check_p(values if len(values) > 1 else values[0])


def p_per_edge(p: float | tuple[float, ...], edges: int) -> NDArray[np.float64]:
    """float64 [E]"""
    values = np.array(p if isinstance(p, tuple) else (p,) * edges, dtype=np.float64)
    if len(values) != edges:
        raise InvalidValueError(
            f"`p` must have one number for each of the {edges} edges but got {len(values)}"
        )
    return values


def draw_replaced(p: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """B ~ Bernoulli(p), bool like p; all at p = 1, none at p = 0.

    Drawn before anything is evaluated, so that what will be replaced never is.
    """
    return rng.random(p.shape) < p


@dataclass(frozen=True, slots=True)
class Latent:
    """Equation 3, V_true ~ N(mu_obs - mu_Z, sigma_obs^2 - sigma_Z^2), estimated from a pilot.

    mu_observed, variance_observed: of a score in one environment. mu_z, variance_z: what the environment adds
    to it. mu_do: the mean of D(Z).
    """

    mu_z: float
    mu_observed: float
    mu_do: float
    variance_z: float
    variance_observed: float

    @property
    def mu_true(self) -> float:
        """What is left of the mean without what the environment adds."""
        return self.mu_observed - self.mu_z

    @property
    def variance_true(self) -> float:
        """What is left of the variance: how neurons differ."""
        return max(self.variance_observed - self.variance_z, 0.0)


@dataclass(frozen=True, slots=True)
class AutoP(Latent):
    """What Proposition 1 gave: what went in, the estimate, the p in use after clipping, and how many neurons
    were the pilot."""

    estimate: float
    p: float
    pilot: int


def proposition_1(latent: Latent, *, pilot: int = 0) -> AutoP:
    """p* = mu_Z / (mu_obs - mu_do), clipped to [0, 1].

    With it the mean of the intervened scores, (1 - p) mu_obs + p mu_do, is mu_obs - mu_Z, the mean of the
    true ones (equation 3).
    """
    observed, do = latent.mu_observed, latent.mu_do
    if not math.isfinite(observed - do) or abs(observed - do) <= 1e-12 * max(abs(observed), abs(do)):
        raise InvalidValueError(
            f"p = auto has no solution: the observed and the interventional mean are equal "
            f"({observed:.6g}); give --prior FILE with other means, or a number"
        )
    estimate = latent.mu_z / (observed - do)
    return AutoP(**asdict(latent), estimate=estimate, p=min(max(estimate, 0.0), 1.0), pilot=pilot)


def latent_factor(observed: NDArray[np.float64], mu_do: float, variance_do: float) -> Latent:
    """What the environment adds to a score, which the paper does not say how to estimate.

    observed: scores of a pilot, float64 [K, n], K and n >= 2. mu_do, variance_do: of D(Z), the mean of the
    same neurons and the variance of one neuron between environments.

        sigma_Z^2 = variance of one neuron between environments, averaged over neurons
        mu_true   = (mu_obs / sigma_Z^2 + mu_do / var_do) / (1 / sigma_Z^2 + 1 / var_do)
        mu_Z      = mu_obs - mu_true
        sigma_obs^2 - sigma_Z^2 = covariance over neurons of two environments, averaged over pairs of them

    The mean is weighed by what is noise in both, as a single score would be; how much neurons differ from one
    another is none. A covariance below 0 is that of neurons that do not differ: 0.
    """
    environments = len(observed)
    noise = float(observed.var(0, ddof=1).mean())
    together = np.cov(observed)
    shared = float(together.sum() - together.trace()) / (environments * (environments - 1))
    mu = float(observed.mean())
    share_do = noise / (noise + variance_do) if noise else 0.0
    return Latent(
        mu_z=share_do * (mu - mu_do),
        mu_observed=mu,
        mu_do=mu_do,
        variance_z=noise,
        variance_observed=max(shared, 0.0) + noise,
    )


def _number(value: object) -> float:
    found = number("p", value, f"a {_WANTED}")
    if not 0 <= found <= 1:
        raise InvalidValueError(f"`p` must be between 0 and 1 but got {found!r}")
    if 0 < found < SMALLEST:
        raise InvalidValueError(f"`p` must be 0 or at least {SMALLEST:g} but got {found!r}: none is drawn")
    return abs(found)  # -0.0 is 0
