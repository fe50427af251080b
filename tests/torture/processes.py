"""The command line in processes of its own, and what may come of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.command import supernet
from tests.torture.account import REFUSED, RIGHT

REPOSITORY = Path(__file__).parents[2]
#: The smallest supernet that has every operation.
TINY = (*supernet(4, 1, 16, 8), "--threads", "2", "-q")
SEARCH = ("search", "--data", "gaussian", "--preset", "naswot", "--p", "0", "--seed", "3", *TINY)
#: Seconds after which a command hangs.
PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str


def run(
    arguments: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
    cwd: Path | None = None,
    program: Sequence[str] = (sys.executable, "-m", "znas"),
) -> Done:
    """before: what the new process does before it becomes ours."""
    try:
        done = subprocess.run(
            [*program, *map(str, arguments)],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment(env),
            preexec_fn=before,
            cwd=cwd,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return Done(-999, "", f"a hang of {PATIENCE:.0f} s")
    return Done(done.returncode, done.stdout, done.stderr)


def wait_until_it_listens(process: subprocess.Popen[str]) -> None:
    """To signals, or has ended: before any of our code runs, it is Python that a signal is sent to."""
    while process.poll() is None:
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
        if caught and int(caught[1], 16) >> (signal.SIGHUP - 1) & 1:  # the last that it asks for
            return
        time.sleep(0.001)


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, with the sources that it runs and these tests."""
    sources = [each for each in sys.path if Path(each).is_dir() and each not in ("", ".")]
    return os.environ | {"PYTHONPATH": os.pathsep.join([*sources, str(REPOSITORY)])} | dict(changes or {})


def verdict(done: Done, *, right: bool) -> str:
    """right: whether the result is what an untroubled run gives; asked of a run that succeeded."""
    lines = done.err.strip().splitlines()
    if done.code == 0:
        return RIGHT if right else "another result"
    if done.code == 2 and len(lines) == 1 and lines[0].startswith("znas-engine: error: "):
        return REFUSED
    return f"exit code {done.code}: {' / '.join(lines[-3:])[:300]}"
