"""A training on several devices: a process of each, which average their gradients.

Lightning averages them; that it starts the processes itself would need hooks that can be pickled, and ends in
tracebacks where one of them has something to say.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from multiprocessing import Pipe, active_children
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException, spawn

from znas.training.task import Task
from znas_engine.errors import DeviceError, InvalidValueError, in_short
from znas_engine.interrupts import held
from znas_engine.progress import unheard

#: One process's part of a training: what is to be trained, what it goes on from, and its number.
Work = Callable[[Task, Path | None, int], None]
#: Seconds between two looks at whether all processes are well, and that one has to end when another failed.
_LOOK, _GRACE = 0.2, 1.0
#: What is said where the processes do not get to work.
_WAY_OUT = (
    "pass one device, or classes and functions of a module; a script needs `if __name__ == '__main__':`"
)


def train(work: Work, task: Task, begun: Path | None) -> None:
    """Calls `work`, a function of a module, in a process of each device; what they say is said here.

    Raises:
        InvalidValueError: what cannot be given to other processes, a function within a function for one.
        DeviceError: a process was killed.
        Exception: as `work` in any of them; the others are ended.
    """
    devices = task.machine.devices
    pipes = [Pipe(duplex=False) for _ in devices]
    silent = replace(task, progress=unheard, report=unheard, kept=unheard)
    at_work: set[int] = set()
    with _processes((work, silent, begun, [mouth for _, mouth in pipes], _free_port()), len(devices)) as all_:
        ended = False
        while not ended:
            failed: ProcessException | None = None
            try:
                ended = all_.join(timeout=_LOOK, grace_period=_GRACE)
            except ProcessException as error:
                failed = error
            for number, (ear, _) in enumerate(pipes):
                _hear(ear, task, number, at_work)
            if failed is not None:
                raise _in_words(failed, devices, at_work) from failed


def _hear(ear: Connection, task: Task, number: int, at_work: set[int]) -> None:
    """All that a process has said by now."""
    while ear.poll():
        name, *rest = ear.recv()
        if name == "error":
            raise rest[0]
        if name == "at work":
            at_work.add(number)
        else:
            getattr(task, name)(*rest)


def _in_words(error: ProcessException, devices: tuple[str, ...], at_work: set[int]) -> Exception:
    """What to say of a process that did not say anything itself."""
    if error.error_index not in at_work:
        last = str(error).strip().splitlines()[-1]
        return InvalidValueError(f"a process of each device does not get to work ({last:.120}): {_WAY_OUT}")
    if isinstance(error, ProcessExitedException):
        how = error.signal_name or f"exit code {error.exit_code}"
        return DeviceError(
            f"the process of {devices[error.error_index]} ended by {how}: the same command goes on from the "
            "last checkpoint"
        )
    return error


@contextmanager
def _processes(arguments: tuple[Any, ...], count: int) -> Iterator[Any]:
    """They are gone afterwards, whatever happens meanwhile. Ctrl-C is for this process, which ends them."""
    before = {*active_children()}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    absent = "" not in sys.path
    if absent:
        sys.path.insert(0, "")  # whence `module:Name` was imported
    try:
        try:
            running = spawn(_one, arguments, count, join=False)  # type: ignore[no-untyped-call]
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InvalidValueError(
                f"what is trained cannot be given to a process of each device ({in_short(error)}): {_WAY_OUT}"
            ) from error
        except BrokenPipeError as error:
            raise InvalidValueError(f"a process of each device does not get to work: {_WAY_OUT}") from error
        finally:
            if absent:
                sys.path.remove("")
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield running
    finally:
        with held():
            for process in {*active_children()} - before:
                process.kill()
                process.join()


def _one(
    number: int, work: Work, task: Task, begun: Path | None, mouths: list[Connection], port: int
) -> None:
    """The process of one device, which Lightning knows by these variables. The first says how far it is."""
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # by which it ends when its parent has died
    mouth, count = mouths[number], len(mouths)
    mouth.send(("at work",))
    workers = max(1, task.machine.workers // count)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    os.environ |= {"LOCAL_RANK": str(number), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": str(workers)}
    torch.set_num_threads(workers)
    task = replace(
        task,
        network=deepcopy(task.network),  # its weights came as memory that all processes share
        machine=replace(task.machine, workers=workers),
    )
    if number == 0:
        task = replace(
            task,
            progress=lambda *said: mouth.send(("progress", *said)),
            report=lambda *said: mouth.send(("report", *said)),
            kept=lambda *said: mouth.send(("kept", *said)),
        )
    try:
        work(task, begun, number)
    except Exception as error:
        mouth.send(("error", error))
        raise


def _free_port() -> int:
    """By which the processes find one another on this machine."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
