"""A supernet that sees the images smaller than the network that is handed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import znas
from znas.output import text
from znas.setup import Setup
from znas_engine.data import Batch, Dataset, load
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import get_space

pytestmark = pytest.mark.ours

TINY: dict[str, Any] = {
    **{"preset": "naswot", "p": 0.0, "images": 8, "supernet_channels": 4, "supernet_cells": 1},
    **{"network_channels": 4, "network_cells": 1},
}


def arrays(side: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (24, side, side, 3), dtype=np.uint8), np.arange(24) % 3


def pictures(folder: Path, side: int) -> Path:
    rng = np.random.default_rng(0)
    for number in range(12):
        path = folder / f"class_{number % 3}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    return folder


class OneSize(Dataset):
    """Images that come at 16 pixels, whatever is asked for."""

    name, classes, resolution, labelled, size = "one_size", 2, 16, False, 64
    origin = "noise of one size"

    def _draw(self, images: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        return Batch(rng.standard_normal((images, 3, 16, 16), dtype=np.float32), None)


def test_scores_are_those_at_that_size_and_all_else_is_at_the_images(tmp_path: Path) -> None:
    small = znas.search(**TINY, resolution=8)
    result = znas.search(**TINY, resolution=16, supernet_resolution=8, max_flops="100%")
    assert [edge.operations for edge in result.edges] == [edge.operations for edge in small.edges]
    assert (result.supernet.resolution, result.macro.resolution) == (8, 16)
    network = result.space.network(result.genotype, result.macro)
    assert (result.params, result.flops) == (network.parameters, network.flops)
    assert network.nodes[0].shape == (3, 16, 16)
    assert result.limits[0].value == network.flops
    assert result.preprocess is not None
    assert result.preprocess.size == 16
    assert "scored at 8 of 16 pixels" in text.render(result.document().parts)
    assert "scored at" not in text.render(small.document().parts)
    again = znas.load(result.save(tmp_path / "run"))
    assert again.request.supernet_resolution == 8
    assert again.supernet == result.supernet


def test_the_data_read_their_own_images_at_that_size(tmp_path: Path) -> None:
    """The same pictures as are drawn from data of that size, not those of the other size made smaller."""
    folder = pictures(tmp_path / "pictures", 24)
    for data in ({"data": arrays(16)}, {"data_dir": folder}, {"data_dir": folder, "channels_in": 1}):
        setup = Setup(znas.Request(**TINY, **data, supernet_resolution=8))
        alone = Setup(znas.Request(**TINY, **data, resolution=8))
        assert setup.pictures.resolution in (16, 24)
        (seen,), (expected,) = setup.environments, alone.environments
        assert seen.batch.digest() == expected.batch.digest()
        assert setup.conditions().origin == setup.pictures.origin


def test_images_at_hand_are_those_of_the_request() -> None:
    asked = znas.Request(**TINY, data=arrays(16))
    first = Setup(asked)
    assert Setup(first.at_hand(asked)).pictures is first.pictures
    smaller = znas.Request(**TINY, data=arrays(16), supernet_resolution=8)
    second = Setup(smaller)
    again = Setup(second.at_hand(smaller))
    assert (again.pictures, again.dataset) == (second.pictures, second.dataset)
    assert (again.macro.resolution, again.trained.resolution) == (8, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 8, "supernet_resolution": 16}, "must be at most the 8 pixels of the data but got 16"),
        ({"supernet_resolution": 0}, "`supernet_resolution` must be between 1 and 8,192 but got 0"),
        (
            {"data": OneSize(), "supernet_resolution": 8},
            "must be the 16 pixels of the data, which come in one size, but got 8: pass --supernet-resol",
        ),
    ],
)
def test_what_cannot_be_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message) as refused:
        znas.search(**TINY | options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("side", "asked", "seen"), [(32, None, 32), (128, None, 96), (128, 128, 128)])
def test_a_preset_says_the_largest(side: int, asked: int | None, seen: int) -> None:
    """That of `mobilenet` is 96: smaller images stay as they are, and what is asked for counts."""
    setup = Setup(znas.Request(space="mobilenet", resolution=side, supernet_resolution=asked))
    assert (setup.macro.resolution, setup.trained.resolution) == (seen, side)
    settled = Setup(setup.request.settled())  # what asks for its preset's value gets the same
    assert settled.macro == setup.macro


def test_a_score_of_architectures_is_at_that_size_too() -> None:
    arch = str(get_space("nasbench201").parse([3] * 6))
    asked = {name: value for name, value in TINY.items() if name not in ("p", "network_channels")}
    asked |= {"architectures": [arch], "references": 0, "resolution": 16}
    found = znas.score(**asked, supernet_resolution=8)
    assert (found.supernet.resolution, found.macro.resolution) == (8, 16)
    (row,), (other,) = found.rows, znas.score(**asked).rows
    assert row.flops == other.flops
    assert row.values != other.values


def test_identity_of_the_data_is_that_of_what_is_seen() -> None:
    setup = Setup(znas.Request(**TINY, data=arrays(16), supernet_resolution=8))
    assert setup.dataset.identity == load(arrays(16), resolution=8).identity
