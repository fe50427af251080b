"""A batch in chunks of images, smaller ones where a device's memory is full."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from znas_engine.errors import DeviceMemoryError
from znas_engine.supernet.normalisation import chunks

T = TypeVar("T")


class Chunked:
    """Runs something over all images; safe to call from several threads.

    size: images that go through the network together, at first. report: told when it is halved.
    """

    def __init__(self, size: int, report: Callable[[str], None]) -> None:
        self.size = size
        self.report = report
        self.lock = Lock()

    def __call__(self, run: Callable[[slice], T], images: int) -> list[T]:
        """`run` of every chunk. Where it raises DeviceMemoryError, everything again in chunks of half the
        size; the error comes through when a single image is too much."""
        while True:
            size = self.size
            try:
                return [run(rows) for rows in chunks(images, size)]
            except DeviceMemoryError:
                if size == 1:
                    raise
                self._halve(size)

    def _halve(self, size: int) -> None:
        with self.lock:
            if self.size == size:  # no other thread was here first
                self.size //= 2
                self.report(f"the GPU's memory is full: {self.size} images at a time from here on")
