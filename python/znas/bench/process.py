"""The suite's end of a worker: starts it, asks it, and says why it failed."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.bench.contenders import Contender
from znas.bench.plan import Supernet
from znas_engine import silent
from znas_engine.errors import ZnasError
from znas_engine.spaces import Mask

#: Seconds after which a worker that does not answer has failed; torch.compile of a whole supernet is slow.
PATIENCE = 1800.0


class WorkerFailed(ZnasError):
    """The message is what the row says instead of a time."""


def timed_process(arguments: Sequence[str], cache: Path) -> tuple[float, str]:
    """Seconds of a whole `python *arguments`, and what it printed; WorkerFailed if it fails."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(cache, 1), capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise WorkerFailed(done.stderr.strip().split("\n")[-1] or f"ended with status {done.returncode}")
    return seconds, done.stdout


class Worker:
    """One contender, prepared, in a process of its own; leave the `with` block to end it.

    cache: its $ZNAS_CACHE, and where torch.compile keeps what it makes. started: `time.perf_counter` when
    the process was asked for. prepare_seconds: weights, calibration, compilation. batched: it takes many
    masks at once. peak_bytes: its largest resident set up to the last answer.

    Raises WorkerFailed if it cannot be prepared; so does every question after its death.
    """

    def __init__(self, contender: Contender, supernet: Supernet, threads: int, cache: Path) -> None:
        given = {"contender": asdict(contender), "supernet": asdict(supernet), "threads": threads}
        self._scratch = tempfile.TemporaryDirectory(prefix="znas-bench-")
        self._folder = Path(self._scratch.name)
        self._log = (self._folder / "stderr").open("w+b")
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "znas.bench.worker", json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment(cache, threads if contender.shares == "operations" else 1),
        )
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
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()
        self._scratch.cleanup()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _written(self, masks: Mask) -> str:
        path = self._folder / "masks.npy"
        np.save(path, masks, allow_pickle=False)
        return str(path)

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("the worker was started without pipes")
        try:
            stdin.write(json.dumps(command) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise WorkerFailed(self._last_words()) from None
        if not select.select([stdout], [], [], PATIENCE)[0]:
            raise WorkerFailed(f"no answer within {PATIENCE:.0f} s")
        line = stdout.readline()
        if not line:
            raise WorkerFailed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        self.peak_bytes: int | None = answer["peak_bytes"]
        return answer

    def _last_words(self) -> str:
        """The last line that it wrote to stderr: of a traceback, the error."""
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        words = [line for line in lines if line.strip()]
        return words[-1].strip()[:300] if words else f"ended with status {code}"


def environment(cache: Path, operation_threads: int) -> dict[str, str]:
    """What a measured process inherits: its own cache, and how many threads a library may start."""
    count = str(operation_threads)
    inherited = dict(os.environ)
    silent.quieten(inherited)
    return inherited | {
        "ZNAS_CACHE": str(cache),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
    }
