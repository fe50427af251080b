"""The command line: in this process, which takes a tenth of the time, or in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from znas.cli import run

Done = subprocess.CompletedProcess[str]


def supernet(channels: int, cells: int, resolution: int, images: int | None = None) -> tuple[str, ...]:
    """Options of a size."""
    size = ("--supernet-channels", channels, "--supernet-cells", cells, "--resolution", resolution)
    return tuple(map(str, size if images is None else (*size, "--images", images)))


SMALL = supernet(4, 1, 16, 8)
SEARCH = ("search", "--preset", "naswot", *SMALL)


def here(*arguments: str | Path, **environment: str) -> Done:
    """What a verb says and answers, with variables of the environment."""
    given = list(map(str, arguments))
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.dict(os.environ, environment), redirect_stdout(out), redirect_stderr(err):
        code = run(given)
    return Done(given, code, out.getvalue(), err.getvalue())


def apart(*arguments: str | Path, **environment: str) -> Done:
    """The same of a new process: where imports or what starts with the interpreter are asked for."""
    return subprocess.run(
        [sys.executable, "-m", "znas", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )


def refused(done: Done) -> str:
    """The one line of a user's mistake."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("znas-engine: error: ")
    return lines[0]
