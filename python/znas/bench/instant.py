"""A search that measures nothing beside a bare `import torch`: whole processes, in turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from znas.bench.passes import Row
from znas.bench.plan import Group
from znas.bench.process import timed_process

SEARCH, IMPORT = "search --p 1", "import torch"


def measure(group: Group, rounds: int, cache: Path, progress: Callable[[], None]) -> list[Row]:
    """A row for each of `SEARCH` and `IMPORT`; sample i of both is from round i, the first to run changing.

    seconds: of the whole process. One more of each comes before, so that files and the cache are warm.
    """
    commands = {
        SEARCH: ["-m", "znas", "search", "--space", group.supernet.space, "--p", "1"],
        IMPORT: ["-c", "import torch"],
    }
    rows: dict[str, Row] = {
        name: {
            "part": "instant",
            "space": group.supernet.space,
            "contender": name,
            "passed": True,
            "seconds": [],
        }
        for name in commands
    }
    for number in range(rounds + 1):
        order = list(commands) if number % 2 else list(reversed(commands))
        for name in order:
            seconds, _ = timed_process(commands[name], cache)
            if number:
                rows[name]["seconds"].append(seconds)
        progress()
    return list(rows.values())
