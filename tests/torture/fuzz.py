"""Runs the inputs of `tests.torture.inputs`, each kind in a process that may hang or die."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time

from tests.torture.account import Account
from tests.torture.processes import environment

#: Seconds without an answer after which a case counts as a hang.
PATIENCE = 60.0


def fuzz(kind: str, *, seed: int, count: int, until: float) -> Account:
    """`count` cases of a kind, or as many as there is time for (`until` on the monotonic clock)."""
    account = Account(f"fuzzed {kind}")
    first = 0
    while first < count and time.monotonic() < until:
        first = _stretch(account, kind, seed, first, count, until)
    if first < count:
        account.remark = f"stopped at {first:,} of {count:,} cases: time was up"
    return account


def _stretch(account: Account, kind: str, seed: int, first: int, count: int, until: float) -> int:
    """Cases in one process, until it has done all, hangs or dies; the first that is left."""
    command = [sys.executable, "-m", "tests.torture.inputs", kind, "--seed", str(seed), "--first", str(first)]
    process = subprocess.Popen(
        [*command, "--count", str(count - first)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []
    lines: queue.Queue[str | None] = queue.Queue()
    readers = [
        threading.Thread(target=lambda: [*map(lines.put, process.stdout), lines.put(None)]),  # type: ignore[arg-type]
        threading.Thread(target=lambda: said.extend(process.stderr)),  # type: ignore[arg-type]
    ]
    for reader in readers:
        reader.start()
    begun, ended = first - 1, first
    how = "a crash"
    while True:
        try:
            line = lines.get(timeout=PATIENCE)
        except queue.Empty:
            how = f"a hang of {PATIENCE:.0f} s"
            break
        if line is None:
            break
        number, *rest = json.loads(line)
        begun = number
        if rest:
            account.add(*rest)
            ended = number + 1
            if time.monotonic() > until:
                break
    process.kill()
    process.wait()
    for reader in readers:
        reader.join()
    process.stdout.close()
    process.stderr.close()
    if ended == count or time.monotonic() > until:
        return ended
    account.add(f"{how} (exit code {process.returncode}): {''.join(said[-1:]).strip()}", f"case {begun}")
    return max(begun, ended) + 1
