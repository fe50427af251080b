"""A Python process of our own that answers questions: both are lines of JSON.

Its own process because thread counts, affinity, allocators and compiled code are process-wide, and because
one that dies takes nobody with it.
"""

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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from znas_engine import silent
from znas_engine.errors import ZnasError
from znas_engine.interrupts import held

#: Seconds after which a process that does not answer has failed; torch.compile of a supernet is slow.
PATIENCE = 1800.0


class WorkerFailed(ZnasError):
    """The message is the last that the process said."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder, gone afterwards whatever signals come."""
    with held():
        folder = _temporary()
        path = Path(folder.name)
    try:
        yield path
    finally:
        with held():
            folder.cleanup()


class WorkerProcess:
    """`python *arguments`, which reads questions from stdin and writes an answer to each to stdout. `close`
    ends it.

    folder: of its own, gone with it. begun: `time.perf_counter` when it was asked for.

    Every question after its death raises WorkerFailed.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        with held():
            folder = _temporary()
            self.folder = Path(folder.name)
            self._log = (self.folder / "stderr").open("w+b")
            self.begun = time.perf_counter()
            self._process = started(arguments, environment, subprocess.PIPE, subprocess.PIPE, self._log)
            #: Also where a signal comes before anybody has this object.
            self._end = weakref.finalize(self, _end, self._process, self._log, folder)

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer. Raises WorkerFailed where it has died, or does not answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("the worker was started without pipes")
        try:
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise WorkerFailed(self._last_words()) from None
        if not select.select([stdout], [], [], PATIENCE)[0]:
            raise WorkerFailed(f"no answer within {PATIENCE:.0f} s")
        line = stdout.readline()
        if not line:
            raise WorkerFailed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._end()

    def _last_words(self) -> str:
        code = self._process.wait()
        return last_words(self._log) or f"ended with status {code}"


def started(
    arguments: Sequence[str],
    environment: Mapping[str, str],
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


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends it and what it started."""
    with held():
        with suppress(ProcessLookupError):  # all have ended by themselves
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_words(log: IO[bytes]) -> str:
    """The last line that it wrote to stderr: of a traceback, the error."""
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    words = [line for line in lines if line.strip()]
    return words[-1].strip()[:300] if words else ""


def environment(operation_threads: int) -> dict[str, str]:
    """What it inherits, and how many threads a library may start."""
    count = str(operation_threads)
    inherited = dict(os.environ)
    silent.quieten(inherited)
    return inherited | {
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
    }


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="znas-", ignore_cleanup_errors=True)


def _end(process: subprocess.Popen[bytes], log: IO[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    with held():
        kill(process)
        for stream in (process.stdin, process.stdout, log):
            if stream is not None:
                with suppress(OSError):  # a pipe to a process that is gone
                    stream.close()
        folder.cleanup()
