"""Picture files as viewers show them, decoded by several threads in bounded memory. Needs Pillow."""

from __future__ import annotations

import ctypes
import io
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine import paths
from znas_engine.cores import available_cores
from znas_engine.data.base import short
from znas_engine.errors import DataError, MissingDependencyError

#: Endings of the files that are read, whatever their case.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
#: What they are, in words.
KINDS = ", ".join(suffix[1:] for suffix in SUFFIXES)
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits or fewer per channel
#: Bytes of a picture file, at most: the largest that is decoded, stored as 32 bits per pixel.
LONGEST_FILE = 384 << 20

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM")  # the only decoders that Pillow may try
_MOST_PIXELS = 89_478_485  # Pillow's own limit: 256 MB as 24 bits per pixel
_BYTES_PER_PIXEL = 16  # of the decoder, the picture, and its copies in RGB and turned
_SMALL_FILE = 8 << 20
_MOST_THREADS = 16
_SAMPLED = 64
_KEPT = 32 << 20

#: How the first bytes of files begin that are no picture of ours -> what they are.
_OTHER_CONTENT = (
    (0, b"GIF8", "a GIF"),
    (0, b"II*\0", "a TIFF"),
    (0, b"MM\0*", "a TIFF"),
    (4, b"ftypavif", "an AVIF"),
    (4, b"ftyphei", "a HEIC"),
    (4, b"ftypmif1", "a HEIC"),
    (0, b"\0\0\0\x0cjP", "a JPEG 2000"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"%PDF", "a PDF"),
    (0, b"<", "text, such as an error page or an SVG"),
)


def pillow() -> ModuleType:
    """PIL.Image; MissingDependencyError where it is not installed."""
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingDependencyError(
            "image folders need Pillow: pip install 'znas-engine[vision]'"
        ) from error
    return PIL.Image


def decode(files: Sequence[Path], side: int) -> NDArray[np.uint8]:
    """uint8 [len(files), 3, side, side]: the centre squares; Pillow decodes outside the interpreter's lock.

    Raises DataError, naming the file and the system's reason or what is wrong with it.
    """
    image_module = pillow()
    pixels = np.empty((len(files), 3, side, side), dtype=np.uint8)
    # Around the threads, not inside them: the warning filters belong to the whole process.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(_MOST_THREADS, available_cores())) as pool:
        warnings.simplefilter("ignore", image_module.DecompressionBombWarning)  # the size is checked here
        warnings.filterwarnings("ignore", message="Palette images with Transparency|.*[Cc]orrupt EXIF")
        decoded = pool.map(lambda path: _decode_one(image_module, path, side), files)
        for slot, picture in zip(pixels, decoded, strict=True):
            slot[...] = picture
    return pixels


def sizes(files: Sequence[Path]) -> NDArray[np.int64]:
    """int64 [n, 2]: width and height of the pictures, of which only the headers are looked at.

    Of many, `_SAMPLED` that are spread evenly. What is no small sound picture is left out: `decode` says what
    is wrong with it, if anything, when it is drawn.
    """
    image_module = pillow()
    step = -(-len(files) // _SAMPLED) or 1
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", image_module.DecompressionBombWarning)
        for path in files[::step]:
            with suppress(DataError), _named(path):
                raw = _read(path, _SMALL_FILE)
                _check_pixels(path, webp := _webp_pixels(raw))
                with _MEMORY.take(webp * _BYTES_PER_PIXEL), _opened(image_module, path, raw) as picture:
                    found.append(picture.size)
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def as_shown(picture: Any) -> Any:
    """A Pillow picture in RGB as viewers show it: turned as its EXIF data say, on white where it is
    transparent. An animated one is its first frame."""
    image_module = pillow()
    picture.load()
    colours = picture
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        layers = picture.convert("RGBA")
        opacity = layers.getchannel("A")
        if opacity.getextrema()[0] < 255:
            colours = image_module.new("RGB", picture.size, "white")
            colours.paste(layers, mask=opacity)
        del layers, opacity
    if colours.mode != "RGB":
        colours = colours.convert("RGB")
    turn = _turn(picture, image_module)
    return colours if turn is None else colours.transpose(turn)


class _Budget:
    """Bytes that all decoders of the process share; who needs more waits for the others."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._left = total
        self._changed = threading.Condition()

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """`amount` bytes, or all there are: then nobody else decodes."""
        taken = min(amount, self.total)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= taken)
            self._left -= taken
        try:
            yield
        finally:
            if taken > _KEPT:
                _give_back()
            with self._changed:
                self._left += taken
                self._changed.notify_all()


_MEMORY = _Budget(1 << 30)


def _give_back() -> None:
    """The C library keeps what a thread has freed, for that thread: 16 of them keep 16 pictures."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:  # glibc; others give it back by themselves
        trim(0)


def _decode_one(image_module: ModuleType, path: Path, side: int) -> NDArray[np.uint8]:
    """uint8 [3, side, side]: the centre square of the picture at `path`."""
    size = paths.status(path, "the picture", DataError).st_size
    with _named(path):
        if size > _SMALL_FILE:
            # All of the budget from the start: two that wait for more while they hold some wait for ever.
            with _MEMORY.take(_MEMORY.total):
                return _square(_opened(image_module, path, _read(path, LONGEST_FILE)), image_module, side)
        raw = _read(path, _SMALL_FILE)
        if webp := _webp_pixels(raw):  # its decoder makes room when it is opened
            _check_pixels(path, webp)
            with _MEMORY.take(webp * _BYTES_PER_PIXEL):
                return _square(_opened(image_module, path, raw), image_module, side)
        picture = _opened(image_module, path, raw)
        with _MEMORY.take(picture.width * picture.height * _BYTES_PER_PIXEL):
            return _square(picture, image_module, side)


def _read(path: Path, limit: int) -> bytes:
    """The file, unless its content is that of another format."""
    raw = paths.read(path, "the picture", limit=limit, error=DataError)
    if not raw:
        raise DataError(f"cannot decode {short(path)} (it is empty): put a sound copy in its place")
    for at, begins, what in _OTHER_CONTENT:
        if raw.startswith(begins, at):
            raise DataError(f"cannot decode {short(path)} (it is {what}): save it as png or jpg")
    return raw


def _opened(image_module: ModuleType, path: Path, raw: bytes) -> Any:
    """The picture, of which only the header was looked at."""
    try:
        picture = image_module.open(io.BytesIO(raw), formats=_FORMATS)
    except image_module.DecompressionBombError:  # twice as many as are allowed, or more
        _check_pixels(path, 2 * _MOST_PIXELS)
    _check_pixels(path, picture.width * picture.height)
    if picture.mode not in MODES:
        raise DataError(f"{short(path)} has pixels of mode {picture.mode}: save it with 8 bits per channel")
    return picture


def _webp_pixels(raw: bytes) -> int:
    """How many pixels a WebP file claims to have; 0 for other files."""
    if raw[:4] != b"RIFF" or raw[8:12] != b"WEBP":
        return 0
    if raw[12:16] == b"VP8X":
        width, height = (int.from_bytes(raw[at : at + 3], "little") + 1 for at in (24, 27))
    elif raw[12:16] == b"VP8L":
        both = int.from_bytes(raw[21:25], "little")
        width, height = (both & 0x3FFF) + 1, (both >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(raw[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return max(1, width * height)


def _check_pixels(path: Path, pixels: int) -> None:
    if pixels > _MOST_PIXELS:
        limit = f"more than {_MOST_PIXELS:,} pixels"
        raise DataError(f"{short(path)} is refused: it unfolds into {limit}; make it smaller")


def _square(picture: Any, image_module: ModuleType, side: int) -> NDArray[np.uint8]:
    try:
        colours = as_shown(picture)
        width, height = colours.size
        square = min(width, height)
        left, top = (width - square) / 2, (height - square) / 2
        # Crop and resize in one step: resizing a 1 x 80,000,000 picture first would not fit in memory.
        resized = colours.resize(
            (side, side),
            resample=image_module.Resampling.BILINEAR,
            box=(left, top, left + square, top + square),
        )
    finally:
        picture.close()  # it refers to itself: without this its pixels stay until the next collection
    return np.asarray(resized, dtype=np.uint8).transpose(2, 0, 1)


def _turn(picture: Any, image_module: ModuleType) -> Any:
    """The transposition that its EXIF orientation asks for; None without, and where that cannot be read:
    viewers show such a picture as it is stored."""
    try:
        orientation = picture.getexif().get(0x0112)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - SyntaxError, struct.error, ...: EXIF is a file within the file
        return None
    turns = image_module.Transpose
    return {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(orientation if isinstance(orientation, int) else 1)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a picture, as one line that names it and why."""
    try:
        yield
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"there is not enough memory to decode {short(path)}: make it smaller") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"the picture {short(path)} cannot be read ({paths.reason(error)})") from error
        way_out = "put a sound copy in its place or move it elsewhere"
        raise DataError(f"cannot decode {short(path)} ({type(error).__name__}): {way_out}") from error
