"""What the machine itself can do: the fastest matrix product that its libraries reach.

python -m znas.bench.peak cpu      (with OMP_NUM_THREADS in its environment) prints the rows as JSON
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from znas.bench.machine import isa_flags
from znas.bench.process import WorkerFailed, timed_process

#: Sides of the square matrices; the best of them counts.
SIDES = (512, 1024, 2048)
GPU_SIDES = (4096, 8192)
#: Bytes of a copy on a GPU: more than its caches hold.
COPIED = 1 << 30
#: Products per side. The best of them counts: a peak is what the machine can do, not what it did.
PRODUCTS = 5
#: Either one multiplies bfloat16 in hardware.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def measure(threads: int, device: str, cache: Path) -> list[dict[str, Any]]:
    """Rows of one thread count, one per library and dtype. gflops: 2 x side^3 / 1e9 over the best seconds;
    seconds: the products of the best side. On a GPU the best copy too: gbytes read and written per second.
    Where the library fails, one row without samples says why: what is measured besides does not need it."""
    try:
        _, printed = timed_process(["-m", "znas.bench.peak", device], cache, threads)
        rows: list[dict[str, Any]] = json.loads(printed)
    except WorkerFailed as failure:
        facts = {"part": "peak", "contender": "torch.mm", "dtype": "float32", "gflops": 0.0}
        rows = [facts | {"seconds": [], "passed": False, "why": str(failure)}]
    return [row | {"threads": threads, "device": device} for row in rows]


def main() -> None:
    device = sys.argv[1]
    print(json.dumps(_of_processor() if device == "cpu" else _of_gpu(device)))


def _of_processor() -> list[dict[str, Any]]:
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
    return rows


def _of_gpu(device: str) -> list[dict[str, Any]]:
    """Written for a GPU and not run on one yet."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    library = f"torch.mm (cuBLAS, {torch.cuda.get_device_name(device)})"
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    rows = [
        _best(name, library, _torch_product(dtype, device), GPU_SIDES, lambda: torch.cuda.synchronize(device))
        for name, dtype in dtypes.items()
    ]
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = _timed(lambda: target.copy_(source), lambda: torch.cuda.synchronize(device))
    return [
        *rows,
        {
            "part": "bandwidth",
            "contender": library.replace("torch.mm", "copy"),
            "gbytes": 2 * COPIED / min(seconds) / 1e9,
            "seconds": seconds,
            "passed": True,
        },
    ]


def _best(
    dtype: str,
    library: str,
    make: Callable[[int], Callable[[], object]],
    sides: Sequence[int] = SIDES,
    wait: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    samples = {side: _timed(make(side), wait) for side in sides}
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


def _timed(work: Callable[[], object], wait: Callable[[], object]) -> list[float]:
    work()
    wait()
    seconds = []
    for _ in range(PRODUCTS):
        started = time.perf_counter()
        work()
        wait()
        seconds.append(time.perf_counter() - started)
    return seconds


def _torch_product(dtype: Any, device: str = "cpu") -> Callable[[int], Callable[[], object]]:
    import torch

    def make(side: int) -> Callable[[], object]:
        a, b = (torch.rand(side, side).to(device, dtype) for _ in range(2))
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
