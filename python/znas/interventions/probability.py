"""p: how often a score is drawn instead of measured. Equation 8 and Proposition 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
class AutoP:
    """What Proposition 1 gave: the estimate, the p in use after clipping, and what went in."""

    estimate: float
    p: float
    mu_z: float
    mu_observed: float
    mu_do: float
    pilot: int


def proposition_1(*, mu_z: float, mu_observed: float, mu_do: float, pilot: int = 0) -> AutoP:
    """p* = mu_Z / (mu_obs - mu_do), clipped to [0, 1].

    With it the mean of the intervened scores, (1 - p) mu_obs + p mu_do, is mu_obs - mu_Z, the mean of the
    true ones (equation 3).
    """
    difference = mu_observed - mu_do
    if not math.isfinite(difference) or abs(difference) <= 1e-12 * max(abs(mu_observed), abs(mu_do)):
        raise InvalidValueError(
            f"p = auto has no solution: the observed and the interventional mean are equal "
            f"({mu_observed:.6g}); give --prior FILE with other means, or a number"
        )
    estimate = mu_z / difference
    return AutoP(estimate, min(max(estimate, 0.0), 1.0), mu_z, mu_observed, mu_do, pilot)


def latent_mean(observed: NDArray[np.float64], mu_do: float, variance_do: float) -> float:
    """mu_Z, which the paper does not say how to estimate: mu_obs minus the precision-weighted mean of both.

    observed: scores of a pilot, float64 [n], n >= 2.

        mu_true = (mu_obs / var_obs + mu_do / var_do) / (1 / var_obs + 1 / var_do);  mu_Z = mu_obs - mu_true
    """
    variance = float(observed.var(ddof=1))
    mu = float(observed.mean())
    share_do = 1.0 if variance_do == 0 else variance / (variance + variance_do)
    return share_do * (mu - mu_do)


def _number(value: object) -> float:
    found = number("p", value, f"a {_WANTED}")
    if not 0 <= found <= 1:
        raise InvalidValueError(f"`p` must be between 0 and 1 but got {found!r}")
    if 0 < found < SMALLEST:
        raise InvalidValueError(f"`p` must be 0 or at least {SMALLEST:g} but got {found!r}: none is drawn")
    return abs(found)  # -0.0 is 0
