"""What computes the same is measured as one architecture, which stands for all of its function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import znas
from tests.conftest import SPACES
from znas.request import Request
from znas.searchers.base import run
from znas.searchers.evolution import Evolution
from znas.setup import Setup
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.testing.agreement import kinds_of_masks

pytestmark = pytest.mark.ours

CHAINS = ["nasbench_macro", "mobilenet"]
SIZE: dict[str, Any] = {"supernet_channels": 4, "supernet_cells": 1, "resolution": 8, "images": 4}
ASKED: dict[str, Any] = SIZE | {"score": "naswot+cell_path_norm+live_flops+params", "backend": "torch"}
#: Behind its stage's first layer an identity changes places with a residual.
WRITTEN = {
    "nasbench_macro": ["10120201", "10102201", "10102210"],
    "mobilenet": [
        "6x3,3x5,-,-/3x3,-,3x7,6x5/3x3,3x3,3x3,3x3/3x3,-,-,6x7/6x3,-,-,-/3x3",
        "6x3,-,3x5,-/3x3,3x7,-,6x5/3x3,3x3,3x3,3x3/3x3,6x7,-,-/6x3,-,-,-/3x3",
        "6x3,-,-,3x5/3x3,3x7,6x5,-/3x3,3x3,3x3,3x3/3x3,-,6x7,-/6x3,-,-,-/3x3",
    ],
}


def setup_of(space: str) -> Setup:
    cells = SPACES[space].proxy_macro(resolution=8, classes=10).cells
    return Setup(Request(space=space, p=0, envs=2, **ASKED | {"supernet_cells": cells}))


def swapped(space: SearchSpace[Any], rng: np.random.Generator) -> Mask:
    """Paths, and for every pair of neighbouring layers the path in which they have changed places."""
    found = [space.random_path(rng) for _ in range(3)]
    for mask in list(found):
        for e in range(len(space.edges) - 1):
            other = mask.copy()
            other[[e, e + 1]] = mask[[e + 1, e]]
            if not other[~space.candidates].any():
                found.append(other)
    return np.stack(found)


@pytest.mark.parametrize("name", CHAINS)
def test_equal_functions_have_equal_scores_and_are_measured_once(name: str) -> None:
    setup = setup_of(name)
    space = setup.space
    masks = swapped(space, np.random.default_rng(0))
    functions = [space.function_of(space.genotype(mask)) for mask in masks]
    values = setup.measure(masks)
    first = {function: functions.index(function) for function in functions}
    assert len(first) < len(masks) - 3
    assert np.array_equal(values, values[:, [first[function] for function in functions]])
    assert setup.evaluations == setup.envs * len(first)
    different = values[:4, list(first.values())]  # naswot and cell_path_norm of the first environment
    assert len(np.unique(different, axis=1).T) == len(first)


@pytest.mark.parametrize("name", CHAINS)
def test_what_stands_for_a_function_is_measured_as_itself(name: str) -> None:
    setup = setup_of(name)
    masks = np.stack([setup.space.mask(setup.space.parse(written)) for written in WRITTEN[name]])
    stands = setup.space.mask(setup.space.representative(setup.space.parse(WRITTEN[name][0])))
    alone = setup.evaluator.evaluate(stands[None], score=setup.scores, environments=setup.environments)
    assert np.array_equal(setup.measure(masks), np.repeat(alone.values, 3, axis=1))


@pytest.mark.parametrize("name", SPACES)
def test_masks_that_are_no_architecture_are_measured_as_they_are(name: str) -> None:
    """Mixtures, observations, dropped edges and nothing at all."""
    setup = setup_of(name)
    given = kinds_of_masks(setup.space)
    masks = np.stack([mask for kind, mask in given.items() if kind != "one-hot"])
    direct = setup.evaluator.evaluate(masks, score=setup.scores, environments=setup.environments)
    before = masks.copy()
    assert np.array_equal(setup.measure(masks), direct.values)
    assert np.array_equal(masks, before)


def test_cells_that_were_trained_one_by_one_are_measured_one_by_one() -> None:
    """Isomorphic cells have weights of their own, in the benchmark's networks too."""
    setup = setup_of("nasbench201")
    space = setup.space
    cells = [space.parse(written) for written in ([3, 1, 0, 1, 0, 3], [1, 3, 0, 0, 1, 3])]
    masks = np.stack([space.mask(cell) for cell in cells])
    direct = setup.evaluator.evaluate(masks, score=setup.scores, environments=setup.environments)
    assert np.array_equal(setup.measure(masks), direct.values)


@pytest.mark.parametrize("name", CHAINS)
def test_scores_of_what_is_written_in_several_ways(name: str) -> None:
    found = znas.score(WRITTEN[name], space=name, envs=2, **ASKED)
    one, *others = found.to_dict()["rows"]
    for other in others:
        assert {**other, "arch": None} == {**one, "arch": None}


def test_a_searcher_pays_once_for_a_function() -> None:
    asked = Request(space="nasbench_macro", p=0, envs=1, **SIZE | {"score": "naswot", "backend": "torch"})
    found = run(Evolution(budget=12, population=12, tournament=2), asked)
    assert 0 < found.evaluations <= 12
