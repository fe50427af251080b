"""Pictures of strangers, as files and in memory."""

from __future__ import annotations

import io
import pickle
import shutil
from random import Random
from typing import Any

import numpy as np

from tests.torture import mutate
from tests.torture.inputs.base import Input


class Cifar(Input):
    """Pickles: what is read has the shapes and labels of CIFAR-10, and nothing is executed."""

    name = "CIFAR batches"

    def make(self, rng: Random) -> bytes:
        draws = np.random.default_rng(rng.getrandbits(32))
        content: dict[Any, Any] = {
            "data": draws.integers(0, 256, (20, 3072), dtype=np.uint8),
            "labels": list(range(10)) * 2,
            "batch_label": "b",
        }
        if rng.random() < 0.4:
            content[rng.choice([*content, "x", b"data"])] = rng.choice(
                [
                    None,
                    self._shared(rng.randint(2, 40)),
                    "x" * 10_000,
                    -1,
                    10**300,
                    [10],
                    [0.5] * 20,
                    {1: {2: 3}},
                    np.zeros((2, 3)),
                    np.zeros((20, 3072), np.int64),
                    list(range(20)),
                    (),
                    set(),
                    b"",
                ]
            )
        raw = pickle.dumps(content, protocol=rng.randint(0, 5))
        if rng.random() < 0.1:
            return self._as_key(rng.randint(2, 60))
        if rng.random() < 0.1:
            raw = pickle.dumps(rng.choice([_Bomb(), [_Bomb()], {"data": _Bomb()}]))
        return raw if rng.random() < 0.3 else mutate.bytes_of(raw, rng)

    def use(self, case: bytes) -> bool:
        from znas_engine.data import load

        (self.folder / "cifar-10-batches-py").mkdir(exist_ok=True)
        self.put("cifar-10-batches-py/data_batch_1", case)
        before = _Bomb.exploded
        data = load("cifar10", data_dir=self.folder)
        batch = data.batch(10, seed=1)
        return (
            _Bomb.exploded == before
            and batch.images.shape == (10, 3, 32, 32)
            and batch.labels is not None
            and 0 <= batch.labels.min() <= batch.labels.max() < 10
        )

    @staticmethod
    def _shared(levels: int) -> Any:
        value: Any = ()
        for _ in range(levels):
            value = (value, value)
        return value

    @staticmethod
    def _as_key(levels: int) -> bytes:
        """Nested pairs, each of one object twice, as a key."""
        return b"\x80\x02}(" + b")" + b"2\x86" * levels + b"K\x01u."


class _Bomb:
    exploded = 0

    @staticmethod
    def explode() -> None:
        _Bomb.exploded += 1

    def __reduce__(self) -> Any:
        return _Bomb.explode, ()


class Pictures(Input):
    """A folder of pictures: what is read equals what Pillow shows."""

    name = "pictures"

    def make(self, rng: Random) -> tuple[str, bytes]:
        from PIL import Image

        size = rng.choice([(8, 8), (9, 5), (1, 30), (16, 16)])
        mode = rng.choice(["RGB", "L", "P", "RGBA", "1", "LA", "CMYK", "I;16"])
        picture = Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1]))
        form = rng.choice(["PNG", "JPEG", "BMP", "WEBP", "PPM", "GIF", "TIFF"])
        into = io.BytesIO()
        try:
            picture.convert(mode).save(into, form)
        except (OSError, ValueError):
            picture.save(into, form)
        data = into.getvalue()
        suffix = rng.choice(["png", "jpg", "JPEG", "bmp", "webp", "ppm", "gif", "tif"])
        return suffix, mutate.bytes_of(data, rng) if rng.random() < 0.8 else data

    def use(self, case: tuple[str, bytes]) -> bool:
        from PIL import Image, ImageOps

        from znas_engine.data import load

        root = self.folder / "pictures"
        shutil.rmtree(root, ignore_errors=True)
        suffix, data = case
        for label in ("a", "b"):
            (root / label).mkdir(parents=True)
            Image.new("RGB", (8, 8), (9, 9, 9)).save(root / label / "plain.png")
        self.put(f"pictures/a/hostile.{suffix}", data)
        said: list[str] = []
        found = load("imagefolder", data_dir=root, resolution=8, report=said.append)
        if suffix in ("gif", "tif"):
            return found.size == 2 and len(said) == 1  # not read, which is said
        batch = found.batch(3, seed=0)
        with Image.open(io.BytesIO(data)) as opened:
            shown = ImageOps.exif_transpose(opened).convert("RGB")
        side = min(shown.size)
        left, top = (shown.width - side) / 2, (shown.height - side) / 2
        small = shown.resize((8, 8), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
        wanted = np.asarray(small, dtype=np.float32).transpose(2, 0, 1)
        mean, std = (np.reshape(v, (3, 1, 1)) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        pixels = (batch.images * std + mean) * 255
        return bool(min(np.abs(pixels - wanted).reshape(3, -1).max(1)) < 0.51)


class Arrays(Input):
    """Images and labels in memory: what is taken is drawn as it was given."""

    name = "arrays"

    def make(self, rng: Random) -> Any:
        draws = np.random.default_rng(rng.getrandbits(32))
        images: Any = draws.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
        labels: Any = np.arange(12) % 3
        match rng.randrange(14):
            case 0:
                images = images.astype(rng.choice(["f4", "f8", "i8", "b1", "c8", "O", "U1", "f2"]))
            case 1:
                images = images[
                    rng.choice([0, slice(0, 0), (..., 0), (..., [0, 1]), (slice(None), slice(0, 3))])
                ]
            case 2:
                labels = labels.astype(rng.choice(["f4", "b1", "O", "U2", "c8", "u8", "i1"]))
            case 3:
                labels[rng.randrange(12)] = rng.choice([-1, 3, 10**6, 2**62])
            case 4:
                labels = rng.choice(
                    [labels[:-1], labels[:, None], None, "labels", 3, labels.tolist(), np.zeros(12, int)]
                )
            case 5:
                images = images.tolist()
            case 6:
                images = images.astype(np.float32) / 255
                images[rng.randrange(12), 0, 0, 0] = rng.choice([np.nan, np.inf, 300.0, -7.0])
            case 7:
                return images
            case 8:
                return rng.choice(
                    [(images,), (images, labels, 1), [], None, {}, "cifar", (None, None), images[:1], 5]
                )
            case 9:
                images = images.transpose(0, 3, 1, 2)
            case 10:
                images = np.ma.masked_array(images, mask=images > 250)
            case 11:
                images = np.broadcast_to(images[:1], images.shape)
            case 12:
                images = images[:, ::-1, ::2]
            case _:
                images = np.zeros_like(images)
        return images, labels

    def use(self, case: Any) -> bool:
        from znas_engine.data import load

        data = load(case)
        batch = data.batch(min(4, data.size), seed=0)
        known = batch.labels is None or bool(
            (batch.labels >= 0).all() and (batch.labels < data.classes).all()
        )
        return known and bool(np.isfinite(batch.images).all()) and batch.images.dtype == np.float32
