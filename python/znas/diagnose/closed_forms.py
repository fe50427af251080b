"""What is known exactly about the first layers of a random network, to hold measurements against.

w is a weight of the family `init`, i.i.d. with mean 0; x a vector of d pixels. Constant weights have no
spread: with them the output is a function of the image alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Excess kurtosis of one weight: E w^4 / (E w^2)^2 - 3. A constant is its own square: 1 - 3.
WEIGHT_KURTOSIS = {"gaussian": 0.0, "uniform": -1.2, "constant": -2.0}


def fixed_input_excess_kurtosis(x: Floats, init: str) -> float | None:
    """Of w . x over weights, the image fixed: k_w sum x^4 / (sum x^2)^2; None for constant weights.

    Gaussian weights: 0, and w . x is exactly N(0, sigma_w^2 |x|^2), whatever the image. Uniform weights:
    below 0 by at most 1.2, and by about 3.6 / d for Gaussian pixels: Gaussian as d grows (Lindeberg).
    """
    if init == "constant":
        return None
    return float(WEIGHT_KURTOSIS[init] * (x**4).sum() / (x**2).sum() ** 2)


def fixed_input_std(x: Floats, fan_in: int, init: str) -> float:
    """Of w . x over weights, the image fixed: sqrt(2 / fan_in) |x|; 0 for constant weights."""
    return 0.0 if init == "constant" else float(np.sqrt(2 / fan_in * (x**2).sum()))


def gaussian_input_std(fan_in: int, init: str) -> float:
    """Of w . x over weights and Gaussian pixels: sqrt(d E w^2), with E w^2 = 2 / d (constant: 1 / d^2)."""
    return float(np.sqrt(fan_in ** (-1.0) if init == "constant" else 2.0))


def gaussian_input_excess_kurtosis(fan_in: int, init: str) -> float:
    """Of w . x over weights and Gaussian pixels N(0, 1): 3 (k_w + 2) / d.

    Given w, w . x is N(0, |w|^2) for every family; over weights |w|^2 varies, so the mixture has heavy
    tails: 6 / d for Gaussian weights, 2.4 / d for uniform ones, and 0 for constant ones.
    """
    return 3 * (WEIGHT_KURTOSIS[init] + 2) / fan_in


def relu_excess_kurtosis(fan_in: int) -> float:
    """Of sum_c w_c max(h_c, 0) over Gaussian w and i.i.d. h ~ N(0, v): 15 / C.

    The output of a 1x1 convolution behind a ReLU, over all weights above a fixed image: given h it is
    N(0, sigma_w^2 |max(h, 0)|^2), and E max(h, 0)^4 / (E max(h, 0)^2)^2 = 6, so 3 (6 - 1) / C. Each deeper
    layer of a finite width adds to it; only C -> infinity gives a Gaussian (a Gaussian process).
    """
    return 15 / fan_in
