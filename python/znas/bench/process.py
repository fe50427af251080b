"""The suite's end of a worker: starts it, asks it, and says why it failed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from znas.bench.contenders import Contender
from znas.bench.plan import Supernet
from znas_engine import silent
from znas_engine.errors import ZnasError
from znas_engine.interrupts import held
from znas_engine.spaces import Mask

#: Seconds after which a worker that does not answer has failed; torch.compile of a whole supernet is slow.
PATIENCE = 1800.0


class WorkerFailed(ZnasError):
    """The message is what the row says instead of a time."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder, gone afterwards whatever signals come."""
    with held():
        folder = tempfile.TemporaryDirectory(prefix="znas-bench-", ignore_cleanup_errors=True)
        path = Path(folder.name)
    try:
        yield path
    finally:
        with held():
            folder.cleanup()


def timed_process(arguments: Sequence[str], cache: Path, threads: int = 1) -> tuple[float, str]:
    """Seconds of a whole `python *arguments`, and what it printed; WorkerFailed if it fails. No process is
    left behind."""
    process: subprocess.Popen[bytes] | None = None
    with (
        scratch() as folder,
        (folder / "stdout").open("w+b") as printed,
        (folder / "stderr").open("w+b") as log,
    ):
        started = time.perf_counter()
        try:
            with held():
                process = _started(arguments, environment(cache, threads), subprocess.DEVNULL, printed, log)
            code = process.wait()
            seconds = time.perf_counter() - started
        finally:
            if process is not None:
                _kill(process)
        if code:
            raise WorkerFailed(_last_words(log) or f"ended with status {code}")
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
        with held():
            folder = tempfile.TemporaryDirectory(prefix="znas-bench-", ignore_cleanup_errors=True)
            self._folder = Path(folder.name)
            self._log = (self._folder / "stderr").open("w+b")
            self.started = time.perf_counter()
            self._process = _started(
                ["-m", "znas.bench.worker", json.dumps(given)],
                environment(cache, threads if contender.shares == "operations" else 1),
                subprocess.PIPE,
                subprocess.PIPE,
                self._log,
            )
            #: Also where a signal comes before anybody has this object.
            self._end = weakref.finalize(self, _end, self._process, self._log, folder)
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
        self._end()

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
            stdin.write(json.dumps(command).encode() + b"\n")
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
        code = self._process.wait()
        return _last_words(self._log) or f"ended with status {code}"


def _started(
    arguments: Sequence[str],
    environment: dict[str, str],
    stdin: int,
    stdout: int | IO[bytes],
    stderr: IO[bytes],
) -> subprocess.Popen[bytes]:
    """A `python *arguments` in a process group of its own, so that what it starts ends with it; the
    terminal's Ctrl-C does not reach it, we end it."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        process_group=0,
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends it and what it started."""
    with held():
        with suppress(ProcessLookupError):  # all have ended by themselves
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end(process: subprocess.Popen[bytes], log: IO[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    with held():
        _kill(process)
        for stream in (process.stdin, process.stdout, log):
            if stream is not None:
                with suppress(OSError):  # a pipe to a process that is gone
                    stream.close()
        folder.cleanup()


def _last_words(log: IO[bytes]) -> str:
    """The last line that it wrote to stderr: of a traceback, the error."""
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    words = [line for line in lines if line.strip()]
    return words[-1].strip()[:300] if words else ""


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
