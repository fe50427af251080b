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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from znas.bench.contenders import BatchedRun, Contender, Logits, Request, Run
from znas.bench.plan import Supernet
from znas_engine.spaces import Mask


def main() -> None:
    given = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library that prints must not be taken for an answer
    contender = Contender(**given["contender"])
    supernet = Supernet(**given["supernet"])
    space, macro, environment = supernet.build()
    calls: Calls | None = None
    sharing = given["threads"] if contender.shares == "masks" else 1
    with ThreadPoolExecutor(sharing) as pool:
        for line in sys.stdin:
            command = json.loads(line)
            if calls is None:
                started = time.perf_counter()
                run = contender.prepared(Request(space, macro, environment, contender.dtype, supernet.device))
                answer: dict[str, Any] = {"prepare": time.perf_counter() - started}
                calls = Calls(run, pool, sharing)
                answer["batched"] = calls.batched
            elif "out" in command:
                masks = np.load(command["masks"], allow_pickle=False)
                np.save(command["out"], calls.logits(masks, command["timed"]), allow_pickle=False)
                answer = {}
            else:
                masks = np.load(command["masks"], allow_pickle=False)
                answer = calls.timed(masks)
            answers.write(json.dumps(answer | {"peak_bytes": peak_bytes()}) + "\n")


@dataclass(frozen=True, slots=True)
class Calls:
    """A run, and the threads of `pool` that share masks."""

    run: Run
    pool: ThreadPoolExecutor
    sharing: int

    @property
    def batched(self) -> bool:
        return isinstance(self.run, BatchedRun)

    def logits(self, masks: Mask, timed: int) -> Logits:
        """Of every mask as a single pass; if the run takes batches, then of `timed` more, the masks over and
        over, as a timed call has them."""
        found = list(self.pool.map(self.run, masks))
        if self.batched and timed:
            found += self._batches(masks[(len(masks) + np.arange(timed)) % len(masks)])
        return np.stack(found)

    def timed(self, masks: Mask) -> dict[str, Any]:
        """seconds of the whole call, in batches if the run takes them, and the latencies of single passes
        (with batches: of the same masks, after the call)."""
        started = time.perf_counter()
        latencies = None if self.batched else self._singly(masks)
        if latencies is None:
            self._batches(masks)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "latencies": latencies or self._singly(masks)}

    def _singly(self, masks: Mask) -> list[float]:
        def one(mask: Mask) -> float:
            started = time.perf_counter()
            self.run(mask)
            return time.perf_counter() - started

        return list(self.pool.map(one, masks))

    def _batches(self, masks: Mask) -> list[Logits]:
        """Logits [n, classes] of every mask, dealt out as in a search: to every thread its share at once."""
        if not isinstance(self.run, BatchedRun):
            raise AssertionError("this run takes single masks")
        share = -(-len(masks) // self.sharing)
        parts = [masks[first : first + share] for first in range(0, len(masks), share)]
        return [each for part in self.pool.map(self.run.batch, parts) for each in part]


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
