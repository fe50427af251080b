"""From a search to a model in use: the run says how to feed it, trained weights become one file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import znas
from tests.command import here
from tests.znas.test_show import TINY
from znas.checked import runtime
from znas.cli import run as run_command
from znas_engine.data import load
from znas_engine.data.preprocess import Preprocess
from znas_engine.errors import DataError, InvalidValueError, PluginError, StorageError, ZnasError
from znas_engine.export.network import newest
from znas_engine.graph import Graph
from znas_engine.spaces import Macro
from znas_engine.spaces.nasbench201.genotype import NasBench201Genotype
from znas_engine.spaces.nasbench201.space import NasBench201

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "examples" / "five-classes"
CLASSES = ["airplane", "automobile", "cat", "frog", "ship"]

#: Trains architecture.py as the example does, with nothing of ours: torch and Pillow.
TRAIN = f"""
import runpy, sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("znas", "znas_engine"):
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
sys.argv[1:1] = ["--epochs", "6", "--channels", "8", "--cells", "1"]
runpy.run_path({str(ROOT / "examples" / "train.py")!r}, run_name="__main__")
"""

#: Runs the model with what stands in its metadata, and nothing of ours: onnxruntime, Pillow and NumPy.
USE = """
import json, sys
from pathlib import Path
import numpy as np, onnxruntime
from PIL import Image
model, pictures = map(Path, sys.argv[1:])
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
facts = json.loads(session.get_modelmeta().custom_metadata_map["preprocess"])
assert facts["layout"] == "NCHW, float32" and facts["channels"] == "RGB"
scale, size = np.float32(facts["scale"]), facts["size"]
mean, std = (np.array(facts[k], np.float32).reshape(-1, 1, 1) for k in ("mean", "std"))
right = total = 0
for k, name in enumerate(facts["classes"]):
    for file in sorted((pictures / name).iterdir()):
        picture = Image.open(file).convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        box = (left, top, left + side, top + side)
        picture = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
        pixels = np.asarray(picture, np.float32).transpose(2, 0, 1)
        (logits,) = session.run(None, {"images": ((pixels - scale * mean) / (scale * std))[None]})
        right += int(logits.argmax()) == k
        total += 1
print(right, total)
"""


def alone(script: str, *arguments: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks are slower on several threads, many times so where others use the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search on the committed pictures."""
    out = tmp_path_factory.mktemp("runs") / "first"
    size = [
        "--preset",
        "naswot",
        "--supernet-channels",
        "4",
        "--supernet-cells",
        "1",
        "--images",
        "20",
        "--resolution",
        "32",
    ]
    pictures = ["--data", "imagefolder", "--data-dir", PICTURES / "train"]
    done = here("search", *size, *pictures, "--out", out, "-q")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def weights(run: Path) -> Path:
    alone(TRAIN, run, PICTURES / "train", run.parent / "weights.pt")
    return run.parent / "weights.pt"


SIZE = {"channels": 8, "cells": 1}


def test_from_pictures_to_a_model_in_use(
    run: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The accuracy that deploy prints is PyTorch's, and that of a process which has the model alone."""
    model = tmp_path / "model.onnx"
    size = [f"--{name}={value}" for name, value in SIZE.items()]
    size += ["--data-dir", str(PICTURES / "val")]
    done = here("deploy", run, "--weights", weights, "--out", model, *size, "--json")
    assert done.returncode == 0, done.stderr
    check = json.loads(done.stdout)["check"]
    assert check["images"] == 100
    assert check["agreement"] == 1
    assert check["torch"] == check["onnx"] > 0.3
    assert str(PICTURES / "val") in check["source"]

    right, total = map(int, alone(USE, model, PICTURES / "val").split())
    assert (right / total, total) == (check["onnx"], 100)
    facts = json.loads((run / "preprocess.json").read_text())
    metadata = {each.key: each.value for each in onnx.load(model).metadata_props}
    assert json.loads(metadata["preprocess"]) == facts
    source = (run / "architecture.py").read_text()
    assert facts["classes"] == CLASSES
    for name in ("mean", "std", "classes"):
        assert f"{name.upper()} = {tuple(facts[name])}".replace("'", '"') in source.replace("'", '"')
    assert json.loads(done.stdout)["latency"]["target"] == "ort:cpu:1"
    again = [
        "deploy",
        run,
        "--weights",
        weights,
        "--out",
        tmp_path / "again.onnx",
        "--latency",
        "none",
        *size,
    ]
    assert run_command([*map(str, again)]) == 0
    share = f"{right / total:.2%}"
    assert f"accuracy    {share} by ONNX Runtime, {share} by PyTorch, of 100" in capfd.readouterr().out
    assert model.read_bytes() == (tmp_path / "again.onnx").read_bytes()
    assert run_command([*map(str, again)]) == 2
    assert "again.onnx exists already" in capfd.readouterr().err


def test_the_run_says_how_to_feed_the_network(run: Path) -> None:
    result = znas.load(run)
    facts = json.loads((run / "preprocess.json").read_text())
    assert json.loads((run / "result.json").read_text())["preprocess"] == facts
    assert result.preprocess == Preprocess.from_dict(facts)
    metadata = {e.key: e.value for e in onnx.load(run / "architecture.untrained.onnx").metadata_props}
    assert json.loads(metadata["preprocess"]) == facts
    assert metadata["weights"] == "random, untrained"
    dataset = load("imagefolder", data_dir=PICTURES / "train", resolution=32)
    file = sorted((PICTURES / "train" / CLASSES[0]).iterdir())[0]
    pixels = np.asarray(Image.open(file), np.float32).transpose(2, 0, 1)
    mean, std = (np.array(facts[name], np.float32).reshape(-1, 1, 1) for name in ("mean", "std"))
    expected = (pixels - np.float32(255) * mean) / (np.float32(255) * std)
    assert np.array_equal(next(dataset.every(4)).images[0], expected)


# --- weights as people have them -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny() -> tuple[znas.SearchResult, dict[str, torch.Tensor]]:
    """A small network with normalisation as a training leaves it."""
    found = znas.search(**TINY)
    result = replace(found, macro=replace(found.macro, channels=4, cells=1))
    torch.manual_seed(0)
    network = result.to_torch()
    for name, value in network.state_dict().items():
        if value.dim() == 1:
            value.copy_(torch.rand_like(value) + (0.5 if name.endswith("running_var") else -0.3))
    return result, {name: value.clone() for name, value in network.state_dict().items()}


Tiny = tuple[znas.SearchResult, dict[str, torch.Tensor]]


def saved(state: Any, folder: Path, name: str = "weights.pt") -> Path:
    path = folder / name
    if name.endswith(".safetensors"):
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("wrap", "remark"),
    [
        (lambda s: {"state_dict": s, "epoch": 3}, "`state_dict` is taken"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "begin with 'module.'"),
        (
            lambda s: {
                "state_dict": {f"model.{k}": v for k, v in s.items()} | {"loss.weight": torch.ones(3)}
            },
            "begin with 'model.'; 1 that do not are left out",
        ),
        (lambda s: {k: v.double() if v.is_floating_point() else v for k, v in s.items()}, ""),
    ],
    ids=["nested", "DataParallel", "Lightning", "double"],
)
def test_weights_of_training_loops_are_the_same(
    wrap: Callable[[Any], Any], remark: str, tiny: Tiny, tmp_path: Path
) -> None:
    result, state = tiny
    expected = znas.deploy(result, state)
    assert expected.check is not None
    assert expected.check.difference < 1e-5 * expected.check.largest
    found = znas.deploy(result, saved(wrap(state), tmp_path))
    assert found.model == expected.model
    assert remark in " ".join(found.notes)
    assert znas.deploy(result, saved(state, tmp_path, "weights.safetensors")).model == expected.model


def without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "stem.0.weight"), r"lack `stem\.0\.weight`: they must be the state dictionary"),
        (
            lambda s: s | {"head.weight": torch.ones(3)},
            r"hold `head\.weight`, which the network does not have",
        ),
        (
            lambda s: s | {"stem.0.weight": torch.ones(8, 3, 3, 3)},
            r"`stem\.0\.weight` of .* must be \[4, 3, 3, 3\] but is \[8, 3, 3, 3\]: .*--channels and --cells",
        ),
        (lambda s: s | {"last.0.bias": torch.full((16,), torch.nan)}, r"`last\.0\.bias` of .* holds NaN"),
        (lambda s: s | {"last.0.running_var": -torch.ones(16)}, "holds a negative variance"),
        (
            lambda s: s | {"last.0.bias": torch.ones(16, dtype=torch.int64)},
            "must hold floats but is torch.int64",
        ),
        (
            lambda s: {f"{p}.{k}": v for p in ("a", "b") for k, v in s.items()},
            r"several networks, .*'a\.' and 'b\.'",
        ),
        (lambda s: {"epoch": 3}, "hold no tensors: save them with"),
        (lambda s: [1, 2], r"hold \[1, 2\], no state dictionary"),
        (lambda s: torch.nn.Linear(2, 2), "are no file of tensors alone .*: save them with"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(
    change: Callable[[Any], Any], message: str, tiny: Tiny, tmp_path: Path
) -> None:
    result, state = tiny
    with pytest.raises(DataError, match=message) as refusal:
        znas.deploy(result, saved(change(state), tmp_path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02c", b"\0" * 8 + b"{}", b"text"])
def test_a_file_that_holds_no_tensors_is_one_line(content: bytes, tiny: Tiny, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(content)
    with pytest.raises(DataError, match="are no file of tensors alone"):
        znas.deploy(tiny[0], file)
    with pytest.raises(StorageError, match=r"the weights .*absent\.pt cannot be read"):
        znas.deploy(tiny[0], tmp_path / "absent.pt")


def test_options_that_cannot_be_met_are_one_line(tiny: Tiny) -> None:
    result, state = tiny
    for options, message in (
        ({"opset": 16}, f"`opset` must be between 17 and {newest()} but got 16"),
        ({"dtype": "float64"}, "unknown dtype 'float64'"),
        ({"class_names": ["a", "b"]}, "`class_names` must be 10, as the weights have classes, but are 2"),
        ({"class_names": ["a"] * 10}, "`classes` must differ but 'a' is there twice"),
        ({"data_dir": "nowhere"}, "`data_dir` is not used by gaussian"),
    ):
        with pytest.raises(ZnasError, match=message):
            znas.deploy(result, state, **options)
    huge = state | {"stem.0.weight": state["stem.0.weight"] * 1e7}
    with pytest.raises(InvalidValueError, match=r"finite in float16|overflow in float16"):
        znas.deploy(result, huge, dtype="float16")


def test_other_classes_have_other_names(tiny: Tiny) -> None:
    """The classifier says how many there are; names of the search's are not kept for them."""
    result, state = tiny
    known = Preprocess(
        size=16, channels="RGB", scale=255.0, mean=(0.5,) * 3, std=(0.2,) * 3, classes=tuple("abcdefghij")
    )
    result = replace(result, preprocess=known)
    few = state | {"classifier.weight": state["classifier.weight"][:4], "classifier.bias": torch.ones(4)}
    made = znas.deploy(result, few)
    assert made.macro.classes == 4
    assert made.preprocess.classes is None
    assert "4 classes and the search had 10: their names are left out" in " ".join(made.notes)
    named = znas.deploy(result, few, class_names=["w", "x", "y", "z"])
    assert named.preprocess.classes == ("w", "x", "y", "z")


def test_half_precision_and_new_opsets(tiny: Tiny) -> None:
    result, state = tiny
    whole = znas.deploy(result, state)
    half = znas.deploy(result, state, dtype="float16")
    assert half.check is not None
    assert half.check.difference < 0.02 * half.check.largest
    assert len(half.model) < len(whole.model)
    brain = znas.deploy(result, state, dtype="bfloat16")
    assert brain.check is None
    assert (whole.opset, brain.opset) == (17, 22)
    with suppress(InvalidValueError):  # where onnx is newer than ONNX Runtime
        assert znas.deploy(result, state, opset=newest()).opset == newest()


def test_an_opset_that_onnx_runtime_does_not_read_is_one_line(tiny: Tiny) -> None:
    model = onnx.load_from_string(znas.deploy(*tiny).model)
    model.opset_import[0].version = 1000
    with pytest.raises(
        InvalidValueError, match=r"does not read opset 1000 \(.*: ask for an older one, --opset"
    ):
        runtime(model.SerializeToString(), 1000)


class Other(NasBench201):
    """Its graph is not its trainable network, though the weights have the same names."""

    name = "other"

    def network(self, genotype: NasBench201Genotype, macro: Macro) -> Graph:
        swapped = str(genotype).replace("avg_pool_3x3", "skip_connect")
        return super().network(self.parse(swapped), macro)


def test_a_graph_that_is_not_the_network_is_refused(tiny: Tiny) -> None:
    cell = "|nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_1x1~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_1x1~2|"
    result = replace(tiny[0], space=Other(), genotype=Other().parse(cell))
    with pytest.raises(PluginError, match=r"the space other and its graph differ by .*the same modules"):
        znas.deploy(result, result.to_torch().state_dict())


# --- what images it is checked on ------------------------------------------------------------------------


def test_noise_stands_in_where_the_images_are_gone(run: Path, weights: Path, tmp_path: Path) -> None:
    here = tmp_path / "pictures"
    shutil.copytree(PICTURES / "train", here)
    result = replace(znas.load(run), request=replace(znas.load(run).request, data_dir=here))
    seen = znas.deploy(result, weights, **SIZE)
    assert seen.check is not None
    assert seen.check.images == 300
    assert "the images of the check are those of the search" in " ".join(seen.notes)
    shutil.rmtree(here)
    gone = znas.deploy(result, weights, **SIZE)
    assert gone.check is not None
    assert gone.check.torch is gone.check.onnx is None
    assert "checked on noise, the images of the search are not here: no folder" in " ".join(gone.notes)
    assert gone.model == seen.model


def test_images_have_the_classes_of_the_network_in_any_order(
    run: Path, weights: Path, tmp_path: Path
) -> None:
    """Folders are found by their names: some of them do, others are refused."""
    for name in ("ship", "cat"):
        shutil.copytree(PICTURES / "val" / name, tmp_path / "two" / name)
    two = znas.deploy(run, weights, data_dir=tmp_path / "two", **SIZE).check
    everything = znas.deploy(run, weights, data_dir=PICTURES / "val", **SIZE).check
    assert two is not None
    assert everything is not None
    assert two.images == 40
    assert everything.images == 100
    assert two.torch == two.onnx
    (tmp_path / "two" / "ship").rename(tmp_path / "two" / "boat")
    with pytest.raises(DataError, match=r"the class 'boat' of the images .* is none of the network's"):
        znas.deploy(run, weights, data_dir=tmp_path / "two", **SIZE)


def test_the_committed_pictures_are_cifar10(test_data: Path, tmp_path: Path) -> None:
    script = ROOT / "examples" / "five_classes.py"
    made = tmp_path / "made"
    done = subprocess.run([sys.executable, script, "--data-dir", test_data, "--out", made])
    assert done.returncode == 0
    files = sorted(path.relative_to(made) for path in made.rglob("*.png"))
    assert files == sorted(path.relative_to(PICTURES) for path in PICTURES.rglob("*.png"))
    for file in files:
        assert Image.open(made / file).tobytes() == Image.open(PICTURES / file).tobytes()
