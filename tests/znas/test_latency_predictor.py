"""Latencies predicted from a few: features against the graphs themselves, made-up devices and real ones."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SPACES, small
from znas.cli import run
from znas.costs import gaussian
from znas.costs.features import SCOPES, Floats, Reader, random_masks
from znas.costs.latency_table import LatencyTable
from znas.costs.live import live
from znas.costs.predictor import LEAST, LatencyModel, sample
from znas_engine.errors import InvalidValueError
from znas_engine.graph import Conv, Mixed, Relu
from znas_engine.spaces.nasbench201 import NasBench201

pytestmark = pytest.mark.ours

NB201 = NasBench201()
MACRO = small(NB201)


# --- features ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=5)
def test_features_are_those_of_the_network_that_is_left(name: str, seed: int) -> None:
    space = SPACES[name]
    macro = small(space)
    masks = random_masks(space, 3, np.random.default_rng(seed))
    found = Reader(space, macro).read(masks)["live"]
    other = Reader(space, macro).read(masks[:1])["live"]
    for k, mask in enumerate(masks):
        genotype = space.genotype(mask)
        nodes = live(space.network(genotype, macro)).nodes
        terms = [len(node.inputs) for node in nodes if isinstance(node, Mixed)]
        assert found.shape[k, 3] == sum(max(count - 1, 0) for count in terms)
        values = {node.inputs[0] for node in nodes if isinstance(node, Relu)}
        raw = {j for node in nodes if not isinstance(node, Relu) for j in node.inputs} & values
        assert found.shape[k, 2] == len(raw)  # read by ReLUs and by others
        assert found.shape[k, 0] == len(values - raw)
        flops = sum(node.flops for node in nodes)
        base = sum(node.flops for node in live(space.network(space.genotype(masks[0]), macro)).nodes)
        counted = found.kinds.reshape(3, 3, -1)[k, 1].sum() - other.kinds.reshape(3, -1)[1].sum()
        assert counted == flops - base
        assert found.shape[k, 5] == _depth(nodes)


def _depth(nodes: Any) -> int:
    depth: list[int] = []
    for node in nodes:
        depth.append(max((depth[j] for j in node.inputs), default=0) + isinstance(node, Conv))
    return depth[-1]


@pytest.mark.parametrize(
    ("written", "present", "needed", "passed"),
    [
        # Nothing feeds node 1; what it is read by is there, 1x1 on the way to the output, 3x3 is not.
        ("|none~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|", (1, 1), (1, 0), (0, 0)),
        ("|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|none~2|", (1, 1), (0, 0), (0, 0)),
        ("|nor_conv_1x1~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|", (1, 1), (1, 1), (1, 1)),
    ],
)
def test_scopes_differ_in_dead_operations(
    written: str, present: tuple[int, int], needed: tuple[int, int], passed: tuple[int, int]
) -> None:
    found = Reader(NB201, MACRO).read(NB201.mask(NB201.parse(written))[None])
    places = [NB201.operations.index(name) for name in ("nor_conv_1x1", "nor_conv_3x3")]
    for scope, counts in zip(SCOPES, (present, needed, passed), strict=True):
        of = found[scope].operations.reshape(NB201.shape).sum(0)
        assert tuple(of[places]) == counts


# --- the regression ----------------------------------------------------------------------------------


def test_what_is_left_out_is_predicted_by_the_others() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 3))
    y = np.exp(0.2 * x[:, 0]) + 0.01 * rng.standard_normal(12)
    found = gaussian.fit((x @ x.T)[None], y)
    # Of equal shares of noise, so that it can be done by hand: one round.
    start = np.full(2, -3.0)
    logs, posterior, noise = gaussian._optimised((x @ x.T)[None], y, np.ones(12), start)
    covariance = posterior.variances[0] * (x @ x.T) + gaussian.CONSTANT + noise**2 * np.eye(12)
    for k in range(12):
        others = np.arange(12) != k
        weights = np.linalg.solve(covariance[np.ix_(others, others)], y[others])
        # What links k to the others is their covariance without noise.
        assert posterior.left_out[k] == pytest.approx(covariance[k, others] @ weights, rel=1e-5)
    assert np.abs(found.left_out / y - 1).mean() < 0.15
    assert len(logs) == 2


def test_one_disturbed_measurement_does_not_bend_the_fit() -> None:
    rng = np.random.default_rng(1)
    x = rng.random((40, 2))
    y = 1 + x @ [1.0, 2.0] + 0.005 * rng.standard_normal(40)
    y[7] *= 5
    found = gaussian.fit((x @ x.T)[None], y)
    new = rng.random((20, 2))
    assert np.abs(found.mean((new @ x.T)[None]) / (1 + new @ [1.0, 2.0]) - 1).max() < 0.03


# --- the model ---------------------------------------------------------------------------------------


def cells(count: int, seed: int) -> list[Any]:
    return [NB201.genotype(mask) for mask in random_masks(NB201, count, np.random.default_rng(seed))]


def device(scope: str, genotypes: list[Any]) -> Floats:
    """Made-up milliseconds: per operation, a little by the edge, nothing for those out of the scope."""
    reader = Reader(NB201, MACRO)
    operations = reader.read(reader.masks(genotypes))[scope].operations.reshape(-1, *NB201.shape)
    own = np.array([0, 0.1, 0.6, 2.0, 0.4]) * (1 + 0.05 * np.arange(6)[:, None])
    return 1 + (operations * own).sum((1, 2))


@pytest.mark.parametrize("scope", SCOPES)
def test_a_device_that_adds_up_is_learnt_from_thirty(scope: str) -> None:
    chosen, others = sample(NB201, 30, np.random.default_rng(0)), cells(60, 5)
    model = LatencyModel.fit(NB201, MACRO, chosen, device(scope, chosen))
    assert model.scope == scope
    assert model.form.startswith("a sum over (edge, operation), of ")
    predicted = model.predict(others)
    assert np.abs(predicted / device(scope, others) - 1).max() < 0.05
    assert model.error.median < 0.03
    assert model.error.spearman > 0.98


def test_a_device_whose_operations_meet_is_no_sum() -> None:
    """Every ReLU that cannot join what makes its value costs as much as a convolution."""
    chosen, others = sample(NB201, 60, np.random.default_rng(0)), cells(60, 5)
    reader = Reader(NB201, MACRO)

    def shaped(genotypes: list[Any]) -> Floats:
        found: Floats = reader.read(reader.masks(genotypes))["needed"].shape[:, 2]
        return device("needed", genotypes) + found

    model = LatencyModel.fit(NB201, MACRO, chosen, shaped(chosen))
    assert "how operations meet" in model.form
    assert np.median(np.abs(model.predict(others) / shaped(others) - 1)) < 0.02


def test_a_model_of_another_space() -> None:
    space = SPACES["darts"]
    macro = small(space)
    chosen, others = sample(space, 30, np.random.default_rng(0)), sample(space, 8, np.random.default_rng(1))

    def milliseconds(genotypes: list[Any]) -> Floats:
        """Convolutions by their work, everything else by what it writes."""
        graphs = [live(space.network(each, macro)).nodes for each in genotypes]
        return np.array([sum(n.flops + 20 * prod(n.shape) for n in nodes) / 1e6 for nodes in graphs])

    model = LatencyModel.fit(space, macro, chosen, milliseconds(chosen))
    assert np.abs(model.predict(others) / milliseconds(others) - 1).max() < 0.1
    assert model.predict([]).shape == (0,)


def test_a_prediction_is_positive() -> None:
    chosen = cells(LEAST, 0)
    ms = np.geomspace(1e-3, 1e3, LEAST)
    assert (LatencyModel.fit(NB201, MACRO, chosen, ms).predict(cells(100, 1)) > 0).all()


@pytest.mark.parametrize(
    ("count", "ms", "said"),
    [
        (LEAST - 1, [1.0] * (LEAST - 1), f"at least {LEAST} architectures .* got {LEAST - 1}"),
        (LEAST, [1.0] * (LEAST - 1), "got 6 and times of shape"),
        (LEAST, [1.0] * (LEAST - 1) + [0.0], "`ms` must be finite and above 0"),
        (LEAST, [1.0] * (LEAST - 1) + [np.inf], "`ms` must be finite and above 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(count: int, ms: list[float], said: str) -> None:
    with pytest.raises(InvalidValueError, match=said):
        LatencyModel.fit(NB201, MACRO, cells(count, 0), ms)


@pytest.mark.parametrize("name", SPACES)
def test_a_sample_is_of_different_admitted_architectures_and_its_seeds(name: str) -> None:
    space = SPACES[name]
    found = sample(space, 12, np.random.default_rng(3))
    assert len({str(each) for each in found}) == 12
    assert all(space.admits(space.mask(each)) for each in found)
    assert found == sample(space, 12, np.random.default_rng(3))
    assert found != sample(space, 12, np.random.default_rng(4))
    with pytest.raises(InvalidValueError, match="`k` must be at least 1"):
        sample(space, 0, np.random.default_rng(0))


# --- real devices ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "median", "spearman"), [("raspi4", 0.1, 0.95), ("edgegpu", 0.065, 0.94), ("fpga", 0.01, 0.99)]
)
def test_a_device_of_the_table_is_learnt_from_thirty(
    test_data: Path, tmp_path: Path, name: str, median: float, spearman: float
) -> None:
    """Every tenth line, of which thirty are measured: bars far below what the evidence says."""
    header, *lines = (test_data / "nasbench201" / "latency.csv").read_text().splitlines()
    (tmp_path / "some.csv").write_text("\n".join([header, *lines[::10]]))
    table = LatencyTable.read(tmp_path / "some.csv", NB201)
    macro = NB201.evaluation_macro(resolution=32, classes=10)
    rows = [k for k, each in enumerate(table.genotypes) if NB201.admits(NB201.mask(each))]
    ms = table.column(name)[rows]
    genotypes = [table.genotypes[k] for k in rows]
    fitted, rest = np.arange(0, 30 * 45, 45), np.arange(1, len(rows), 3)
    model = LatencyModel.fit(NB201, macro, [genotypes[k] for k in fitted], ms[fitted])
    predicted = model.predict([genotypes[k] for k in rest])
    ranks = [np.argsort(np.argsort(values)) for values in (predicted, ms[rest])]
    assert np.median(np.abs(predicted / ms[rest] - 1)) < median
    assert np.corrcoef(*ranks)[0, 1] > spearman


def test_the_table_of_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`reproduce latency` on a made-up device: what it says, and what it leaves."""
    genotypes = list(dict.fromkeys(cells(60, 2)))
    rows = [f"{each},{ms:.9g}" for each, ms in zip(genotypes, device("needed", genotypes), strict=True)]
    (tmp_path / "phone.csv").write_text("\n".join(["arch,phone_ms", *rows]))
    arguments = ["reproduce", "latency", "--table", f"{tmp_path}/phone.csv", "--out", f"{tmp_path}/out"]
    options = ["--measured", "30", "--seeds", "2", "--resolution", "16", "--json", "--developed-on", "phone"]
    assert run([*arguments, *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in said["rows"]} == {
        "table of all",
        "table of live",
        "predictor, random",
        "predictor",
    }
    (predictor,) = (row for row in said["rows"] if row["method"] == "predictor")
    assert predictor["median error"] < 5
    assert "reach the logits" in predictor["forms"]
    page = (tmp_path / "out" / "latency-predictor.md").read_text()
    assert "| phone | 30 | predictor |" in page
    assert "developed on phone, not on others" in page
    assert run([*arguments, "--measured", "30", "--developed-on", "fone"]) == 2
    assert "did you mean 'phone'" in capsys.readouterr().err
    assert run([*arguments, "--measured", "5"]) == 2
    assert "--measured must be numbers from 6 on" in capsys.readouterr().err
    assert run([*arguments, "--measured", "600"]) == 2
    assert "ask for fewer than that with --measured" in capsys.readouterr().err
