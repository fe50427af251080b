"""What a search saved comes back the same; any architecture as files: `znas.load`, `show`, `network`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

import znas
from tests.command import here, refused
from znas.cli import run as run_command
from znas.meaning import flag
from znas_engine.errors import DataError, InvalidValueError, StorageError
from znas_engine.scores.naswot import Naswot

TINY: dict[str, Any] = {
    "preset": "naswot",
    "supernet_channels": 4,
    "supernet_cells": 1,
    "resolution": 16,
    "images": 16,
}
ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "several scores, a final round": {"score": "naswot+path_norm", "p": 0.0, "finalists": 4, "envs": 2},
    "p per edge": {"p": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)},
    "nothing measured": {"p": 1.0},
    "prior, p = auto": {"prior": "shipped", "prior_scale": "raw", "p": "auto", "envs": 2},
    "Shapley values": {"game": "shapley"},
    "a sampled game": {"game": "shapley", "estimator": "permutation", "max_evaluations": 20},
    "pairs": {"game": "interaction", "p": 0.3},
    "sequential": {"selection": "sequential", "order": "confidence", "criterion": "leave-one-out"},
    "race": {"race": 0.6, "p": 0.2, "images": 64},
    "a space that gives up edges": {"space": "darts", "supernet_cells": 3, "p": 0.9, "envs": 2},
}
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[znas.SearchResult, Path]:
    result = znas.search(**TINY)
    return result, result.save(tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.parametrize("name", ASKED)
def test_a_result_that_was_saved_is_the_result_again(name: str, tmp_path: Path) -> None:
    result = znas.search(**TINY | ASKED[name])
    loaded = znas.load(result.save(tmp_path / "run"))
    assert loaded == result
    assert loaded.to_json() == result.to_json()
    assert loaded.document() == result.document()


def test_the_file_itself_can_be_loaded_and_saved_again(
    run: tuple[znas.SearchResult, Path], tmp_path: Path
) -> None:
    result, folder = run
    again = znas.load(folder / "result.json").save(tmp_path / "again")
    for file in folder.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes()
    assert sum(p.numel() for p in znas.load(again).to_torch().parameters()) == result.params


def test_a_score_that_was_an_object_is_the_class_that_it_was_of(tmp_path: Path) -> None:
    result = znas.search(**TINY, score=[Naswot()])
    loaded = znas.load(result.save(tmp_path / "run"))
    assert loaded.request.score == ["znas_engine.scores.naswot:Naswot"]
    assert loaded.edges == result.edges
    assert znas.search(loaded.request).edges == result.edges


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"the result .*nowhere cannot be read"):
        znas.load(tmp_path / "nowhere")
    file = tmp_path / "result.json"
    file.write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        znas.load(tmp_path)
    file.write_text('{"arch": 1}')
    with pytest.raises(DataError, match=r"is not what a search of znas-engine .* writes"):
        znas.load(file)


def test_show_prints_what_search_printed(tmp_path: Path) -> None:
    size = [f"{flag(name)}={value}" for name, value in TINY.items()]
    found = here("search", *size, "--out", tmp_path / "run", "--seed", "4")
    assert found.returncode == 0, found.stderr
    shown = here("show", tmp_path / "run")
    assert shown.returncode == 0, shown.stderr
    printed, _, written = found.stdout.rpartition("\n\nwritten")
    assert written
    assert shown.stdout.rstrip("\n") == printed
    as_json = here("show", tmp_path / "run" / "result.json", "--json").stdout
    assert as_json == (tmp_path / "run" / "result.json").read_text()


def test_show_writes_a_page_and_replaces_none(run: tuple[znas.SearchResult, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert here("show", run[1], "--html", page).returncode == 0
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert run[0].arch in text
    assert "exists already" in refused(here("show", run[1], "--html", page))
    assert page.read_text() == text


def test_any_architecture_becomes_files_that_train_and_run(tmp_path: Path) -> None:
    size = ["--classes", "7", "--resolution", "16", "--channels-in", "1", "--channels", "4", "--cells", "1"]
    out = tmp_path / "network"
    done = here("network", "nasbench201", CELL, "--out", out, *size)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(CELL)
    assert {file.name for file in out.iterdir()} == {
        "architecture.py",
        "architecture.untrained.onnx",
        "preprocess.json",
    }

    scope: dict[str, Any] = {"__name__": "architecture"}
    exec(compile((out / "architecture.py").read_text(), "architecture.py", "exec"), scope)
    images = torch.randn(2, 1, 16, 16)
    assert scope["build"]()(images).shape == (2, 7)
    session = onnxruntime.InferenceSession(out / "architecture.untrained.onnx")
    assert session.run(None, {"images": images.numpy()})[0].shape == (2, 7)

    facts = json.loads(here("network", "nasbench201", CELL, "--json", *size).stdout)
    assert facts["arch"] == CELL
    assert facts["params"] == sum(p.numel() for p in scope["build"]().parameters())
    assert facts["network"]["classes"] == 7
    assert "exists already" in refused(here("network", "nasbench201", CELL, "--out", out))


def test_a_network_costs_what_the_search_said_of_it(run: tuple[znas.SearchResult, Path]) -> None:
    result, _ = run
    facts = json.loads(here("network", "nasbench201", result.arch, "--resolution", "16", "--json").stdout)
    assert {name: facts[name] for name in ("genotype", "params", "flops")} == {
        "genotype": result.genotype.structure(),
        "params": result.params,
        "flops": result.flops,
    }


@pytest.mark.ours
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nasbench", CELL), "unknown search space 'nasbench'"),
        (("nasbench201", "|none~0|"), "not a NAS-Bench-201 architecture"),
        (("nasbench201", CELL, "--classes", "0"), "`classes` must be between 1 and 1,000,000 but got 0"),
        (("nasbench201", CELL, "--channels", "1000"), "`channels` must be between 2 and 512 but got 1,000"),
        (("nasbench201", CELL, "--resolution", "6"), "`resolution` must be a multiple of 4 pixels"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    assert message in refused(here("network", *arguments))


def test_network_refuses_sizes_that_there_are_not() -> None:
    with pytest.raises(InvalidValueError, match="`channels_in` must be between 1 and 4,096 but got 0"):
        znas.network("nasbench201", CELL, channels_in=0)


@pytest.mark.parametrize("verb", ["search", "network"])
def test_what_a_folder_needs_is_asked_before_the_work(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "znas_engine.export.network", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    asked = ["search"] if verb == "search" else ["network", "nasbench201", CELL]
    assert run_command([*asked, "--out", str(tmp_path / "run")]) == 2
    printed = capfd.readouterr()
    assert not printed.out
    assert printed.err.count("\n") == 1
    assert "architecture.untrained.onnx needs onnx" in printed.err
    assert not list(tmp_path.iterdir())
