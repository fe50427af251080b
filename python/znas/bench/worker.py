"""One contender in a process of its own: commands as JSON lines on stdin, answers as JSON lines on stdout.

    python -m znas.bench.worker '{"contender": {...}, "supernet": {...}, "threads": 2}'

Its own process because thread counts, allocators and compiled code are process-wide; because its memory is
then its own; and because a contender that dies takes no other row with it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from znas.bench.contenders import Contender, Request, Run
from znas.bench.plan import Supernet
from znas_engine.spaces import Mask


def main() -> None:
    given = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library that prints must not be taken for an answer
    contender = Contender(**given["contender"])
    supernet = Supernet(**given["supernet"])
    space, macro, environment = supernet.build()
    run: Run | None = None
    sharing = given["threads"] if contender.shares == "masks" else 1
    with ThreadPoolExecutor(sharing) as threads:
        for line in sys.stdin:
            command = json.loads(line)
            if run is None:
                started = time.perf_counter()
                run = contender.prepared(Request(space, macro, environment, contender.dtype, supernet.device))
                answer: dict[str, Any] = {"prepare": time.perf_counter() - started}
            elif "out" in command:
                masks = np.load(command["masks"], allow_pickle=False)
                np.save(command["out"], np.stack([run(mask) for mask in masks]), allow_pickle=False)
                answer = {}
            else:
                masks = np.load(command["masks"], allow_pickle=False)
                answer = timed_call(run, masks, threads)
            answers.write(json.dumps(answer | {"peak_bytes": peak_bytes()}) + "\n")


def timed_call(run: Run, masks: Mask, threads: ThreadPoolExecutor) -> dict[str, Any]:
    """seconds of the whole call, and of every masked pass in it."""

    def one(mask: Mask) -> float:
        started = time.perf_counter()
        run(mask)
        return time.perf_counter() - started

    started = time.perf_counter()
    latencies = list(threads.map(one, masks))
    return {"seconds": time.perf_counter() - started, "latencies": latencies}


def peak_bytes() -> int | None:
    """The largest resident set of this process so far; None where /proc does not say.

    Not `ru_maxrss`: that one starts at what the parent had when it started this process.
    """
    try:
        with Path("/proc/self/status").open() as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
