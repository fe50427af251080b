"""A Ray cluster of several machines on this one: each a raylet of its own, with processes of its own."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

#: What Ray reads: no network call; no token, which it otherwise looks for, and leaves, in the user's home.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
#: Of its machines: without, a server of clients forks while gRPC is at work, and what it starts may not live.
OF_MACHINES = ENVIRONMENT | {"GRPC_ENABLE_FORK_SUPPORT": "0"}
#: Ray notices a dead machine within some seconds instead of half a minute.
WATCHFUL = {
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 8,
    "health_check_initial_delay_ms": 1000,
}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def listens(port: int) -> bool:
    """Whether anybody does."""
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def descendants(pid: int) -> list[int]:
    """A process and all that it began, the first first."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def title(pid: int) -> str:
    """What a process calls itself; nothing where it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return ""


class Machine:
    """One `ray start`, which has begun or is about to."""

    def __init__(self, log: IO[str], *options: str, **environment: str) -> None:
        names = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self._log, self.environment = log, environment
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", *options],
            env=names | OF_MACHINES | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def came(self) -> bool:
        """Whether it is a part of the cluster; AssertionError with what it said where it never will be."""
        said = Path(self._log.name).read_text()
        assert self.process.poll() is None, said
        return "Ray runtime started" in said

    def workers(self, doing: str = "") -> list[int]:
        """Processes of our workers; those that are at a unit with `.run`."""
        found = descendants(self.process.pid)
        return [pid for pid in found if title(pid).startswith(f"ray::RayWorker{doing}")]

    def kill(self) -> None:
        """SIGKILL to all of it at once."""
        for pid in descendants(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()


class Cluster:
    """A head and other machines of one core each. address: of the head; client: of its server of clients."""

    def __init__(self, others: int) -> None:
        # Not where pytest has its files: the names of sockets must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="ray"))
        port, client = free_ports(2)
        self.address, self.client = f"127.0.0.1:{port}", f"ray://127.0.0.1:{client}"
        head = (
            "--head",
            f"--port={port}",
            f"--ray-client-server-port={client}",
            "--include-dashboard=false",
            f"--temp-dir={self.folder}",
            f"--system-config={json.dumps(WATCHFUL)}",
        )
        self.machines: list[Machine] = []
        self._tries, self._logs = 3, itertools.count()
        try:
            self._begun(*head)
            self.wait()
            while not listens(client):  # begun last, and not waited for
                time.sleep(0.05)
            for _ in range(others):  # one after another: they look for free ports
                self.begin()
                self.wait()
        except BaseException:
            self.close()
            raise

    def begin(self, **environment: str) -> Machine:
        """One more machine, which is not waited for."""
        return self._begun(f"--address={self.address}", **environment)

    def wait(self) -> None:
        """Until all that have begun are parts of it."""
        patience = time.monotonic() + 120
        while not self.whole():
            assert time.monotonic() < patience
            time.sleep(0.05)

    def whole(self) -> bool:
        """Whether all are parts of it. One that could not start, as others took its ports, begins anew."""
        try:
            return all(machine.came() for machine in self.machines)
        except AssertionError:
            failed = next(each for each in self.machines if each.process.poll() is not None)
            if failed is self.machines[0] or self._tries == 0:
                raise
            self._tries -= 1
            self.kill(failed)
            self.begin(**failed.environment)
            return False

    def kill(self, machine: Machine) -> None:
        machine.kill()
        self.machines.remove(machine)

    def workers(self, doing: str = "") -> list[int]:
        return [pid for machine in self.machines for pid in machine.workers(doing)]

    def close(self) -> None:
        for machine in reversed(self.machines):
            machine.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begun(self, *options: str, **environment: str) -> Machine:
        log = (self.folder / f"{next(self._logs)}.log").open("w")
        self.machines.append(Machine(log, "--node-ip-address=127.0.0.1", *options, **environment))
        return self.machines[-1]
