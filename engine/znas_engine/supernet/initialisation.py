"""Initialisation families: those of section 3.5 of the paper, and what published scores are defined with."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import choice

Weight = NDArray[np.float32]


def _gaussian(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Weight:
    """N(0, 2 / fan_in) (He et al., ICCV 2015)."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(2 / fan_in))


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Weight:
    """U(-b, b) with the variance of `gaussian`: b = sqrt(6 / fan_in)."""
    bound = np.float32(math.sqrt(6 / fan_in))
    return (rng.random(shape, dtype=np.float32) * 2 - 1) * bound


def _constant(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Weight:
    """One shared number, 1 / fan_in: every convolution is a mean, so that no depth overflows."""
    return np.full(shape, 1 / fan_in, dtype=np.float32)


def _standard(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Weight:
    """N(0, 1), with which only batch statistics keep a network in range (Lin et al., ICCV 2021)."""
    return rng.standard_normal(shape, dtype=np.float32)


#: The paper's.
INITIALISATIONS: dict[str, Callable[[np.random.Generator, tuple[int, ...], int], Weight]] = {
    "gaussian": _gaussian,
    "uniform": _uniform,
    "constant": _constant,
}

#: All that weights are drawn by.
FAMILIES = {**INITIALISATIONS, "standard": _standard}


def check_init(init: str) -> str:
    """`init` itself, or InvalidValueError naming the nearest family."""
    return choice("initialisation", init, FAMILIES)


def draw_weight(init: str, shape: tuple[int, ...], fan_in: int, *, seed: int) -> Weight:
    """A float32 weight of that shape; the same bits for the same (init, shape, fan_in, seed)."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    return FAMILIES[check_init(init)](rng, shape, fan_in)
