"""architecture.py as a model of the real timm: by name, in its loaders and checkpoints, and back."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.command import SEARCH, here
from tests.ragged import Ragged
from znas.run_folder import architecture_files
from znas_engine.data.preprocess import Preprocess
from znas_engine.spaces import Macro, get_space

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "examples" / "five-classes"
SCRIPT = Path(__file__).parent / "timm_script.py"
#: The smallest networks of each space.
TINY = {"nasbench201": (4, 1), "darts": (4, 3)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search on the committed pictures."""
    out = tmp_path_factory.mktemp("runs") / "first"
    size = ["--resolution", "32", "--network-channels", "8", "--network-cells", "1"]
    done = here(*SEARCH[:-4], *size, "--images", "20", "--data-dir", PICTURES, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def module_of(file: Path) -> ModuleType:
    spec = spec_from_file_location("architecture", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_model_by_name(run: Path) -> None:
    import timm

    module = module_of(run / "architecture.py")
    module.register_timm("of_a_run")
    assert timm.is_model("of_a_run")
    torch.manual_seed(0)
    model: Any = timm.create_model("of_a_run")
    torch.manual_seed(0)
    plain = module.build()
    assert isinstance(model, module.Network)
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in plain.state_dict().items()
    }
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(images), plain(images))
    assert (model.num_classes, model.num_features) == (5, 32)
    config = timm.data.resolve_model_data_config(model)
    assert config["input_size"] == (3, module.SIZE, module.SIZE)
    assert (config["mean"], config["std"]) == (module.MEAN, module.STD)
    assert (config["interpolation"], config["crop_pct"]) == ("bilinear", 1.0)
    assert model.pretrained_cfg["label_names"] == module.CLASSES
    assert model.default_cfg is model.pretrained_cfg


def test_its_classifier(run: Path) -> None:
    import timm

    module_of(run / "architecture.py").register_timm("with_heads")
    images = torch.randn(2, 3, 32, 32)
    model: Any = timm.create_model("with_heads", num_classes=7)
    assert model(images).shape == (2, 7)
    assert model.get_classifier().out_features == 7
    features: Any = timm.create_model("with_heads", num_classes=0)
    features.load_state_dict(model.state_dict(), strict=False)
    model.eval()
    assert torch.equal(model.get_classifier()(features.eval()(images)), model(images))
    model.reset_classifier(3)
    assert (model.num_classes, model(images).shape) == (3, (2, 3))
    model.reset_classifier(0)
    assert model(images).shape == (2, model.num_features)
    wide: Any = timm.create_model("with_heads", channels=16, cells=2)
    assert (wide.num_features, wide(images).shape) == (64, (2, 5))


def test_trained_weights_of_a_file(run: Path, tmp_path: Path) -> None:
    import timm

    module = module_of(run / "architecture.py")
    module.register_timm("trained")
    plain = module.build().eval()
    torch.save(plain.state_dict(), tmp_path / "weights.pt")
    overlay = {"file": str(tmp_path / "weights.pt")}
    images = torch.randn(2, 3, 32, 32)
    model = timm.create_model("trained", pretrained=True, pretrained_cfg_overlay=overlay).eval()
    assert torch.equal(model(images), plain(images))
    with pytest.raises(RuntimeError, match="No pretrained weights exist for trained"):
        timm.create_model("trained", pretrained=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_chans": 1}, "the network reads 3 channels but in_chans=1: leave that out"),
        ({"drop_rate": 0.2}, "the network has no dropout for drop_rate=0.2: leave that out"),
    ],
)
def test_what_the_network_has_not(run: Path, arguments: dict[str, Any], message: str) -> None:
    import timm

    name = f"without_{next(iter(arguments))}"
    module_of(run / "architecture.py").register_timm(name)
    with pytest.raises(ValueError, match=message):
        timm.create_model(name, **arguments)


@pytest.mark.parametrize("space", ["nasbench201", "darts", "ragged"])
def test_every_space_grey_and_without_facts(space: str, tmp_path: Path) -> None:
    """A plug-in's network too; where nothing is said of pixels, timm's defaults are."""
    import timm

    found: Any = Ragged() if space == "ragged" else get_space(space)
    channels, cells = TINY.get(space, (4, 1))
    size = found.evaluation_macro(resolution=32, classes=6)
    macro = Macro(
        **{name: getattr(size, name) for name in size.__slots__}
        | {"channels": channels, "cells": cells, "inputs": 1}
    )
    mask = next(iter(_masks(found)))
    grey = Preprocess(size=32, channels="grey", scale=255, mean=(0.25,), std=(0.5,))
    for number, preprocess in enumerate((grey, None)):
        file = tmp_path / f"{number}.py"
        file.write_bytes(
            architecture_files(found, found.genotype(mask), macro, seed=0, preprocess=preprocess)[
                "architecture.py"
            ]
        )
        name = f"{space}_{number}"
        module_of(file).register_timm(name)
        model: Any = timm.create_model(name, in_chans=1)
        assert model(torch.randn(2, 1, 32, 32)).shape == (2, 6)
        config = timm.data.resolve_model_data_config(model)
        assert config["input_size"] == (1, 32, 32)
        assert config["mean"] == ((0.25,) if preprocess else timm.data.IMAGENET_DEFAULT_MEAN)


def _masks(space: Any) -> Any:
    import numpy as np

    from znas.costs.features import random_masks

    yield from random_masks(space, 1, np.random.default_rng(0))


def test_importing_it_imports_no_timm(run: Path) -> None:
    code = "import sys, architecture; print('timm' in sys.modules, 'torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=run)
    assert (done.returncode, done.stdout) == (0, "False False\n"), done.stderr
    done = subprocess.run([sys.executable, run / "architecture.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.startswith("usage: python architecture.py SCRIPT")) == (1, True)


def test_a_script_trains_it_and_its_checkpoint_is_deployed(run: Path, tmp_path: Path) -> None:
    """The accuracy that the script has seen is the deployed network's."""
    (tmp_path / "out").mkdir()
    command = [sys.executable, run / "architecture.py", SCRIPT, "--model", "znas_found", "--epochs", "3"]
    done = subprocess.run(
        [*command, "--data-dir", PICTURES, "--output", tmp_path / "out"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    weights = tmp_path / "out" / "model_best.pth.tar"
    done = here("deploy", run, "--weights", weights, "--json", "--out", tmp_path / "model.onnx")
    assert done.returncode == 0, done.stderr
    check = json.loads(done.stdout)["check"]
    assert check["images"] == 100
    assert check["torch"] == check["onnx"] == pytest.approx(seen["accuracy"], abs=0.011)
    assert check["torch"] > 0.25
