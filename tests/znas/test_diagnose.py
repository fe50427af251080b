"""Normality against known distributions, lemmas against closed forms, robustness against brute force."""

from __future__ import annotations

import itertools
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, kurtosis, norm, skew

import znas
from tests.command import here, supernet
from tests.conftest import SPACES, small
from tests.znas.test_priors import write_table
from znas.diagnose import closed_forms, lemmas, robustness
from znas.diagnose.agreement import agreement
from znas.diagnose.distributions import (
    NEURON_ENVIRONMENTS,
    READINGS,
    Activations,
    Collector,
    ScoreSamples,
    random_architectures,
)
from znas.diagnose.normality import holm, judge, noise_floor, normality
from znas.diagnose.sites import ENSEMBLE, FIRST_LAYER, NEURON, sites
from znas.hooks import Hooks
from znas.request import Request
from znas_engine.backends import get_backend
from znas_engine.backends.torch_reference import TorchReference
from znas_engine.data import Batch, load
from znas_engine.environment import Environment, draw_environments
from znas_engine.errors import InvalidValueError, NonFiniteScoreError
from znas_engine.graph import Mixed
from znas_engine.journal import Journal
from znas_engine.scores import get_score
from znas_engine.tables import read_table

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]
BOTH_SPACES = pytest.mark.parametrize("space", [NB201, DARTS], ids=["nasbench201", "darts"])
SIZE = {"supernet_channels": 4, "supernet_cells": 1, "resolution": 16}
INITS = ("gaussian", "uniform", "constant")


# --- named values of the supernet ---


@pytest.fixture(scope="module")
def few(images: Batch) -> Batch:
    return Batch(images.images[:3], None)


@pytest.mark.parametrize(
    ("space", "norm_"), [(NB201, "calibrated"), (NB201, "batch"), (NB201, "identity"), (DARTS, "calibrated")]
)
def test_activations_are_what_the_graph_defines(space: Any, norm_: str, few: Batch) -> None:
    """The stem by hand, the sum of a cell's node by hand, the logits as `observe` gives them."""
    reference = TorchReference(space, small(space), norm=norm_, threads=2)
    nodes = reference.graph.nodes
    node = next(n for n in nodes if isinstance(n, Mixed) and any(n.slots))
    names = ["stem.0", node.name, *dict.fromkeys(nodes[j].name for j in node.inputs), nodes[-1].name]
    environments = [Environment(seed, "gaussian", few) for seed in (3, 4)]
    mask = space.do(0, 3)
    for environment, values in zip(
        environments, reference.activations(mask, environments, names[:2] + names[-1:]), strict=True
    ):
        stem = next(n for n in nodes if n.name == "stem.0")
        weight = torch.from_numpy(environment.weight(stem))  # type: ignore[arg-type]
        expected = F.conv2d(torch.from_numpy(few.images), weight, padding=1).numpy()
        np.testing.assert_allclose(values["stem.0"], expected, rtol=1e-4, atol=1e-5)
        (observed,) = reference.observe(mask[None], environment)
        np.testing.assert_array_equal(values[names[-1]].reshape(len(expected), -1), observed.logits)
    (values,) = reference.activations(space.mixture(), environments[:1], names)
    total = sum(
        space.mixture()[slot] * values[nodes[j].name] for j, slot in zip(node.inputs, node.slots, strict=True)
    )
    np.testing.assert_allclose(values[node.name], total, rtol=1e-4, atol=1e-5)


def test_activations_name_what_they_cannot_give(few: Batch) -> None:
    reference = TorchReference(NB201, small(NB201))
    environments = [Environment(0, "gaussian", few)]
    with pytest.raises(InvalidValueError, match=r"no node 'stem'; did you mean 'stem\.1'\?"):
        reference.activations(NB201.mixture(), environments, ["stem"])
    with pytest.raises(InvalidValueError, match=r"nor_conv_3x3.2' has no value under do\(cell:0->1, skip"):
        reference.activations(NB201.do(0, 1), environments, ["cells.0.edges.0.nor_conv_3x3.2"])
    with pytest.raises(InvalidValueError, match="float32 but got float64"):
        reference.activations(NB201.mixture().astype(np.float64), environments, ["stem.0"])  # type: ignore[arg-type]


@BOTH_SPACES
def test_sites_are_the_first_convolution_and_neurons_with_the_sum_they_enter(space: Any) -> None:
    graph = space.supernet(small(space))
    found = sites(space, graph, 3)
    nodes = {node.name: node for node in graph.nodes}
    assert [s.role for s in found].count(FIRST_LAYER) == 1
    assert (found[0].node, found[0].depth) == ("stem.0", 1)
    ensembles = [i for i, s in enumerate(found) if s.role == ENSEMBLE]
    assert len(ensembles) == 3
    for before, i in itertools.pairwise([0, *ensembles]):
        terms = {graph.nodes[j].name for j in nodes[found[i].node].inputs}
        assert all(s.role == NEURON and s.node in terms for s in found[before + 1 : i])
        assert found[i].depth == max(s.depth for s in found[before + 1 : i + 1])
        assert i - before - 1 == len(space.operations) - 1  # `none` computes nothing
    for depths in (0, 4):
        with pytest.raises(InvalidValueError, match=f"`depths` must be between 1 and 3.*but got {depths}"):
            sites(space, graph, depths)


# --- normality ---


@given(st.lists(st.integers(-1000, 1000), min_size=20, max_size=60))
def test_shape_of_any_sample(values: list[int]) -> None:
    sample = np.array(values, dtype=float)
    found = normality(sample)
    assert (found.n, found.distinct) == (len(sample), len(set(values)))
    if not found.spread:
        assert np.ptp(sample) == 0
        return
    assert found.skewness == pytest.approx(skew(sample), rel=1e-6, abs=1e-6)
    assert found.excess_kurtosis == pytest.approx(kurtosis(sample), rel=1e-6, abs=1e-6)
    distance = kstest(sample, norm(sample.mean(), sample.std(ddof=1)).cdf).statistic
    assert found.kolmogorov == pytest.approx(distance, abs=1e-9)


def test_known_distributions_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    word = {
        name: judge([normality(draw(size=2000)) for _ in range(5)]).word
        for name, draw in {
            "normal": rng.normal,
            "exponential": rng.exponential,
            "uniform": rng.uniform,
            "t with 8 degrees of freedom": lambda size: rng.standard_t(8, size),
        }.items()
    }
    assert word == {
        "normal": "Gaussian",
        "exponential": "not Gaussian",
        "uniform": "not Gaussian",
        "t with 8 degrees of freedom": "nearly",
    }
    assert judge([normality(np.full(30, 0.1)), normality(rng.normal(size=30))]).word == "no spread"
    dependent = normality(rng.normal(size=30), independent=False)
    assert (dependent.p_value, judge([dependent]).word) == (None, "not tested")


def test_noise_floor_is_the_mean_distance_of_normal_samples() -> None:
    rng = np.random.default_rng(1)
    for n in (100, 400):
        distances = [normality(rng.normal(size=n)).kolmogorov for _ in range(300)]
        assert np.mean(np.array(distances, float)) == pytest.approx(noise_floor(n), rel=0.05)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.3]))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float], level: float) -> None:
    """Brute force: i is rejected if every subset of hypotheses that holds i is, by Bonferroni."""
    every = range(len(p_values))
    for i, rejected in enumerate(holm(p_values, level)):
        subsets = (s for size in every for s in itertools.combinations(every, size + 1) if i in s)
        assert rejected == all(any(p_values[j] <= level / len(s) for j in s) for s in subsets)


def test_samples_that_say_nothing_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="at least 20 values but got 19"):
        normality(np.arange(19.0))
    with pytest.raises(NonFiniteScoreError, match="not finite"):
        normality(np.array([np.inf, *range(30)]))


# --- Lemmas 1 and 2, Corollaries 2.1 and 2.2 ---

ENVS = 40


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collector, Any, Any]:
    """The smallest supernet without normalisation, with every family of weights."""
    settings = Request(
        preset="naswot",
        envs=ENVS,
        images=3,
        norm="identity",
        threads=1,
        supernet_channels=4,
        supernet_cells=1,
        resolution=8,
    )
    collector = Collector(settings, inits=INITS, depths=2)
    with Journal(tmp_path_factory.mktemp("work") / "work", collector.identity) as journal:
        activations, scores = collector.collect(journal)
    return collector, {a.init: a for a in activations}, {s.init: s for s in scores}


def first_layer(init: str, draws: int, x: Any = None) -> Any:
    """w . x over draws of the stem's real weights; x fixed, or Gaussian anew for every draw."""
    stem = next(n for n in NB201.supernet(small(NB201)).nodes if n.name == "stem.0")
    rng = np.random.default_rng(2)
    empty = Batch(np.zeros((1, 3, 16, 16), np.float32), None)
    return np.array(
        [
            Environment(k, init, empty).weight(stem)[0].astype(float).ravel()  # type: ignore[arg-type]
            @ (rng.normal(size=27) if x is None else x)
            for k in range(draws)
        ]
    )


def test_first_layer_above_a_fixed_image_is_exactly_gaussian_with_gaussian_weights_only() -> None:
    x = np.random.default_rng(3).normal(size=27) ** 5  # one or two large pixels: far from Gaussian
    draws = {init: first_layer(init, 4000, x) for init in INITS}
    std = closed_forms.fixed_input_std(x, 27, "gaussian")
    assert std == pytest.approx(math.sqrt(2 / 27) * np.linalg.norm(x))
    assert closed_forms.fixed_input_excess_kurtosis(x, "gaussian") == 0
    assert kstest(draws["gaussian"], norm(0, std).cdf).pvalue > 1e-3
    assert draws["uniform"].std() == pytest.approx(closed_forms.fixed_input_std(x, 27, "uniform"), rel=0.05)
    expected = closed_forms.fixed_input_excess_kurtosis(x, "uniform")
    assert expected is not None
    assert expected < -0.3
    assert kurtosis(draws["uniform"]) == pytest.approx(expected, abs=0.15)
    assert kstest(draws["uniform"], norm(0, std).cdf).pvalue < 1e-3
    assert np.ptp(draws["constant"]) == 0
    assert draws["constant"][0] == pytest.approx(x.mean(), rel=1e-5)
    assert closed_forms.fixed_input_std(x, 27, "constant") == 0
    assert closed_forms.fixed_input_excess_kurtosis(x, "constant") is None


@pytest.mark.parametrize("init", INITS)
def test_first_layer_over_weights_and_images_in_closed_form(init: str) -> None:
    """The standard error of a kurtosis near 0 from 8,000 values is 0.055."""
    values = first_layer(init, 8000)
    assert values.std() == pytest.approx(closed_forms.gaussian_input_std(27, init), rel=0.04)
    assert kurtosis(values) == pytest.approx(closed_forms.gaussian_input_excess_kurtosis(27, init), abs=0.2)


def test_behind_a_relu_the_excess_kurtosis_is_15_over_the_width() -> None:
    """Real weights of the stem (16 channels) and of the 1x1 convolution behind it, one pixel of one image."""
    space = NB201.supernet(NB201.search_macro(resolution=8, classes=10))
    nodes = {n.name: n for n in space.nodes}
    empty = Batch(np.zeros((1, 3, 8, 8), np.float32), None)
    x = np.random.default_rng(4).normal(size=27)
    values = []
    for k in range(3000):
        environment = Environment(k, "gaussian", empty)
        h = environment.weight(nodes["stem.0"]).reshape(16, 27) @ x  # type: ignore[arg-type]
        w = environment.weight(nodes["cells.0.edges.0.nor_conv_1x1.1"]).reshape(16, 16)  # type: ignore[arg-type]
        values.append(w @ np.maximum(h, 0))  # channels are independent given h: 16 values per draw
    assert closed_forms.relu_excess_kurtosis(16) == 15 / 16
    assert kurtosis(np.ravel(values)) == pytest.approx(15 / 16, abs=0.2)


@pytest.mark.ours
def test_collected_outputs_are_the_closed_forms_and_the_network(collected: Any) -> None:
    collector, activations, _ = collected
    for found in activations.values():
        for row in lemmas.first_layer_in_closed_form(found):
            assert row.n == ENVS
            assert row.std == pytest.approx(row.expected_std, rel=0.35, abs=1e-6)
    # The constant family is a function of the image: what was collected is the mean of the patch.
    constant = activations["constant"]
    np.testing.assert_allclose(constant.values["weights"][0], constant.patch.mean(), rtol=1e-4, atol=1e-6)
    assert (
        kstest(
            activations["gaussian"].values["weights"][0],
            norm(0, closed_forms.fixed_input_std(constant.patch, 27, "gaussian")).cdf,
        ).pvalue
        > 1e-3
    )
    # An ensemble is the sum of its neurons under the mixture (node 1 has one edge, `none` adds nothing).
    gaussian = activations["gaussian"]
    roles = [site.role for site in gaussian.sites]
    last = roles.index(ENSEMBLE)
    for reading in ("weights", "both", "inputs"):
        values = gaussian.values[reading]
        total = sum(values[i] for i in range(last) if roles[i] == NEURON)
        np.testing.assert_allclose(values[last], total / 5, rtol=1e-4, atol=1e-5)
    assert {len(sample) for sample in gaussian.values["pooled"]} == {32 * ENVS}
    assert collector.sites == gaussian.sites


def test_lemmas_claim_what_the_paper_says_of_each_family(collected: Any) -> None:
    _, activations, _ = collected
    for init, found in activations.items():
        by_lemma = {lemma.__name__: lemma(found) for lemma in (lemmas.lemma_1, lemmas.lemma_2)}
        assert all([c.reading for c in claims] == list(READINGS) for claims in by_lemma.values())
        roles = {"lemma_1": FIRST_LAYER, "lemma_2": NEURON}
        for name, claims in by_lemma.items():
            assert len(claims[0].samples) == [s.role for s in found.sites].count(roles[name])
            assert all(claim.gaussian for claim in claims)
        said = {c.gaussian for c in (*lemmas.corollary_2_1(found), *lemmas.corollary_2_2(found))}
        assert said == {init == "gaussian"}
    first = {init: {c.reading: c for c in lemmas.lemma_1(a)} for init, a in activations.items()}
    # Exactly true for these four: a test at level 0.01 with fixed seeds.
    assert first["gaussian"]["weights"].outcome == "consistent"
    assert all(first[init]["inputs"].outcome == "consistent" for init in INITS)
    assert first["constant"]["weights"].outcome == "no spread"
    assert {c["pooled"].outcome for c in first.values()} == {"not tested"}


def test_corollary_2_2_says_the_opposite_of_a_gaussian_sample(collected: Any) -> None:
    _, activations, _ = collected
    found = activations["constant"]
    rng = np.random.default_rng(0)
    samples = {"normal": rng.normal(size=500), "exponential": rng.exponential(size=500), "one": np.ones(500)}
    outcomes = {}
    for name, sample in samples.items():
        values = {reading: [sample] * len(found.sites) for reading in READINGS}
        made = Activations("constant", "gaussian", found.sites, values, found.patch)
        outcomes[name] = lemmas.corollary_2_2(made)[0].outcome
    assert outcomes == {"normal": "not seen", "exponential": "consistent", "one": "consistent"}


# --- equations 2 and 8 ---


def test_scores_are_those_of_the_evaluator(collected: Any) -> None:
    collector, _, scores = collected
    environments = draw_environments(
        load("gaussian", resolution=8), count=ENVS, images=3, init="uniform", seed=collector.setup.seed
    )
    backend = get_backend("auto")(NB201, collector.setup.macro, norm="identity")
    masks = np.stack([NB201.do(0, 4), NB201.drop(0), NB201.coalition(0, [2, 3, 4])])
    values = backend.evaluate(masks, score=get_score("naswot"), environments=environments[-2:]).values
    found: ScoreSamples = scores["uniform"]
    np.testing.assert_allclose(found.neurons["do(cell:0->1, avg_pool_3x3)"][-2:], values[:, 0])
    np.testing.assert_allclose(found.ensembles["drop(cell:0->1)"][-2:], values[:, 1])
    np.testing.assert_allclose(next(iter(found.ensembles.values()))[-2:], values[:, 2])
    every = np.stack([NB201.do(e, o) for e in range(6) for o in range(5)])
    first = backend.evaluate(every, score=get_score("naswot"), environments=environments[:1]).values
    np.testing.assert_allclose(found.every_neuron[0], first[0])
    claims = lemmas.equation_2(found)
    assert [len(claim.samples) for claim in claims] == [5, 3, 1]
    assert {sample.shape.n for claim in claims for sample in claim.samples} == {ENVS}


@BOTH_SPACES
def test_random_architectures_are_architectures_and_uniform(space: Any) -> None:
    masks = random_architectures(space, 600, np.random.default_rng(0))
    for mask in masks:
        space.genotype(mask)
    assert all(map(space.admits, masks))
    shares = masks.mean(0)
    for node in {(edge.cell, edge.target) for edge in space.edges}:
        into = [e for e, edge in enumerate(space.edges) if (edge.cell, edge.target) == node]
        assert shares[into].sum() == pytest.approx(min(len(into), space.in_edges or len(into)), abs=1e-4)
    if space is DARTS:
        assert not shares[:, 0].any()
        last = [e for e, edge in enumerate(space.edges) if edge.target == 5]
        np.testing.assert_allclose(shares[last][:, 1:], 2 / 5 / 7, atol=0.04)


def test_equation_8_mixes_observed_and_drawn_scores() -> None:
    """p = 0 observes everything; p = 1 is exactly N(mean, variance) per neuron; between, B decides."""
    half = NEURON_ENVIRONMENTS // 2
    rng = np.random.default_rng(5)
    centre = rng.normal(0, 50, 30)
    scores = ScoreSamples(
        init="gaussian",
        source="gaussian",
        neurons={},
        ensembles={},
        every_neuron=centre + rng.normal(size=(NEURON_ENVIRONMENTS, 30)),
        architectures=np.zeros(0),
    )
    known, observed = scores.every_neuron[:half], scores.every_neuron[half:]
    none, some, every = (lemmas.equation_8(scores, NB201, p, seed=7) for p in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none.values, observed)
    assert (none.drawn.sum(), every.drawn.sum()) == (0, 30)
    np.testing.assert_array_equal(some.values[:, ~some.drawn], observed[:, ~some.drawn])
    assert 5 <= some.drawn.sum() <= 25
    standard = np.concatenate(
        [
            (
                (lemmas.equation_8(scores, NB201, 1.0, seed).values - known.mean(0)) / known.std(0, ddof=1)
            ).ravel()
            for seed in range(20)
        ]
    )
    assert kstest(standard, norm.cdf).pvalue > 1e-3
    # Over many draws of B the mean is (1 - p) mu_obs + p mu_do, the sum of Proposition 1.
    means = [lemmas.equation_8(scores, NB201, 0.25, seed).values.mean() for seed in range(100)]
    expected = 0.75 * observed.mean() + 0.25 * known.mean()
    assert np.mean(means) == pytest.approx(expected, abs=4 * np.std(means) / 10)
    assert none.mean_of("kolmogorov") == pytest.approx(
        np.mean([kstest(row, norm(row.mean(), row.std(ddof=1)).cdf).statistic for row in observed])
    )


# --- agreement ---


@given(
    st.integers(2, 6).flatmap(
        lambda n: st.lists(st.lists(st.sampled_from("abc"), min_size=n, max_size=n), min_size=2, max_size=6)
    )
)
def test_agreement_by_brute_force(choices: list[list[str]]) -> None:
    found = agreement(choices, [3])
    pairs = [
        a == b for one, other in itertools.permutations(choices, 2) for a, b in zip(one, other, strict=True)
    ]
    assert found.pairwise == pytest.approx(np.mean(pairs))
    flat = [c for choice in choices for c in choice]
    by_chance = np.mean([a == b for a in flat for b in flat])
    assert found.chance == pytest.approx(by_chance)
    if len(set(flat)) == 1:
        assert found.kappa is None
    else:
        assert found.kappa == pytest.approx((np.mean(pairs) - by_chance) / (1 - by_chance))
    assert found.uniform_kappa == pytest.approx((np.mean(pairs) - 1 / 3) / (2 / 3))
    for edge, column in enumerate(zip(*choices, strict=True)):
        counts = {c: column.count(c) for c in column}
        assert counts[found.modal[edge]] == max(counts.values())
        assert found.modal_share[edge] == max(counts.values()) / len(choices)


def test_fleiss_published_example() -> None:
    """Fleiss 1971 as in textbooks: 14 raters, 10 subjects, 5 categories; kappa 0.210."""
    counts = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
    subjects = [[str(c) for c, n in enumerate(row) for _ in range(n)] for row in counts]
    assert agreement(list(zip(*subjects, strict=True)), [5]).kappa == pytest.approx(0.210, abs=5e-4)


def test_chance_agrees_by_chance_and_one_search_is_refused() -> None:
    rng = np.random.default_rng(0)
    found = agreement(rng.choice(list("abcde"), (200, 50)).tolist(), [5])
    assert found.kappa == pytest.approx(0, abs=0.01)
    assert found.uniform_kappa == pytest.approx(0, abs=0.01)
    with pytest.raises(InvalidValueError, match="at least 2 searches but got 1: raise --seeds"):
        agreement([["a"]], [5])


# --- robustness ---

FLAGS = [*supernet(4, 1, 16)]


def test_robustness_is_the_searches_themselves(tmp_path: Path) -> None:
    base = Request(preset="naswot", images=4, seed=3, threads=1, **SIZE)  # type: ignore[arg-type]
    table = read_table(write_table(tmp_path / "t.csv", 50, lambda g, rng: rng.uniform(10, 95)), NB201)
    done: list[tuple[int, int]] = []
    found = robustness(
        base,
        values={"p": (0.5, 1.0), "init": ("gaussian", "uniform")},
        seeds=2,
        table=table,
        column=None,
        out=tmp_path / "out",
        hooks=Hooks(lambda *n: done.append(n)),
    )
    assert [one.label for one in found.varied] == ["base", "init uniform", "p 1"]
    assert done == [(k, 6) for k in range(1, 7)]
    for one, changes in zip(found.varied, ({}, {"init": "uniform"}, {"p": 1.0}), strict=True):
        results = [
            znas.search(preset="naswot", images=4, threads=1, seed=seed, **SIZE, **changes) for seed in (3, 4)
        ]  # type: ignore[arg-type]
        assert one.architectures == tuple(result.arch for result in results)
        chosen = [[edge.selected for edge in result.edges] for result in results]
        assert one.agreement == agreement(chosen, [5])
        known = dict(zip(map(str, table.genotypes), table.column(None)[1], strict=True))
        looked_up = [known[arch] for arch in one.architectures if arch in known]
        assert one.accuracies is not None
        assert one.accuracies.missing == 2 - len(looked_up)
    assert found.varied[0].with_base == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "agreement.png",
        "report.html",
        "report.md",
        "robustness.json",
    ]
    assert json.loads((tmp_path / "out" / "robustness.json").read_text()) == json.loads(
        json.dumps(found.to_dict())
    )


def test_other_images_are_another_job(tmp_path: Path) -> None:
    """What a broken run has found in some arrays is not taken for what others give."""

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    def run(seed: int, hooks: Hooks) -> None:
        images = np.random.default_rng(seed).random((8, 3, 8, 8), dtype=np.float32)
        size = {name: value for name, value in SIZE.items() if name not in ("data", "resolution")}
        base = Request(data=images, preset="naswot", images=4, threads=1, **size)  # type: ignore[arg-type]
        out = tmp_path / "out"
        robustness(base, values={}, seeds=2, table=None, column=None, out=out, hooks=hooks)

    with pytest.raises(KeyboardInterrupt):
        run(0, Hooks(stop))
    with pytest.raises(InvalidValueError, match=r"belongs to another job.*its data is"):
        run(1, Hooks())
    run(0, Hooks())


@pytest.mark.ours
def test_a_killed_run_resumes_to_the_same_files(tmp_path: Path) -> None:
    flags = ["diagnose", "--robustness", *FLAGS, "--seeds", "4", "--images", "24", "--image-counts", "24,32"]
    flags += ["--norms", "calibrated", "--ps", "0.5,0", "--inits", "gaussian", "--quiet", "--json"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    work = tmp_path / "broken.work"
    process = subprocess.Popen(
        [sys.executable, "-m", "znas", *flags, "--out", str(broken)], stdout=subprocess.DEVNULL
    )
    while not (work.exists() and work.read_bytes().count(b"\n") > 1):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not broken.exists()
    assert 1 < work.read_bytes().count(b"\n") < 13
    outputs = [here(*flags, "--out", out).stdout for out in (broken, whole)]
    assert outputs[0] == outputs[1]
    for name in ("robustness.json", "report.md", "report.html"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    assert not work.exists()


# --- the command ---


def test_diagnose_resumes_and_writes_a_page_json_and_pictures(tmp_path: Path) -> None:
    """A run interrupted between two pieces ends with the bytes of one that was not."""
    settings = Request(
        preset="naswot", envs=20, images=2, threads=1, supernet_channels=4, supernet_cells=1, resolution=8
    )
    arguments: dict[str, Any] = {"inits": ["uniform"], "ps": (0.0, 1.0), "depths": 1, "column": None}
    arguments["table"] = read_table(
        write_table(tmp_path / "t.csv", 50, lambda g, rng: rng.uniform(1, 99)), NB201
    )

    def stop(done: int, total: int) -> None:
        if done == total - 5:
            raise KeyboardInterrupt

    from znas.diagnose import diagnose

    broken, whole = tmp_path / "broken", tmp_path / "whole"
    with pytest.raises(KeyboardInterrupt):
        diagnose(settings, out=broken, hooks=Hooks(stop), **arguments)
    assert not broken.exists()
    seen: list[int] = []
    found = diagnose(settings, out=broken, hooks=Hooks(lambda done, total: seen.append(total)), **arguments)
    diagnose(settings, out=whole, **arguments)
    names = ["diagnose.json", "report.html", "report.md"]
    pictures = ["architectures.png", "neurons_and_ensemble.png", "observed_and_intervened.png"]
    assert sorted(p.name for p in broken.iterdir()) == sorted([*names, *pictures, "quantiles_gaussian.png"])
    for name in names:
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    assert all((broken / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert set(seen) == {len(seen)}
    assert not (tmp_path / "broken.work").exists()
    written = json.loads((broken / "diagnose.json").read_text())
    assert written == json.loads(json.dumps(found.to_dict()))
    statements = {claim["statement"] for claim in written["claims"]}
    assert statements == {"Lemma 1", "Lemma 2", "Corollary 2.2", "equation 2"}
    assert [one["p"] for one in written["equation_8"]] == [0, 1]


def test_diagnose_command_on_real_images(tmp_path: Path, test_data: Path) -> None:
    done = here(
        "diagnose",
        "--out",
        tmp_path / "out",
        "--space",
        "nasbench201",
        *supernet(4, 1, 8),
        "--data",
        "cifar10",
        "--data-dir",
        test_data,
        "--score",
        "accuracy",
        "--images",
        "20",
        "--envs",
        "20",
        "--depths",
        "1",
        "--inits",
        "gaussian",
        "--ps",
        "0.5",
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    for word in ("Lemma 1", "cifar10", "Corollary 2.1", "equation 2", "not proven", "written"):
        assert word in done.stdout
    assert "quantiles_cifar10.png" in {p.name for p in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--envs", "19"], "`envs` must be at least 20 to judge a shape but got 19"),
        (["--images", "1"], "`images` must be at least 2 for diagnose but got 1"),
        (["--inits", "gaussian,he"], "unknown initialisation 'he'"),
        (["--ps", "0,2"], "`p` must be between 0 and 1 but got 2"),
        (["--ps", "auto"], "`ps` must be numbers between 0 and 1 but got 'auto'"),
        (["--depths", "9"], "`depths` must be between 1 and 3"),
        (["--out", "/"], "the output / exists already"),
        (["--seeds", "3"], "--seeds needs --robustness"),
        (["--score", "accuracy"], "needs labels"),
        (["--robustness", "--depths", "1"], "--depths excludes --robustness"),
        (["--robustness", "--seeds", "1"], "`seeds` must be between 2 and 10,000 but got 1"),
        (["--robustness", "--norms", "batch,none"], "unknown norm 'none'"),
        (["--robustness", "--image-counts", "1,x"], "`image-counts` must be whole numbers"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    arguments: list[str], message: str, tmp_path: Path, capsys: Any
) -> None:
    from znas.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["diagnose", *FLAGS, "--quiet", "--out", str(tmp_path / "out"), *arguments])
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out) == (2, "")
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
