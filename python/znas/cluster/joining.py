"""How this process joins a Ray cluster, or begins one here."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from znas.cluster.news import remark
from znas_engine import interrupts
from znas_engine.errors import InvalidValueError, in_short

#: Seconds that a cluster has to answer at its address: Ray itself tries for minutes, and says so many times.
ANSWER = 5.0

_joined: dict[str, str | None] = {}


def join(on: str, address: str | None) -> str:
    """Connects this process; the name of the connection, which is another one after each `ray.shutdown`.

    address: of a cluster's head, `HOST:PORT`, or of its server of clients, `ray://HOST:PORT`; None is that of
    the environment (RAY_ADDRESS), of a cluster that was started on this machine, or one that begins and ends
    with this process. A process that is connected stays so: Ray has one connection for a process.
    Raises InvalidValueError where no cluster answers, it refuses us, or the process is connected elsewhere.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody asked for a network call
    # Of a cluster that begins here: at Ray's 15, workers get what is left by whatever else runs.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if not ray.is_initialized():
        _joined.clear()
        _connect(on, address or os.environ.get("RAY_ADDRESS"))
    elif _joined.get(name(), address) != address:
        raise InvalidValueError(
            f"--on {on}: this process works on another cluster already: use another process for this one"
        )
    _joined.setdefault(name(), address)
    return name()


def name() -> str:
    """Of the connection; empty where there is none."""
    if not ray.is_initialized():
        return ""
    about = ray.get_runtime_context()  # jobs have numbers from 1 on in every cluster
    return f"{about.get_node_id()} {about.get_job_id()}"


def _connect(on: str, address: str | None) -> None:
    # No handlers of its own; what workers print is not shown here.
    options: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
    if address is None:
        options["include_dashboard"] = False
    spoken = logging.getLogger("ray")  # its importance of things is not ours: a token is in use, a tip
    spoken.setLevel(max(spoken.level, logging.ERROR))
    try:
        _knock(address)
        with interrupts.unchanged(), _silent(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's own, of what it will do in other versions
            try:
                context = ray.init(address, **options)
            except ConnectionAbortedError:  # now and then a server of clients fails to start what it needs
                context = ray.init(address, **options)
    except (OSError, OverflowError, RuntimeError, ValueError, RayError) as error:
        raise InvalidValueError(
            f"--on {on}: no Ray cluster answers ({in_short(error)}): start one with `ray start --head`, pass "
            "--on ray, or set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN where it asks for a token"
        ) from error
    if context.dashboard_url:
        remark(f"Ray's dashboard: http://{context.dashboard_url.removeprefix('http://')}")


@contextmanager
def _silent() -> Iterator[None]:
    """A connection that is made within prints nothing: what becomes of machines Ray tells on stdout, which is
    for results, and offers no way to have it elsewhere."""
    inner = importlib.import_module("ray._private.worker")
    before = inner.__dict__.get("listen_error_messages")
    if before is not None:
        inner.__dict__["listen_error_messages"] = lambda *_: None
    try:
        yield
    finally:
        if before is not None:
            inner.__dict__["listen_error_messages"] = before


def _knock(address: str | None) -> None:
    """OSError where nothing listens at the address; what is no HOST:PORT is Ray's to understand."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
