"""Native passes of two checkouts, timed in turns: `python bench/pair.py BEFORE AFTER [--out FILE.json]`.

BEFORE, AFTER: folders whose python/ and engine/ can be imported, compiled kernels included. One process of
each stays alive; every round times both on the same masks, in turns, so that a machine whose speed drifts
slows both. What counts is the median of the ratios of pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from znas.bench.reading import one_line
from znas.files import check_new, write_file
from znas_engine import paths
from znas_engine.errors import StorageError
from znas_engine.spaces import SPACES

KINDS = ("do", "one-hot")
IMAGES, MASKS, ROUNDS = 64, 4, 9

WORKER = """
import sys, time
import numpy as np
from znas.bench.plan import masks_at
from znas_engine.backends import get_backend
from znas_engine.data import load
from znas_engine.environment import draw_environments
from znas_engine.scores import get_score
from znas_engine.spaces import get_space

made = {}
print("ready", flush=True)
for line in sys.stdin:
    name, kind, images, first, count = line.split()
    space = get_space(name)
    if name not in made:
        data = load("gaussian", resolution=32)
        macro = space.macro_for(data, channels=None, cells=None)
        environments = draw_environments(data, count=1, images=int(images), init="gaussian", seed=11)
        made[name] = get_backend("native")(space, macro, threads=1), environments
    evaluator, environments = made[name]
    masks = masks_at(space, kind, int(first), int(count))
    started = time.perf_counter()
    evaluator.evaluate(masks, score=get_score("naswot"), environments=environments)
    print(time.perf_counter() - started, flush=True)
"""


class Checkout:
    """A process that times masks in one checkout."""

    def __init__(self, folder: Path) -> None:
        path = os.pathsep.join(str(folder / part) for part in ("python", "engine"))
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", f"{folder} cannot be imported"

    def seconds(self, *request: object) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(*request, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def commit(folder: Path) -> str:
    found = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def pair(before: Path, after: Path) -> dict[str, Any]:
    """Per space and kind of masks the seconds of a pass in every round, and the median of after / before."""
    checkouts = {"before": Checkout(before), "after": Checkout(after)}
    rows = []
    for space in SPACES.builtin:
        for kind in KINDS:
            for checkout in checkouts.values():
                checkout.seconds(space, kind, IMAGES, 0, 1)
            seconds: dict[str, list[float]] = {name: [] for name in checkouts}
            for number in range(ROUNDS):
                order = list(checkouts) if number % 2 else list(checkouts)[::-1]
                for name in order:
                    spent = checkouts[name].seconds(space, kind, IMAGES, 1 + number * MASKS, MASKS)
                    seconds[name].append(spent / MASKS)
            ratios = [b / a for a, b in zip(seconds["before"], seconds["after"], strict=True)]
            rows.append(
                {"space": space, "kind": kind, "ratio": statistics.median(ratios), "seconds": seconds}
            )
            print(f"{space:<12}{kind:<9}after / before {rows[-1]['ratio']:.3f}", file=sys.stderr)
    return {
        "what": "naswot, native, one thread, in turns",
        "images": IMAGES,
        "before": commit(before),
        "after": commit(after),
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    out = None if given.out is None else paths.named(given.out, "the output")
    if out is not None:
        check_new(out)
    text = json.dumps(pair(given.before.resolve(), given.after.resolve()), indent=1) + "\n"
    if out is None:
        print(text, end="")
        return
    try:
        write_file(out, text.encode())
    except StorageError:
        print(text, end="")
        raise


if __name__ == "__main__":
    one_line(main)
