"""Arrays and PyTorch data sets as data: every layout, dtype and label, and what is refused in one line."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_arrays
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset, TensorDataset

from znas_engine.data import load, mapstyle
from znas_engine.data.arrays import Arrays
from znas_engine.data.pixels import resize
from znas_engine.errors import DataError, InvalidValueError, ZnasError
from znas_engine.testing import DataContract


def pictures(count: int = 40, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *(shape or (3, 8, 8))), dtype=np.uint8)


def labels(count: int = 40, classes: int = 4) -> np.ndarray:
    return np.arange(count) % classes


def everything(dataset: Any) -> np.ndarray:
    images: np.ndarray = dataset.batch(dataset.size, seed=0).images
    return images


# --------------------------------------------------------------------------- what comes out


def test_attributes_and_a_balanced_batch() -> None:
    dataset = load((pictures(), labels()))
    assert (dataset.name, dataset.classes, dataset.resolution, dataset.labelled) == ("arrays", 4, 8, True)
    assert (dataset.size, dataset.channels) == (40, 3)
    batch = dataset.batch(10, seed=3)
    assert batch.images.shape == (10, 3, 8, 8)
    assert batch.labels is not None
    assert sorted(np.bincount(batch.labels).tolist()) == [2, 2, 3, 3]


def test_an_image_keeps_its_label() -> None:
    images = np.zeros((40, 1, 4, 4), np.uint8) + labels()[:, None, None, None].astype(np.uint8)
    batch = load((images, labels())).batch(23, seed=1)
    assert batch.labels is not None
    shown = batch.images.reshape(23, -1)
    assert (shown == shown[:, :1]).all()
    _, ranks = np.unique(shown[:, 0], return_inverse=True)
    np.testing.assert_array_equal(ranks, batch.labels)


def test_without_labels_every_image_is_drawn_once_and_a_small_draw_begins_a_larger_one() -> None:
    dataset = load(pictures())
    assert (dataset.labelled, dataset.classes) == (False, 10)
    batch = dataset.batch(40, seed=0)
    assert batch.labels is None
    assert len({image.tobytes() for image in batch.images}) == 40
    np.testing.assert_array_equal(dataset.batch(9, seed=0).images, batch.images[:9])
    assert dataset.batch(9, seed=1).digest() != dataset.batch(9, seed=0).digest()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, ">f4"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_channel_has_its_own_mean_and_deviation(dtype: Any, channels: int) -> None:
    images = (pictures(60, channels, 9, 9) // np.array([1, 2, 5])[:channels, None, None]).astype(dtype)
    shown = everything(load(images, channels_in=channels)).astype(np.float64)
    np.testing.assert_allclose(shown.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(shown.std((0, 2, 3)), 1, atol=1e-6)


def test_the_range_of_the_values_does_not_matter() -> None:
    whole = pictures()
    parts = whole.astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(everything(load(whole)), everything(load(parts)), atol=1e-5)


@given(
    hypothesis_arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.just(3), st.integers(4, 7), st.integers(4, 7)),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_any_float_image_is_finite_and_scaled_or_refused(images: np.ndarray) -> None:
    side = min(images.shape[2:])
    top, left = (images.shape[2] - side) // 2, (images.shape[3] - side) // 2
    squares = images[:, :, top : top + side, left : left + side]
    if not np.isfinite(squares).all():
        with pytest.raises(InvalidValueError, match=r"image \d+ holds NaN or infinity$"):
            load(images)
        return
    constant = squares.min((0, 2, 3)) == squares.max((0, 2, 3))
    if constant.all():
        with pytest.raises(InvalidValueError, match="all their pixels are alike"):
            load(images)
        return
    shown = everything(load(images)).astype(np.float64)
    assert np.isfinite(shown).all()
    assert (shown[:, constant] == 0).all()
    np.testing.assert_allclose(shown[:, ~constant].std((0, 2, 3)), 1, rtol=1e-3)


def test_the_array_that_was_given_may_change_afterwards() -> None:
    images = pictures()
    dataset = load(images)
    before = dataset.batch(8, seed=0).digest()
    images[:] = 0
    assert dataset.batch(8, seed=0).digest() == before


def test_a_read_only_view_of_what_may_change_is_copied_too() -> None:
    images = pictures()
    view = images.view()
    view.flags.writeable = False
    dataset = load(view)
    before = dataset.batch(9, seed=0).digest()
    images[:] = 0
    assert dataset.batch(9, seed=0).digest() == before


@pytest.mark.parametrize("side", [8, 200])
def test_memory_does_not_grow_with_the_pixels_of_an_image(side: int) -> None:
    """Whatever is looked at at a time, in float64, is a few of the images where they are large."""
    images = np.random.default_rng(0).integers(0, 256, (96, side, side, 3), dtype=np.uint8)
    images.flags.writeable = False
    tracemalloc.start()
    load(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 512 * 32 * 32 * 3 * 8 * 4


def test_booleans_are_two_classes() -> None:
    two = labels() > 1
    assert (
        load((pictures(), two)).batch(9, seed=0).digest()
        == load((pictures(), two * 1)).batch(9, seed=0).digest()
    )


def test_a_set_that_reads_slowly_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapstyle, "_PATIENCE", 0.0)
    said: list[str] = []
    load(Custom([*pictures(4)]), report=said.append)
    assert len(said) == 1
    assert re.fullmatch(r"reading 4 items of Custom, about \d+ seconds", said[0])


def test_a_file_in_place_gives_the_same_batches(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pictures())
    dataset = load((np.load(tmp_path / "x.npy", mmap_mode="r"), labels()))
    assert isinstance(dataset, Arrays)
    assert not dataset._squares.flags.owndata  # still the file's
    same = load((pictures(), labels()))
    assert dataset.origin == same.origin
    assert dataset.batch(8, seed=0).digest() == same.batch(8, seed=0).digest()


# --------------------------------------------------------------------------- layout, size, channels


def test_both_layouts_are_one_data_set() -> None:
    first = load((pictures(), labels()))
    last = load((pictures().transpose(0, 2, 3, 1), labels()))
    assert first.origin == last.origin
    assert first.batch(9, seed=2).digest() == last.batch(9, seed=2).digest()


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 8, 3), (1, 8, 3), (3, 8, 1), (1, 1, 1)])
def test_an_ambiguous_layout_is_said_by_the_caller(shape: tuple[int, ...]) -> None:
    images = pictures(5, *shape)
    with pytest.raises(InvalidValueError, match=r'may be NCHW or NHWC: say which .*layout="NCHW"\)$'):
        load(images)
    for layout, axes in (("NCHW", shape), ("NHWC", (shape[2], *shape[:2]))):
        dataset = Arrays(images, layout=layout)
        assert dataset.resolution == min(axes[1:])
        assert f" {axes[0]} x {axes[1]} x {axes[2]}," in dataset.origin


def test_the_centre_square_is_used() -> None:
    wide = pictures(10, 3, 6, 11)
    np.testing.assert_array_equal(everything(load(wide)), everything(load(wide[..., 2:8].copy())))
    assert load(wide).resolution == 6


@pytest.mark.parametrize(("size", "side"), [(32, 16), (32, 7), (9, 20), (5, 1), (8, 8)])
def test_resizing_is_pillows_bilinear(size: int, side: int) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    square = np.random.default_rng(size).standard_normal((size, size)).astype(np.float32)
    theirs = np.asarray(image_module.fromarray(square).resize((side, side), image_module.Resampling.BILINEAR))
    np.testing.assert_allclose(resize(square.astype(np.float64), side), theirs, atol=1e-5)


def test_resolution() -> None:
    assert everything(load(pictures(), resolution=5)).shape == (40, 3, 5, 5)
    with pytest.raises(InvalidValueError, match="`resolution` must be at least 1 but got 0"):
        load(pictures(), resolution=0)


def test_one_channel_is_repeated_or_stays_one() -> None:
    grey = pictures(20, 1, 8, 8)
    one, three = load(grey, channels_in=1), load(grey)
    assert (one.channels, three.channels) == (1, 3)
    assert everything(one).shape == (20, 1, 8, 8)
    np.testing.assert_array_equal(everything(three), np.repeat(everything(one), 3, axis=1))


def test_colours_become_their_luminance() -> None:
    colours = pictures().astype(np.float32)
    red, green, blue = colours.transpose(1, 0, 2, 3)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = everything(load(luminance[:, None], channels_in=1))
    np.testing.assert_allclose(everything(load(colours, channels_in=1)), expected, atol=1e-5)


@pytest.mark.parametrize("channels_in", [0, 2, 4])
def test_other_numbers_of_channels_are_refused(channels_in: int) -> None:
    with pytest.raises(InvalidValueError, match=rf"must be 1 \(grey\) or 3 for arrays but got {channels_in}"):
        load(pictures(), channels_in=channels_in)


# --------------------------------------------------------------------------- labels


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4"])
def test_labels_of_every_integer_dtype(dtype: str) -> None:
    same = load((pictures(), labels()))
    dataset = load((pictures(), labels().astype(dtype)))
    assert dataset.origin == same.origin
    assert dataset.batch(9, seed=0).digest() == same.batch(9, seed=0).digest()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_any_labels_are_used_in_full_or_refused(drawn: list[int]) -> None:
    images = pictures(max(2, len(drawn)))[: len(drawn)]
    highest, present = max(drawn), set(drawn)
    if highest == 0 or len(present) <= highest:
        with pytest.raises(InvalidValueError, match=r"must name 2 classes or more|without a gap"):
            load((images, np.array(drawn)))
    else:
        assert load((images, np.array(drawn))).classes == highest + 1
    told = Arrays(images, np.array(drawn), classes=7)
    batch = told.batch(len(present), seed=0)
    assert told.classes == 7
    assert batch.labels is not None
    assert set(batch.labels.tolist()) == present


@pytest.mark.parametrize(
    ("given_labels", "message"),
    [
        (labels() - 1, "`labels` must be between 0 and 2**31 - 1 but got -1"),
        (labels().astype("u8") + 2**63, "between 0 and 2**31 - 1 but got 92233720368547758"),
        (labels().astype(float), "integers [40] but got float64 [40]: convert them, labels.astype(np.int64)"),
        (labels(39), "`labels` must be integers [40] but got int64 [39]"),
        (
            np.eye(40, 4, dtype=int),
            "integers [40] but got int64 [40, 4]: give the class of each image, labels.argm",
        ),
        (labels() * 0, "`labels` must name 2 classes or more but all are 0: drop them, data=images"),
        (np.ma.masked_less(labels(), 2), "`labels` must have no mask: fill the masked array"),
        (labels() + 1, "`labels` reach 4 but none is 0: number the classes from 0 without a gap, or tell"),
        (labels() * 10**8, "`labels` reach 300000000 but none is 1: number"),
        (labels().tolist(), "`labels` must be a NumPy array but got list"),
        (labels().astype(complex), "integers [40] but got complex128 [40]: convert them"),
        (labels().astype(object), "integers [40] but got object [40]: convert them"),
        (labels().astype(str), "integers [40] but got <U21 [40]: convert them"),
        (np.datetime64(0, "s") + labels(), "integers [40] but got datetime64[s] [40]: convert them"),
        (np.zeros(0, int), "`labels` must be integers [40] but got int64 [0]"),
        (np.int64(3), "`labels` must be integers [40] but got int64 []"),
    ],
)
def test_labels_that_are_refused(given_labels: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(message)):
        load((pictures(), given_labels))


def test_classes_that_are_told() -> None:
    assert Arrays(pictures(), classes=7).classes == 7
    with pytest.raises(InvalidValueError, match="`classes` must be 4 or more, as labels are, but got 3"):
        Arrays(pictures(), labels(), classes=3)
    with pytest.raises(InvalidValueError, match="`classes` must be 2 or more but got 1"):
        Arrays(pictures(), classes=1)


def test_an_exhausted_class_is_named() -> None:
    few = np.array([0] * 36 + [1] + [2] * 3)
    with pytest.raises(InvalidValueError, match="class 1 of arrays has only 1 images"):
        load((pictures(), few)).batch(40, seed=0)


# --------------------------------------------------------------------------- images that are refused


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (pictures().astype(np.float64), "must be uint8 or float32 but got float64: convert them"),
        (pictures().astype(np.int64), "must be uint8 or float32 but got int64"),
        (pictures() > 9, "must be uint8 or float32 but got bool"),
        (np.array(["a"]), "must be uint8 or float32 but got <U1"),
        (pictures().astype(complex), "must be uint8 or float32 but got complex128"),
        (pictures().astype(object), "must be uint8 or float32 but got object"),
        (pictures().astype(np.float16), "must be uint8 or float32 but got float16"),
        (np.zeros(4, [("a", "u1")]), "must be uint8 or float32 but got [('a', 'u1')]"),
        (np.zeros((), "u1"), "none of them 0, but got []"),
        (np.zeros((2, 3, 1, 4, 4), "u1"), "none of them 0, but got [2, 3, 1, 4, 4]"),
        (np.zeros(0, "f4"), "none of them 0, but got [0]"),
        (pictures(4, 8, 8), "but got [4, 8, 8]: pass images[:, None] if they are grey"),
        (pictures(4, 4, 8, 8), "with 1 or 3 channels C but got [4, 4, 8, 8]"),
        (pictures(4, 8, 8, 4), "with 1 or 3 channels C but got [4, 8, 8, 4]"),
        (pictures(0, 3, 8, 8), "none of them 0, but got [0, 3, 8, 8]"),
        (pictures(2, 3, 0, 8), "none of them 0, but got [2, 3, 0, 8]"),
    ],
)
def test_images_that_are_refused(images: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(message)):
        load(images)


def test_a_value_that_is_not_finite_is_located() -> None:
    images = np.random.default_rng(0).standard_normal((1200, 3, 4, 4), dtype=np.float32)
    images[1100, 1, 2, 3] = np.inf
    with pytest.raises(InvalidValueError, match="`images` must be finite but image 1100 holds NaN or inf"):
        load(images)


def test_a_layout_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="unknown layout 'HWC'"):
        Arrays(pictures(), layout="HWC")
    with pytest.raises(InvalidValueError, match=r"with 1 or 3 channels C but got \[40, 3, 8, 8\]"):
        Arrays(pictures(), layout="NHWC")


# --------------------------------------------------------------------------- the same elsewhere, told apart


def labelled() -> tuple[np.ndarray, np.ndarray]:
    return pictures(), labels()


class TestLabelled(DataContract):
    data = labelled

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"resolution": 5, "channels_in": 1}


class TestUnlabelled(DataContract):
    data = pictures


def test_origins_tell_arrays_apart() -> None:
    base, pixel, label = pictures(), pictures(), labels()
    pixel[17, 2, 3, 4] ^= 1
    label[[3, 4]] = label[[4, 3]]
    origins = {
        load(asked).origin
        for asked in (
            (base, labels()),
            (base, label),
            (pixel, labels()),
            (base[::-1], labels()[::-1]),
            base,
            base.astype(np.float32),
            base.reshape(40, 3, 4, 16),
        )
    }
    assert len(origins) == 7
    assert re.fullmatch(
        r"40 images of 4 classes, uint8 3 x 8 x 8, in memory \([0-9a-f]{12}\)", load((base, labels())).origin
    )


# --------------------------------------------------------------------------- PyTorch


class Custom(TorchDataset[Any]):
    """A map-style data set over a list of items."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def digest(dataset: Any) -> str:
    found: str = dataset.batch(9, seed=4).digest()
    return found


def test_a_tensor_dataset_is_its_arrays() -> None:
    theirs = TensorDataset(torch.as_tensor(pictures()), torch.as_tensor(labels()))
    dataset = load(theirs)
    assert dataset.name == "TensorDataset"
    assert dataset.origin == load((pictures(), labels())).origin
    assert digest(dataset) == digest(load((pictures(), labels())))
    unlabelled = load(TensorDataset(torch.as_tensor(pictures())))
    assert not unlabelled.labelled
    assert digest(unlabelled) == digest(load(pictures()))
    small = load(theirs, resolution=5, channels_in=1).batch(9, seed=4)
    assert small.images.shape == (9, 1, 5, 5)


def test_tensors_in_place_of_arrays() -> None:
    images, numbers = torch.as_tensor(pictures()), torch.as_tensor(labels())
    assert digest(load((images, numbers))) == digest(load((pictures(), labels())))
    assert digest(load(images)) == digest(load(pictures()))
    grown = images.float().requires_grad_()
    assert digest(load(grown)) == digest(load(pictures().astype(np.float32)))
    with pytest.raises(InvalidValueError, match="`images` cannot be read as a NumPy array"):
        load(images.bfloat16())


def test_items_of_every_kind_are_the_same_pictures() -> None:
    image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    last = pictures().transpose(0, 2, 3, 1)
    expected = digest(load((pictures(), labels())))
    kinds: list[Any] = [
        [(torch.as_tensor(x), int(y)) for x, y in zip(pictures(), labels(), strict=True)],
        [(x, y) for x, y in zip(pictures(), labels(), strict=True)],
        [[x, torch.tensor(y)] for x, y in zip(last, labels(), strict=True)],
        [(image_module.fromarray(x), int(y)) for x, y in zip(last, labels(), strict=True)],
        [(image_module.fromarray(x).convert("RGBA"), int(y)) for x, y in zip(last, labels(), strict=True)],
    ]
    for items in kinds:
        assert digest(load(Custom(items))) == expected


def test_grey_items_of_every_kind() -> None:
    image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    grey = pictures(20, 8, 8)
    expected = digest(load(grey[:, None], channels_in=1))
    for items in (
        list(grey),
        [torch.as_tensor(x) for x in grey],
        [x[..., None] for x in grey],
        [image_module.fromarray(x) for x in grey],
        [image_module.fromarray(x).convert("LA") for x in grey],
    ):
        assert digest(load(Custom(items), channels_in=1)) == expected


def test_a_tensor_is_channels_first_where_it_could_be_either() -> None:
    images = pictures(10, 3, 4, 3)
    expected = digest(Arrays(images, layout="NCHW"))
    assert digest(load(TensorDataset(torch.as_tensor(images)))) == expected
    with pytest.raises(InvalidValueError, match="may be NCHW or NHWC"):
        load(Custom(list(images)))


class Unreadable(Custom):
    def __getitem__(self, index: int) -> Any:
        if index == 3:
            raise OSError("no such picture\nat all")
        return super().__getitem__(index)


class Negative(Custom):
    def __len__(self) -> int:
        return -1


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield torch.zeros(3, 8, 8)


class Vast(Custom):
    def __len__(self) -> int:
        return 2**62


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise KeyError("a")

    def __getitem__(self, index: int) -> Any:
        return X

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise KeyError("x")


@pytest.mark.parametrize(
    "argument", [{"images": Mute()}, {"seed": Mute()}, {"images": 10**5000}, {"seed": 10**6000}]
)
def test_arguments_that_cannot_be_shown(argument: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=r"`(images|seed)` must be .* but got"):
        load((pictures(), labels())).batch(**{"images": 2, "seed": 0} | argument)


@pytest.mark.parametrize("options", [{"resolution": 2**70}, {"resolution": 10**9}, {"channels_in": 2**70}])
def test_more_than_can_be_addressed(options: dict[str, int]) -> None:
    with pytest.raises(InvalidValueError, match="pixels do not fit into memory: ask for fewer"):
        load("gaussian", **options).batch(2, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", [Mute(), (pictures(), Mute()), (Mute(), None)])
def test_arrays_that_cannot_be_read(asked: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"`(images|labels)` cannot be read as a NumPy array"):
        load(asked)


X, OTHER = pictures(1)[0], pictures(1, 3, 9, 9)[0]


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (Custom([]), "Custom is empty: give it at least one image"),
        (Stream(), "Stream has no length: only map-style data sets"),
        (Unreadable([X] * 9), "item 3 of Unreadable cannot be read (OSError: no such picture)"),
        (Custom([X, OTHER]), "item 1 of Custom is uint8 [3, 9, 9] but the first uint8 [3, 8, 8]: give all"),
        (Custom([X, X.astype("f4")]), "item 1 of Custom is float32 [3, 8, 8] but the first uint8 [3, 8, 8]"),
        (Custom([(X, 0), (X,)]), "item 1 of Custom has no label, unlike those before it"),
        (Custom([X, (X, 0)]), "item 1 of Custom has a label, unlike those before it"),
        (Custom([(X, 0, 1)]), "item 0 of Custom has 3 parts: return (image, label), or an image"),
        (Custom([(X, 0.5)]), "the label of item 0 of Custom must be a whole number but is 0.5"),
        (Custom([(X, "cat")]), "the label of item 0 of Custom must be a whole number but is 'cat'"),
        (
            Custom([(X, np.zeros((2, 4)))]),
            "the label of item 0 of Custom must be a whole number but is ndarray [2, 4]",
        ),
        (Custom([(X, "\n" * 999)]), "the label of item 0 of Custom must be a whole number but is '"),
        (
            [pictures(4), labels(4)],
            "item 0 of list is [4, 3, 8, 8]: give arrays as one array or a pair (images,",
        ),
        (
            Custom([torch.zeros((3, 8, 8), dtype=torch.bfloat16)]),
            "item 0 of Custom cannot be read as a NumPy array",
        ),
        (
            Custom([torch.zeros((3, 8, 8), device="meta")]),
            "item 0 of Custom cannot be read as a NumPy array (",
        ),
        (Vast([X]), "images of Vast do not fit into memory: give fewer, or a Dataset of your own"),
        (
            Custom([(X, Mute())]),
            "label of item 0 of Custom must be a whole number but is an object of Mute",
        ),
        (Negative([X]), "Negative has no length: only map-style data sets"),
        (Custom([{"image": X}]), "item 0 of Custom is dict: return (image, label) or an image"),
        (Custom([np.zeros(3, "f4")]), "item 0 of Custom must be [H, W], [C, H, W] or [H, W, C] but is [3]"),
        (Custom([X.astype(float)]), "`images` must be uint8 or float32 but got float64"),
    ],
)
def test_what_a_map_style_set_may_not_do(theirs: Any, message: str) -> None:
    with pytest.raises(ZnasError, match=re.escape(message)) as caught:
        load(theirs)
    assert "\n" not in str(caught.value)


def test_sixteen_bits_per_channel_are_refused() -> None:
    image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    deep = image_module.fromarray(np.full((8, 8), 40_000, dtype=np.uint16))
    with pytest.raises(DataError, match="item 0 of Custom has pixels of mode I;16: give it 8 bits"):
        load(Custom([deep]))


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, numpy as np; from znas_engine.data import load\n"
        "x = np.random.default_rng(0).random((8, 8, 8, 3), dtype=np.float32)\n"
        "load((x, np.arange(8) % 2)).batch(4, seed=0); load(list(x)).batch(4, seed=0)\n"
        "assert not {'torch', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_way_out_of_labels_with_two_dimensions_keeps_them() -> None:
    column, one_hot = labels()[:, None], np.eye(4)[labels()]
    np.testing.assert_array_equal(column[:, 0], one_hot.argmax(1))
    for wrong, way in ((column, "labels[:, 0]"), (one_hot, "labels.argmax(1)")):
        with pytest.raises(InvalidValueError) as refused:
            load((pictures(), wrong))
        assert str(refused.value).endswith(way)
