"""The threads in which all of a backend's arithmetic happens."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits


class Workers(ThreadPoolExecutor):
    """Threads that an exception relieves of the masks they have not begun; an interrupt does not wait for
    those that they have.

    Each belongs to one of `places` devices, in turn: at least one thread to every device. begin: what a
    thread does first.

    The linear algebra of scores runs on the thread that calls it: its matrices are small, and a BLAS that
    spreads them spends its time waiting.
    """

    def __init__(self, threads: int, *, places: int, begin: Callable[[], object] = lambda: None) -> None:
        self._thread = threading.local()
        turns = itertools.cycle(range(places))

        def take_place() -> None:
            self._thread.place = next(turns)
            begin()

        super().__init__(max(threads, places), thread_name_prefix="znas", initializer=take_place)

    @property
    def place(self) -> int:
        """Which of the devices the calling thread, one of these, belongs to."""
        place: int = self._thread.place
        return place

    def __enter__(self) -> Workers:
        self._blas = threadpool_limits(1, user_api="blas")
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        # An interrupt does not wait for passes that run: nothing reads what they find.
        interrupted = isinstance(kind, type) and not issubclass(kind, Exception)
        try:
            self.shutdown(wait=not interrupted, cancel_futures=kind is not None)
        finally:
            self._blas.restore_original_limits()
