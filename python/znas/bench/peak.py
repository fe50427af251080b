"""What the machine itself can do: the fastest matrix product that its libraries reach.

python -m znas.bench.peak      (with OMP_NUM_THREADS in its environment) prints the rows as JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from znas.bench.machine import isa_flags
from znas.bench.process import WorkerFailed, environment

#: Sides of the square matrices; the best of them counts.
SIDES = (512, 1024, 2048)
#: Products per side. The best of them counts: a peak is what the machine can do, not what it did.
PRODUCTS = 5
#: Either one multiplies bfloat16 in hardware.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def measure(threads: int, cache: Path) -> list[dict[str, Any]]:
    """Rows of one thread count, one per library and dtype. gflops: 2 x side^3 / 1e9 over the best seconds;
    seconds: the products of the best side."""
    done = subprocess.run(
        [sys.executable, "-m", "znas.bench.peak"],
        env=environment(cache, threads),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise WorkerFailed(done.stderr.strip().split("\n")[-1])
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return [row | {"threads": threads} for row in rows]


def main() -> None:
    import torch

    torch_library = (
        "torch.mm (" + ("MKL" if "USE_MKL=ON" in torch.__config__.show() else "OpenBLAS or own") + ")"
    )
    rows = [
        _best("float32", torch_library, _torch_product(torch.float32)),
        _best("float32", f"numpy.matmul ({_blas()})", _numpy_product),
    ]
    if BFLOAT16_FLAGS & set(isa_flags()):
        rows.append(_best("bfloat16", "torch.mm (oneDNN)", _torch_product(torch.bfloat16)))
    print(json.dumps(rows))


def _best(dtype: str, library: str, make: Callable[[int], Callable[[], object]]) -> dict[str, Any]:
    samples: dict[int, list[float]] = {}
    for side in SIDES:
        product = make(side)
        product()
        samples[side] = []
        for _ in range(PRODUCTS):
            started = time.perf_counter()
            product()
            samples[side].append(time.perf_counter() - started)
    speed = {side: 2 * side**3 / min(seconds) / 1e9 for side, seconds in samples.items()}
    side = max(speed, key=lambda side: speed[side])
    return {
        "part": "peak",
        "contender": library,
        "dtype": dtype,
        "side": side,
        "gflops": speed[side],
        "seconds": samples[side],
        "passed": True,
    }


def _torch_product(dtype: Any) -> Callable[[int], Callable[[], object]]:
    import torch

    def make(side: int) -> Callable[[], object]:
        a, b = (torch.rand(side, side).to(dtype) for _ in range(2))
        return lambda: torch.mm(a, b)

    return make


def _numpy_product(side: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    a, b = (rng.random((side, side), dtype=np.float32) for _ in range(2))
    return lambda: a @ b


def _blas() -> str:
    """The library behind numpy's matrix product."""
    built: Any = np.show_config(mode="dicts")
    return str(built["Build Dependencies"]["blas"]["name"])


if __name__ == "__main__":
    main()
