"""Seconds per masked pass of the full-size supernets: every backend, checked first, then timed in turns.

    python bench/bench_masked_pass.py --data-dir FOLDER [--images 256] [--rounds 5] [--out FILE.json]

A row is (space, kind of mask, threads, contender). Before it is timed its logits must be within the
backend's named tolerance of the torch reference; a row that fails gets no time. Contenders take turns round
by round, so that a busy machine slows all of them. `torch` is the reference supernet: eager PyTorch, NCHW
float32, one operator per node; each pass runs on one core and masks on several. GFLOP/s count the
multiply-accumulates (x 2) of the unmerged operations that the mask leaves alive.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from znas_engine import kernels
from znas_engine.backends import get_backend
from znas_engine.backends.base import LOGIT_TOLERANCE
from znas_engine.data import load
from znas_engine.environment import Environment
from znas_engine.export.cache import write_atomically
from znas_engine.graph import Graph
from znas_engine.spaces import SPACES, Mask, SearchSpace

CONTENDERS = (("torch", "float32"), ("ort", "float32"), ("native", "float32"), ("native", "bfloat16"))
MASKS = 4


def masks_of(space: SearchSpace[Any], kind: str) -> Mask:
    """MASKS masks of one kind, the same in every run."""
    rng = np.random.default_rng(0)
    edges, operations = space.shape
    if kind == "do":
        return np.stack(
            [space.do(int(rng.integers(edges)), int(rng.integers(1, operations))) for _ in range(MASKS)]
        )
    eye = np.eye(operations, dtype=np.float32)
    return np.stack([eye[rng.integers(1, operations, edges)] for _ in range(MASKS)])


def live_flops(graph: Graph, masks: Mask) -> float:
    """Mean multiply-accumulates per image of the nodes that reach the logits."""
    totals = [
        sum(n.flops for n, live in zip(graph.nodes, graph.live(mask), strict=True) if live) for mask in masks
    ]
    return float(np.mean(totals))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with cifar-10-batches-py")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--spaces", nargs="+", default=list(SPACES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    batch = load("cifar10", data_dir=arguments.data_dir).batch(arguments.images, seed=0)
    environment = Environment(11, "gaussian", batch)
    rows: list[dict[str, Any]] = []
    for space in (SPACES[name] for name in arguments.spaces):
        macro = space.search_macro(resolution=32, classes=10)
        for kind in ("do", "one-hot"):
            masks = masks_of(space, kind)
            reference: list[Any] = []
            for threads in arguments.threads:
                entrants = []
                for name, dtype in CONTENDERS:
                    evaluator = get_backend(name)(space, macro, dtype=dtype, threads=threads)
                    found = [o.logits for o in evaluator.observe(masks, environment)]
                    reference = reference or found
                    errors = [
                        np.abs(a - b).max() / np.abs(a).max() for a, b in zip(reference, found, strict=True)
                    ]
                    agree = [
                        (a.argmax(1) == b.argmax(1)).mean() for a, b in zip(reference, found, strict=True)
                    ]
                    row = {
                        "space": space.name,
                        "masks": kind,
                        "threads": threads,
                        "contender": f"{name} {dtype}",
                        "images": arguments.images,
                        "error": float(max(errors)),
                        "argmax_agreement": float(np.mean(agree)),
                        "passed": bool(max(errors) <= LOGIT_TOLERANCE[dtype]),
                        "gmac_per_image": live_flops(evaluator.graph, masks) / 1e9,
                        "seconds_per_pass": [],
                    }
                    rows.append(row)
                    if row["passed"]:
                        entrants.append((evaluator, row))
                for _ in range(arguments.rounds):
                    for evaluator, row in entrants:
                        started = time.perf_counter()
                        evaluator.observe(masks, environment)
                        row["seconds_per_pass"].append((time.perf_counter() - started) / MASKS)
                base = np.median(entrants[0][1]["seconds_per_pass"])
                for _, row in entrants:
                    middle = np.median(row["seconds_per_pass"])
                    speed = 2 * row["gmac_per_image"] * arguments.images / middle
                    print(
                        f"{space.name:12} {kind:8} {threads} threads  {row['contender']:16}",
                        f"{middle:7.3f} s/pass {base / middle:6.1f}x torch {speed:6.0f} GFLOP/s",
                        f"argmax {row['argmax_agreement']:.4f}",
                        flush=True,
                    )
    if arguments.out:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        facts = {
            "commit": commit,
            "machine": {
                "processor": platform.machine(),
                "cores": os.cpu_count(),
                "isas": kernels.available_isas(),
            },
            "versions": {name: version(name) for name in ("torch", "onnxruntime", "numpy")},
            "rows": rows,
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(arguments.out, (json.dumps(facts, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
