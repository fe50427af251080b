"""The contracts see what breaks them: one defect each, and the check that has to fail."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from znas_engine.data.gaussian import Gaussian
from znas_engine.errors import InvalidValueError
from znas_engine.scores import ForwardScore, Observation
from znas_engine.spaces import SPACES
from znas_engine.testing import DataContract, ScoreContract, SpaceContract
from znas_engine.testing.agreement import kinds_of_masks, small

NasBench201: type[Any] = type(SPACES.get("nasbench201"))


class Unrepaired(NasBench201):
    def repair(self, scores: Any, selected: Any) -> Any:
        return selected


class AdmitsAll(NasBench201):
    def admits(self, mask: Any) -> bool:
        return True


class OneFunction(NasBench201):
    functions = None

    def function_of(self, genotype: Any) -> str:
        return str(genotype)[:6]


class OtherNetwork(NasBench201):
    def network(self, genotype: Any, macro: Any) -> Any:
        return super().network(self.parse(str(genotype).replace("nor_conv_3x3", "nor_conv_1x1")), macro)


class Free(NasBench201):
    def costs(self, macro: Any, of: Any = None) -> Any:
        return np.where(self.candidates, 0.0, -np.inf)


class Lopsided(NasBench201):
    def mixture(self) -> Any:
        return super().mixture() * np.float32(0.9)


class RefusesWithoutAWord(NasBench201):
    def parse(self, written: Any) -> Any:
        if not isinstance(written, str | list):
            raise InvalidValueError("")
        return super().parse(written)


class Impure(NasBench201):
    def source(self, genotype: Any, macro: Any) -> str:
        return "import numpy\n" + str(super().source(genotype, macro))


@pytest.mark.parametrize(
    ("defect", "check"),
    [
        (Unrepaired, "test_repair"),
        (AdmitsAll, "test_admitted_architectures_let_images_through"),
        (OneFunction, "test_equal_functions_have_equal_logits"),
        (OtherNetwork, "test_a_network_is_the_supernet_pruned_to_its_path"),
        (OtherNetwork, "test_the_trainable_network_is_the_graph"),
        (Free, "test_costs_add_up"),
        (Lopsided, "test_the_vocabulary_of_masks"),
        (RefusesWithoutAWord, "test_anything_else_is_refused_in_one_line"),
    ],
)
def test_spaces(defect: type[Any], check: str) -> None:
    class Contract(SpaceContract):
        space = defect()

    with pytest.raises(AssertionError):
        getattr(Contract(), check)()


class Patchy(NasBench201):
    """Nothing, listed first, stands on every edge; what stands beside it differs."""

    candidates = np.array([[1, 1, 0, 0, 0], *[[1, 0, 0, 1, 0]] * 5], bool)


def test_the_fewest_nodes_reach_the_logits_of_any_candidates() -> None:
    space = Patchy()
    mask = kinds_of_masks(space)["fewest nodes"]
    assert space.supernet(small(space)).fed(mask)[-1]
    assert not mask[~space.candidates].any()


def test_a_source_that_does_not_stand_alone(tmp_path: Any) -> None:
    class Contract(SpaceContract):
        space = Impure()

    with pytest.raises(AssertionError):
        Contract().test_the_source_stands_alone(tmp_path)


class Loose(ForwardScore):
    """Another number every time, and one of labels that it does not say it needs."""

    name = "loose"
    reads = ("logits",)

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.calls = 0

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        self.calls += 1
        match self.kind:
            case "counter":
                return float(self.calls)
            case "labels":
                return (
                    float(np.abs(seen.logits).sum())
                    if seen.labels is None
                    else 1.0 + float(seen.logits[0, 0])
                )
            case _:
                return 1.0


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("counter", "test_the_same_again_and_whatever_is_asked_with_it"),
        ("labels", "test_labels_are_read_where_it_says_so"),
        ("constant", "test_a_finite_number_that_tells_architectures_apart"),
    ],
)
def test_scores(kind: str, check: str) -> None:
    class Contract(ScoreContract):
        score = Loose(kind)

    with pytest.raises(AssertionError):
        getattr(Contract(), check)()


class OfTheProcess(Gaussian):
    """Another draw in every process."""

    def _draw(self, images: int, seed: int) -> Any:
        return super()._draw(images, seed + os.getpid())


def test_data_sets() -> None:
    class Contract(DataContract):
        data = OfTheProcess

    with pytest.raises(AssertionError):
        Contract().test_the_same_in_another_process(Contract().made({}), {})
