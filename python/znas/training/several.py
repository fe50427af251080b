"""A training on several devices: a process of each, which average their gradients."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import ProcessException, spawn

from znas.hooks import QUIET
from znas.training.task import Task
from znas_engine.errors import InvalidValueError, ZnasError, in_short
from znas_engine.interrupts import held

#: One process's part of a training: what is to be trained, what it goes on from, and its number.
Work = Callable[[Task, Path | None, int], None]
#: Seconds between two looks at whether all processes are well.
_LOOK = 0.2


def train(work: Work, task: Task, begun: Path | None) -> None:
    """Calls `work`, a function of a module, in a process of each device; what they say is said here.

    Raises:
        InvalidValueError: what cannot be given to other processes, a function within a function for one.
        ZnasError: as `work` in any of them; the others are ended.
    """
    devices = len(task.machine.devices)
    heard = [Pipe(duplex=False) for _ in range(devices)]
    silent = replace(task, progress=QUIET.progress, report=QUIET.report, kept=_unsaid)
    with _processes((work, silent, begun, [said for _, said in heard], _free_port()), devices) as running:
        ended = False
        while not ended:
            failed: ProcessException | None = None
            try:
                ended = running.join(timeout=_LOOK)
            except ProcessException as error:
                failed = error
            for ear, _ in heard:
                _hear(ear, task)
            if failed is not None:
                raise failed


def _hear(ear: Connection, task: Task) -> None:
    """All that was said by now."""
    while ear.poll():
        try:
            name, *rest = ear.recv()
        except (EOFError, OSError):  # it died in the middle of a word
            return
        if name == "error":
            raise rest[0]
        getattr(task, name)(*rest)


@contextmanager
def _processes(arguments: tuple[Any, ...], count: int) -> Iterator[Any]:
    """They are gone afterwards, whatever happens meanwhile."""
    try:
        with held():
            running = spawn(_one, arguments, count, join=False)  # type: ignore[no-untyped-call]
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidValueError(
            f"what is trained cannot be given to a process of each device ({in_short(error)}): pass one "
            "device, or classes and functions of a module"
        ) from error
    try:
        yield running
    finally:
        with held():
            for process in running.processes:
                process.kill()
                process.join()


def _one(
    number: int, work: Work, task: Task, begun: Path | None, mouths: list[Connection], port: int
) -> None:
    """The process of one device, which Lightning knows by these variables. The first says how far it is."""
    count = len(mouths)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    os.environ |= {"LOCAL_RANK": str(number), "WORLD_SIZE": str(count)}
    torch.set_num_threads(max(1, task.machine.workers // count))
    mouth = mouths[number]
    # Its weights came as memory that all processes share.
    task = replace(task, network=deepcopy(task.network))
    if number == 0:
        task = replace(
            task,
            progress=lambda *said: mouth.send(("progress", *said)),
            report=lambda *said: mouth.send(("report", *said)),
            kept=lambda *said: mouth.send(("kept", *said)),
        )
    try:
        work(task, begun, number)
    except ZnasError as error:
        mouth.send(("error", error))
        raise


def _unsaid(path: Path, what: str) -> None:
    """Of what is kept the first process tells."""


def _free_port() -> int:
    """By which the processes find one another on this machine."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
