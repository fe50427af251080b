from __future__ import annotations

import csv
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import scipy.stats
import torch

import znas
from tests.conftest import SPACES, backends
from znas_engine.errors import InvalidValueError, StorageError

SMALL: dict[str, dict[str, Any]] = {
    "nasbench201": {"space": "nasbench201", "supernet_channels": 4, "supernet_cells": 1},
    "darts": {"space": "darts", "supernet_channels": 4, "supernet_cells": 3},
    "nasbench_macro": {"space": "nasbench_macro", "supernet_channels": 4, "supernet_cells": 1},
    "mobilenet": {"space": "mobilenet", "supernet_channels": 4, "supernet_cells": 1},
}
NEURONS = {"nasbench201": 30, "darts": 196, "nasbench_macro": 24, "mobilenet": 141}
ENSEMBLES = {"nasbench201": 0, "darts": 24, "nasbench_macro": 0, "mobilenet": 0}


def run(space: str, **arguments: Any) -> znas.SearchResult:
    return znas.search(**{**SMALL[space], "preset": "naswot", "images": 8, "resolution": 16, **arguments})


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("score", ["naswot", "accuracy"])
def test_searches_on_real_images(space: str, backend: str, score: str, test_data: Path) -> None:
    result = run(space, backend=backend, score=score, p=0.9, data="cifar10", data_dir=test_data, envs=2)
    assert SPACES[space].parse(result.arch) == result.genotype
    assert result.observed + result.intervened == NEURONS[space]
    assert result.ensembles_observed + result.ensembles_intervened == ENSEMBLES[space]
    assert result.evaluations == 2 * (result.observed + result.ensembles_observed)
    assert "10,000 CIFAR-10 training images" in result.conditions.origin
    reports = [report for edge in result.edges for report in edge.operations.values()]
    assert sum(report.intervened for report in reports) == result.intervened
    assert all(len(report.values) == 2 and math.isfinite(report.mean) for report in reports)


@pytest.mark.parametrize("space", SPACES)
def test_p_decides_what_is_measured(space: str) -> None:
    """p = 0 measures everything, p = 1 nothing; p = 0.5 half of it, pooled over ten seeds to within 4.42
    binomial standard errors (an error rate of 1e-5)."""
    everything = NEURONS[space] + ENSEMBLES[space]
    if space == "nasbench201":
        whole = run(space, p=0)
        assert (whole.observed, whole.intervened, whole.evaluations) == (30, 0, 30)
    nothing = run(space, p=1)
    assert (nothing.observed, nothing.intervened, nothing.evaluations) == (0, NEURONS[space], 0)
    seeds = range(10) if space == "nasbench201" else range(1)
    measured = [run(space, p=0.5, seed=seed).evaluations for seed in seeds]
    n = everything * len(seeds)
    assert abs(sum(measured) - n / 2) < 4.42 * math.sqrt(n / 4)


METHODS: dict[str, dict[str, Any]] = {
    "p 0": {"p": 0},
    "p 1": {"p": 1},
    "p per edge": {"p": "per edge"},
    "cdf_difference": {"intervention": "cdf_difference", "init": "uniform"},
    "bayesian": {"intervention": "bayesian"},
    "shapley": {"game": "shapley", "p": 0.9},
    "shapley, nothing measured": {"game": "shapley", "p": 1},
    "sampled shapley": {"game": "shapley", "estimator": "permutation", "max_evaluations": 26, "p": 0.9},
    "interaction": {"game": "interaction", "p": 0.97},
    "sequential, random": {"selection": "sequential", "order": "random"},
    "sequential, by node": {"selection": "sequential", "order": "node", "criterion": "leave-one-out"},
    "sequential, by confidence": {"selection": "sequential", "order": "confidence"},
    "sequential shapley": {"selection": "sequential", "game": "shapley", "p": 0.95},
    "leave-one-out": {"criterion": "leave-one-out"},
    "lower confidence bound": {"aggregate": "lcb", "envs": 2, "p": 0.8},
    "ranks": {"aggregate": "rank", "envs": 2, "p": 0.8},
    "finalists": {"finalists": 5},
    "several scores": {"score": "naswot+path_norm+patterns+flops", "envs": 2, "finalists": 3},
    "shapley of several scores": {"score": "naswot+entropy", "game": "shapley", "p": 0.98},
    "sequential, several scores": {"score": "naswot+params", "selection": "sequential"},
}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_real_images(method: str, space: str, test_data: Path) -> None:
    arguments = {"p": 0.8, "envs": 1, "images": 4} | METHODS[method]
    if arguments["p"] == "per edge":
        arguments["p"] = tuple(np.linspace(0.5, 1, len(SPACES[space].edges)).tolist())
    result = run(space, data="cifar10", data_dir=test_data, **arguments)
    assert SPACES[space].parse(result.arch) == result.genotype
    kept = [edge for edge in result.edges if edge.kept]
    assert len(kept) == {"nasbench201": 6, "darts": 16, "nasbench_macro": 8, "mobilenet": 21}[space]
    assert all(edge.selected in edge.operations for edge in kept)
    assert all(0 <= edge.stability <= 1 for edge in kept)
    final = arguments.get("finalists", 0) * (2 if result.method["aggregate"] == "log_rank" else 1)
    measured = result.observed + result.ensembles_observed + final
    assert result.evaluations == arguments["envs"] * measured
    if arguments["p"] == 1:
        assert result.evaluations == 0


def test_a_game_is_intervened_coalition_by_coalition() -> None:
    """32 coalitions on each of six edges, the empty one an ensemble; the full one is the mixture for all."""
    result = run("nasbench201", game="shapley", p=0.5, seed=2)
    distinct = 6 * 30 + 1
    assert result.observed + result.intervened == distinct
    assert result.ensembles_observed + result.ensembles_intervened == 6
    assert abs(result.evaluations - (distinct + 6) / 2) < 4.42 * math.sqrt((distinct + 6) / 4)


@pytest.mark.parametrize("backend", backends())
def test_same_seed_same_answer_whatever_the_threads(backend: str) -> None:
    one, two = (run("nasbench201", backend=backend, seed=3, threads=threads) for threads in (1, 2))
    assert one.edges == two.edges
    assert one.genotype == two.genotype
    other = run("nasbench201", backend=backend, seed=4)
    assert other.edges != one.edges


def test_at_p_zero_the_selection_is_the_argmax_of_what_was_measured() -> None:
    result = run("nasbench201", p=0, seed=1)
    for edge in result.edges:
        best = max(report.mean for report in edge.operations.values())
        repaired = any(note.startswith(edge.edge) for note in result.notes)
        assert repaired or edge.operations[edge.selected].mean == best


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    result = znas.search(
        znas.Request(preset="naswot", **SMALL["nasbench201"], images=4, resolution=16),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (result.evaluations, result.evaluations)


def test_json_has_the_promised_keys_and_same_bytes_but_for_seconds() -> None:
    texts = [run("nasbench201", seed=5).to_json() for _ in range(2)]
    results = [json.loads(text) for text in texts]
    for result in results:
        assert set(result.pop("seconds")) == {"total", "setup", "evaluate", "select"}
    promised = "space genotype arch params flops score p seed backend device observed intervened evaluations"
    assert {*promised.split(), "images", "edges"} <= set(results[0])
    assert results[0] == results[1]
    strip = re.compile(r'"seconds": \{[^}]*\}')
    assert strip.sub("", texts[0]) == strip.sub("", texts[1])


@pytest.mark.parametrize("space", SPACES)
def test_the_run_folder_is_complete_loadable_and_trainable(space: str, tmp_path: Path) -> None:
    result = run(space, p=0.9, envs=2)
    folder = result.save(tmp_path / "deep" / "run")
    assert {p.name for p in folder.iterdir()} == {
        "result.json",
        "scores.csv",
        "report.html",
        "architecture.py",
        "architecture.untrained.onnx",
        "preprocess.json",
    }
    assert json.loads((folder / "result.json").read_text())["arch"] == result.arch
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == NEURONS[space] + ENSEMBLES[space]
    for row in rows:
        values = [float(row["environment_0"]), float(row["environment_1"])]
        assert float(row["mean"]) == pytest.approx(np.mean(values))

    scope: dict[str, Any] = {"__name__": "architecture"}
    exec(compile((folder / "architecture.py").read_text(), "architecture.py", "exec"), scope)
    network = scope["build"](classes=10)
    assert sum(p.numel() for p in network.parameters()) == result.params
    images = torch.randn(2, 3, 16, 16)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    loss = torch.nn.functional.cross_entropy(network(images), torch.tensor([0, 1]))
    loss.backward()
    optimiser.step()
    assert math.isfinite(torch.nn.functional.cross_entropy(network(images), torch.tensor([0, 1])).item())

    session = onnxruntime.InferenceSession(folder / "architecture.untrained.onnx")
    (logits,) = session.run(None, {"images": images.numpy()})
    assert logits.shape == (2, 10)
    assert np.isfinite(logits).all()


def test_rows_of_several_scores_are_named(tmp_path: Path) -> None:
    result = run("nasbench201", p=0, envs=2, score="naswot+flops")
    assert result.method["aggregate"] == "log_rank"
    assert json.loads(result.to_json())["rows"] == [
        {"environment": k, "score": score} for k in range(2) for score in ("naswot", "flops")
    ]
    with (result.save(tmp_path / "run") / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    alone = run("nasbench201", p=0, score="flops", images=None)
    for edge in range(6):
        table = np.array(
            [
                [float(row[f"{s}_environment_{k}"]) for k in range(2) for s in ("naswot", "flops")]
                for row in rows[5 * edge : 5 * edge + 5]
            ]
        )
        expected = np.log(scipy.stats.rankdata(table, axis=0) / 5).sum(1)
        assert [float(row["aggregate"]) for row in rows[5 * edge : 5 * edge + 5]] == pytest.approx(expected)
        assert all(row["mean"] == row["std"] == "" for row in rows)
        flops = [report.values for report in alone.edges[edge].operations.values()]
        assert np.array_equal(table[:, [1, 3]], np.repeat(flops, 2, axis=1))
    assert alone.method["aggregate"] == "mean"
    assert alone.evaluations == 0


def test_a_static_score_is_the_same_in_every_environment() -> None:
    result = run("nasbench201", p=0, envs=2, score="naswot+params")
    reports = [report for edge in result.edges for report in edge.operations.values()]
    assert all(report.values[1] == report.values[3] for report in reports)
    assert any(report.values[0] != report.values[2] for report in reports)
    alone = run("nasbench201", p=0, score="params", images=None)
    assert {edge.selected for edge in alone.edges} == {"nor_conv_3x3"}


def test_to_torch_takes_another_size() -> None:
    result = run("nasbench201", p=1)
    network = result.to_torch(classes=7, channels=8, cells=1)
    assert network(torch.randn(1, 3, 16, 16)).shape == (1, 7)


def test_an_existing_output_folder_is_refused(tmp_path: Path) -> None:
    result = run("nasbench201", p=1)
    (tmp_path / "run").mkdir()
    with pytest.raises(StorageError, match="exists already; name another one"):
        result.save(tmp_path / "run")


def test_an_unwritable_output_folder_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        run("nasbench201", p=1).save(tmp_path / "file" / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.5}, "`p` must be between 0 and 1 but got 1.5"),
        ({"p": math.nan}, "`p` must be a number in .* but got nan"),
        ({"images": 0}, "`images` must be between 1 and 1,000,000 but got 0"),
        ({"images": 10**12}, "`images` must be between 1 and 1,000,000 but got"),
        ({"images": 70_000}, "`images` must be between 1 and"),
        ({"envs": 0}, "`envs` must be between 1"),
        ({"threads": 0}, "`threads` must be between 1"),
        ({"seed": -1}, "`seed` must be between 0"),
        ({"supernet_channels": 1}, "`supernet_channels` must be between 2"),
        ({"supernet_cells": 0}, "`supernet_cells` must be between 1"),
        ({"norm": "batchnorm"}, "unknown norm 'batchnorm': .* did you mean 'batch'"),
        ({"init": "normal"}, "unknown initialisation 'normal'"),
        ({"data": "cifar"}, "unknown data set 'cifar': .*did you mean 'cifar10"),
        ({"score": "accuracy"}, "'accuracy' needs labels and gaussian images have none"),
        ({"score": "accuracy", "p": 1}, "'accuracy' needs labels and gaussian images have none"),
        ({"data": "cifar10"}, "--data-dir"),
        ({"resolution": 30}, "must be a multiple of 4"),
        ({"p": (0.5, 0.5)}, "each of the 6 edges but got 2"),
        ({"p": "auto"}, "pass --prior FILE"),
        ({"intervention": "normal"}, "unknown intervention 'normal'"),
        ({"game": "shapely"}, "did you mean 'shapley'"),
        ({"estimator": "monte carlo"}, "unknown estimator"),
        ({"estimator": "bandit"}, "needs --game shapley"),
        ({"selection": "greedy"}, "unknown selection 'greedy'"),
        ({"order": "topological"}, "unknown order"),
        ({"criterion": "loo"}, "unknown criterion"),
        ({"aggregate": "median"}, "unknown aggregate 'median'"),
        ({"aggregate": "lcb"}, "at least 2 environments"),
        ({"finalists": 0}, "`finalists` must be between 1"),
        ({"finalists": 3, "p": 1}, "which p = 1 forbids"),
        ({"game": "shapley", "criterion": "leave-one-out"}, "exclude each other"),
        ({"game": "interaction", "selection": "sequential"}, "decides all edges together"),
        ({"game": "shapley", "estimator": "permutation"}, "precision"),
        ({"score": "naswot+flops", "aggregate": "mean"}, "have different units: use --aggregate log_rank"),
        ({"score": "naswot+flops", "aggregate": "lcb", "envs": 2}, "have different units"),
        ({"score": "naswot+flops", "prior": "shipped"}, "a prior is of one score, but --score names several"),
        ({"score": "naswot+flops", "game": "interaction"}, "--game interaction adds scores up"),
        (
            {"score": "naswot+flops", "game": "shapley", "estimator": "permutation", "max_evaluations": 9},
            "--estimator permutation averages scores",
        ),
        ({"score": "zen", "dtype": "bfloat16", "backend": "native"}, "'zen' takes differences of passes"),
        ({"score": "snip+flops", "backend": "ort"}, "'snip' needs gradients, .*use --backend torch"),
        ({"score": "flops+snip"}, "'snip' needs labels"),
        ({"score": "zen", "images": 129, "p": 0}, "at most 128 for the score 'zen' but got 129"),
        ({"images": 2000, "p": 0}, "at most 1024 for the score 'naswot' but got 2000"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        run("nasbench201", **arguments)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_parent_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written"):
        run("nasbench201", p=1).save(tmp_path / "run")
