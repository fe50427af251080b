"""The suite's end of a worker: starts it, asks it, and says why it failed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas import worker_process
from znas.bench.contenders import Contender
from znas.bench.plan import Supernet
from znas.worker_process import WorkerFailed as WorkerFailed
from znas.worker_process import WorkerProcess, kill, last_words, started
from znas.worker_process import scratch as scratch
from znas_engine.interrupts import held
from znas_engine.spaces import Mask


def timed_process(arguments: Sequence[str], cache: Path, threads: int = 1) -> tuple[float, str]:
    """Seconds of a whole `python *arguments`, and what it printed; WorkerFailed if it fails. No process is
    left behind."""
    process: subprocess.Popen[bytes] | None = None
    with (
        scratch() as folder,
        (folder / "stdout").open("w+b") as printed,
        (folder / "stderr").open("w+b") as log,
    ):
        begun = time.perf_counter()
        try:
            with held():
                process = started(arguments, environment(cache, threads), subprocess.DEVNULL, printed, log)
            code = process.wait()
            seconds = time.perf_counter() - begun
        finally:
            if process is not None:
                kill(process)
        if code:
            raise WorkerFailed(last_words(log) or f"ended with status {code}")
        printed.seek(0)
        return seconds, printed.read().decode(errors="replace")


class Worker:
    """One contender, prepared, in a process of its own; leave the `with` block to end it.

    cache: its $ZNAS_CACHE, and where torch.compile keeps what it makes. started: `time.perf_counter` when
    the process was asked for. prepare_seconds: weights, calibration, compilation. batched: it takes many
    masks at once. peak_bytes: its largest resident set up to the last answer.

    Raises WorkerFailed if it cannot be prepared; so does every question after its death.
    """

    def __init__(self, contender: Contender, supernet: Supernet, threads: int, cache: Path) -> None:
        given = {"contender": asdict(contender), "supernet": asdict(supernet), "threads": threads}
        self._process = WorkerProcess(
            ["-m", "znas.bench.worker", json.dumps(given)],
            environment(cache, threads if contender.shares == "operations" else 1),
        )
        self.started = self._process.begun
        self._folder = self._process.folder
        try:
            prepared = self._ask({})
            self.prepare_seconds = float(prepared["prepare"])
            self.batched = bool(prepared["batched"])
        except BaseException:
            self.close()
            raise

    def logits(self, masks: Mask, timed: int = 0) -> NDArray[np.float32]:
        """masks [G, E, O] -> [G, n, classes]; where it is `batched`, [G + timed, n, classes]: those of mask
        i % G as number i, single passes first, then as in a timed call of `timed` masks."""
        out = self._folder / "logits.npy"
        self._ask({"masks": self._written(masks), "out": str(out), "timed": timed})
        found: NDArray[np.float32] = np.load(out, allow_pickle=False)
        return found

    def time(self, masks: Mask) -> dict[str, Any]:
        """One call over all masks: its `seconds`, and the `latencies` of single passes."""
        return self._ask({"masks": self._written(masks)})

    def close(self) -> None:
        """Ends the process."""
        self._process.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _written(self, masks: Mask) -> str:
        path = self._folder / "masks.npy"
        np.save(path, masks, allow_pickle=False)
        return str(path)

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        answer = self._process.ask(command)
        self.peak_bytes: int | None = answer["peak_bytes"]
        return answer


def environment(cache: Path, operation_threads: int) -> dict[str, str]:
    """What a measured process inherits: its own cache, and how many threads a library may start."""
    return worker_process.environment(operation_threads) | {
        "ZNAS_CACHE": str(cache),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
    }
