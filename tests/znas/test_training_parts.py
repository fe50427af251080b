"""What trainings are made of: recipes, images and their order, what is added to a network, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import znas
from znas.training import checkpoint
from znas.training.augment import cut_out, flipped, jittered, resized_crop, shifted
from znas.training.images import Order, split
from znas.training.learner import one_cycle, schedule
from znas.training.recipe import names, recipe
from znas.training.regularise import Auxiliary, DropPath
from znas_engine.data import load
from znas_engine.errors import DataError, InvalidValueError
from znas_engine.spaces import SPACES

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "examples" / "five-classes"


# --- recipes ----------------------------------------------------------------------------------------------


def test_every_recipe_says_where_it_is_from() -> None:
    found = {name: recipe(name) for name in names()}
    of_spaces = {
        file.stem for name in SPACES.builtin for file in (SPACES.get(name).recipes or PICTURES).glob("*")
    }
    assert set(found) >= {"quick"} | of_spaces
    assert len(of_spaces) >= 3
    for name, one in found.items():
        assert one.name == name
        assert any(year in one.source for year in ("2016", "2018", "2019", "2020", "2021"))
        assert not one.differs or "original" in one.differs


def test_what_was_asked_for_instead_is_said() -> None:
    changed = recipe("quick").changed(epochs=3, lr=None, batch=recipe("quick").batch)
    assert (changed.epochs, changed.lr) == (3, recipe("quick").lr)
    assert changed.differs == "asked for: epochs 3"


GOOD = 'title = "t"\nsource = "s"\nepochs = 2\nbatch = 4\n[optimiser]\nlr = 0.1\n'


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    found = recipe(file)
    assert (found.name, found.epochs, found.lr, found.schedule) == ("mine", 2, 0.1, "constant")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("epochs = 2", "epochs = 0"), "`epochs` must be"),
        (GOOD.replace("epochs = 2\n", ""), "must say `epochs`"),
        (GOOD + "nestorov = true\n", "says 'nestorov' [optimiser]"),
        (GOOD + "[augment]\nflip = true\n", "says 'augment' at its top"),
        (GOOD + "[images]\nflip = 1\n", "`flip` must be True or False"),
        (GOOD + "[images]\ncrop = 1.5\n", "`crop` must be a number from 0 to 1 but got 1.5"),
        (GOOD + '[schedule]\nkind = "step"\n', "step"),
        (GOOD + '[schedule]\nkind = "exponential"\n', "`gamma` goes with the schedule"),
        (GOOD.replace("lr = 0.1", "lr = nan"), "`lr` must be"),
        (GOOD.replace('title = "t"', "title = 3"), "`title` must be text"),
        (GOOD + "[network]\ndrop_path = 1\n", "`drop_path` must be below 1"),
        ("epochs = ", "no TOML"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(DataError) as error:
        recipe(file)
    assert said in str(error.value)
    assert str(file) in str(error.value)


def test_there_is_no_such_recipe() -> None:
    with pytest.raises(InvalidValueError, match="quick"):
        recipe("quik")


def test_learning_rates() -> None:
    """Of every schedule: it begins at or below its largest, which is 1, and ends where its source says."""
    quick = recipe("quick").changed(epochs=10)
    for kind, last in (("cosine", 0.0), ("one-cycle", 0.0), ("constant", 1.0)):
        factor = schedule(quick.changed(schedule=kind), 7)
        values = [factor(step) for step in range(71)]
        assert max(values) == pytest.approx(1.0, abs=0.01)
        assert values[-1] == pytest.approx(last, abs=1e-9)
    assert one_cycle(0.3) == pytest.approx(1.0)
    decay = schedule(recipe("darts-imagenet"), 7)
    assert [decay(step) for step in (0, 6, 7, 14)] == pytest.approx([1, 1, 0.97, 0.97**2])


# --- images -----------------------------------------------------------------------------------------------


def test_shifts_are_windows_of_the_padded_image() -> None:
    torch.manual_seed(0)
    images, beyond = torch.rand(40, 3, 6, 6), torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    found = shifted(images, 2, beyond)
    padded = beyond.expand(40, 3, 10, 10).clone()
    padded[:, :, 2:8, 2:8] = images
    at = []
    for each, source in zip(found, padded, strict=True):
        windows = [
            (i, j) for i in range(5) for j in range(5)
            if torch.allclose(each, source[:, i : i + 6, j : j + 6], atol=1e-6)
        ]  # fmt: skip
        assert len(windows) == 1
        at += windows
    assert len(set(at)) > 10


def test_half_of_the_images_are_flipped() -> None:
    torch.manual_seed(0)
    images = torch.rand(400, 1, 3, 3)
    found = flipped(images)
    same = [torch.equal(a, b) for a, b in zip(found, images, strict=True)]
    back = [torch.equal(a.flip(2), b) for a, b in zip(found, images, strict=True)]
    assert all(a != b for a, b in zip(same, back, strict=True))
    assert 150 < sum(same) < 250


def test_a_square_is_cut_out() -> None:
    torch.manual_seed(0)
    found = cut_out(torch.ones(200, 2, 16, 16), 8)
    holes = (found == 0).all(1).sum((1, 2))
    assert holes.max() == 64
    assert holes.min() >= 16  # a corner
    assert set(found.unique().tolist()) == {0.0, 1.0}


def test_a_window_fills_the_image() -> None:
    """What is one colour stays so; what rises to the right still does."""
    torch.manual_seed(0)
    assert torch.allclose(resized_crop(torch.full((9, 3, 8, 8), 2.0), 0.08), torch.tensor(2.0))
    ramp = torch.arange(8.0).expand(50, 1, 8, 8)
    found = resized_crop(ramp, 0.08)
    assert (found.diff(dim=3) >= -1e-5).all()
    assert found.min() >= 0
    assert found.max() <= 7
    spans = (found.amax((1, 2, 3)) - found.amin((1, 2, 3))).tolist()
    assert min(spans) < 3
    assert max(spans) > 5


@given(most=st.floats(0, 1), seed=st.integers(0, 99))
def test_jitter_keeps_pixels(most: float, seed: int) -> None:
    torch.manual_seed(seed)
    pixels = torch.rand(4, 3, 5, 5)
    found = jittered(pixels, most)
    assert found.min() >= 0
    assert found.max() <= 1
    if most == 0:
        assert torch.allclose(found, pixels, atol=1e-6)


@given(size=st.integers(1, 60), batch=st.integers(1, 20), ranks=st.integers(1, 3), epoch=st.integers(0, 3))
def test_every_image_is_seen_once_an_epoch(size: int, batch: int, ranks: int, epoch: int) -> None:
    if size < ranks:
        return
    seen: list[int] = []
    orders = [Order(size, batch, 5, rank, ranks) for rank in range(ranks)]
    for order in orders:
        order.set_epoch(epoch)
    each = [list(order) for order in orders]
    assert {len(batches) for batches in each} == {len(orders[0])}
    for together in zip(*each, strict=True):
        assert all(together)
        seen += [row for of_rank in together for row in of_rank]
    assert set(seen) == set(range(size))
    if ranks == 1:
        assert len(seen) == size
        assert all(len(batches) <= batch for batches in each[0])


def test_orders_differ_between_epochs_and_seeds() -> None:
    first, other = Order(50, 10, 1), Order(50, 10, 2)
    before = list(first)
    assert before == list(Order(50, 10, 1))
    assert before != list(other)
    first.set_epoch(1)
    assert before != list(first)


def test_a_tenth_is_set_apart() -> None:
    notes: list[str] = []
    dataset = load("imagefolder", data_dir=PICTURES / "train", resolution=8)
    found = split(dataset, None, early=True, seed=0, note=notes.append)
    assert found.stopping is not None
    parts = [found.training.rows, found.judging.rows, found.stopping.rows]
    assert sorted(np.concatenate(parts).tolist()) == list(range(300))
    assert np.bincount(found.judging.labels).tolist() == [6] * 5
    assert "30 of the images are set apart to judge by" in notes[0]


# --- what is added while it is trained ----------------------------------------------------------------------


def darts(cells: int = 3, resolution: int = 32) -> nn.Module:
    space = SPACES.get("darts")
    genotype = space.genotype(space.random_path(np.random.default_rng(0)))
    return znas.network("darts", str(genotype), channels=4, cells=cells, resolution=resolution)


def test_paths_are_dropped_in_training_alone() -> None:
    torch.manual_seed(0)
    network, images = darts(), torch.rand(4, 3, 32, 32)
    paths = DropPath(network)
    network.eval()
    with torch.no_grad():
        before = network(images)
        paths.rate = 0.5
        assert torch.equal(network(images), before)
        network.train()
        assert not torch.equal(network(images), network(images))
        paths.rate = 0.0
        assert torch.equal(network(images), network(images))


def test_the_second_classifier_is_no_part_of_the_network() -> None:
    torch.manual_seed(0)
    network, images = darts(), torch.rand(2, 3, 32, 32)
    keys = set(network.state_dict())
    auxiliary = Auxiliary(network, images, 7)
    assert auxiliary.logits is None
    network.train()(images)
    assert auxiliary.logits is not None
    assert auxiliary.logits.shape == (2, 7)
    assert set(network.state_dict()) == keys
    network.eval()(images)
    assert auxiliary.logits is None


@pytest.mark.parametrize("add", [DropPath, lambda network: Auxiliary(network, torch.rand(2, 3, 32, 32), 10)])
def test_a_network_without_cells_is_refused(add: Any) -> None:
    with pytest.raises(InvalidValueError, match="pass --recipe quick"):
        add(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)))


def test_maps_that_are_too_small_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="7 x 7 or more"):
        Auxiliary(darts(resolution=16), torch.rand(2, 3, 16, 16), 10)


# --- checkpoints ------------------------------------------------------------------------------------------

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
)
TREES = st.recursive(
    LEAVES | st.text(max_size=5) | st.integers(0, 4).map(lambda n: torch.arange(n, dtype=torch.float32)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


@given(tree=TREES)
def test_what_is_saved_comes_back(tree: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.safetensors"
    checkpoint.write(path, tree, {"seed": 3})
    job, found = checkpoint.read(path)
    assert job == {"seed": 3}
    assert same(found, tree)


def test_what_cannot_be_saved_is_said(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="holds no object"):
        checkpoint.write(tmp_path / "x", {"a": object()}, {})
    assert not list(tmp_path.iterdir())


@given(data=st.data())
def test_a_damaged_checkpoint_is_one_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    written = {"w": torch.arange(6.0), "epoch": 3}
    checkpoint.write(path, written, {"seed": 3})
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["cut", "flip"]))
    flipped = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    path.write_bytes(whole[:at] if kind == "cut" else flipped)
    try:
        job, found = checkpoint.read(path)
    except DataError as error:
        assert "move it away" in str(error)  # noqa: PT017
    else:  # another blank between two words
        assert job == {"seed": 3}
        assert same(found, written)
