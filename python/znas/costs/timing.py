"""One network after another, timed: questions as JSON lines on stdin, answers as JSON lines on stdout.

    python -m znas.costs.timing '{"backend": "ort", "device": "cpu", "threads": 1, "batch": 1, "seed": 0}'

A question holds a `graph` (see `live.encoded`), for torch what builds the `trainable` network, or, instead,
the `shape` of an image and the file of an ONNX `model` or, for torch, which `reference` of torchvision it is;
and how long to repeat. Its answer: `milliseconds` per pass, the `error` of their median, how many repeats are
`left_out`, the `cores` that this process is pinned to, and the share of them, and of all, that `others` had
meanwhile.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from znas.costs.live import decoded
from znas.middle import middle
from znas.vision import torchvision_network
from znas_engine.cores import allowed_cores
from znas_engine.devices import kind_of
from znas_engine.environment import derive_seed
from znas_engine.export import CUDA_OPSET
from znas_engine.graph import Conv, Graph, Linear
from znas_engine.spaces import trainable
from znas_engine.supernet.initialisation import draw_weight
from znas_engine.supernet.normalisation import Statistics

if TYPE_CHECKING:
    from torch import nn

Images = NDArray[np.float32]
#: One pass over the batch.
Run = Callable[[], object]
#: Repeats of which a median is made, and at least so many whatever they take.
MOST, LEAST = 1000, 6
#: The share of a repeat in which its thread ran, at least, if nobody disturbed it.
WHOLE = 0.98
#: Seconds: of one repeat at least, which is several passes where one is shorter, else the clock would count;
#: of repeats at least, which sees what comes and goes; of warming up; of looking for idle cores.
REPEAT, SHORTEST, WARM, LOOK = 0.5e-3, 0.3, 0.3, 0.1


def main() -> None:
    given = json.loads(sys.argv[1])
    cores = _pinned(given["threads"]) if given["device"] == "cpu" else []
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library that prints must not be taken for an answer
    for line in sys.stdin:
        asked = json.loads(line)
        run = prepared(given, asked)
        answer = timed(run, seconds=asked["seconds"], tight=asked["tight"], cores=cores)
        answers.write(json.dumps(answer | {"cores": cores}) + "\n")


def prepared(given: Mapping[str, Any], asked: Mapping[str, Any]) -> Run:
    """The network on its device, as deployed."""
    graph = decoded(asked["graph"]) if "graph" in asked else None
    shape = asked["shape"] if graph is None else graph.nodes[0].shape
    rng = np.random.default_rng(given["seed"])
    images = rng.standard_normal((given["batch"], *shape), dtype=np.float32)
    if given["backend"] == "torch":
        known = asked.get("reference")
        network = trainable.build(**asked["trainable"]) if known is None else torchvision_network(**known)
        return _torch(network, images, given["device"], given["threads"])
    if graph is None:
        model = Path(asked["model"]).read_bytes()
    elif given["backend"] == "native":
        return _native(graph, _weights(given["seed"]), images)
    else:
        from znas_engine.export.network import export, untrained

        opset = None if kind_of(given["device"]) == "cpu" else CUDA_OPSET
        model = export(graph, untrained(graph, _weights(given["seed"])), opset=opset)
    if given["backend"] == "ort":
        return _ort(model, images, given["device"], given["threads"])
    return _trt(model, images, given["device"])


def timed(run: Run, *, seconds: float, tight: float, cores: Sequence[int]) -> dict[str, Any]:
    """Repeats until the median is known within `tight` (half of its 95 % interval, relative), or `seconds`
    have passed, or there are MOST.

    On one core, repeats in which other work had it are left out, if enough are left: the clock of this thread
    then stood still, which is no part of what a network takes.
    """
    passes = _warm(run)
    begun, before, own = time.perf_counter(), _busy(), time.process_time()
    samples: list[float] = []
    left_out: list[float] = []
    look = 2 * LEAST
    while True:
        start, ran = time.perf_counter(), time.thread_time()
        for _ in range(passes):
            run()
        now, ran = time.perf_counter(), time.thread_time() - ran
        whole = len(cores) != 1 or ran >= WHOLE * (now - start)
        (samples if whole else left_out).append(1000 * (now - start) / passes)
        count = len(samples) + len(left_out)
        if count >= LEAST and (now - begun >= seconds or count >= MOST):
            break
        if len(samples) >= look and now - begun >= SHORTEST:
            if error_of(samples) <= tight:
                break
            look = len(samples) + max(1, len(samples) // 8)
    if len(samples) < LEAST:
        samples, left_out = samples + left_out, []
    wall = time.perf_counter() - begun
    others = others_of(before, _busy(), wall, time.process_time() - own, cores)
    error = error_of(samples)
    return {"milliseconds": samples, "error": error, "left_out": len(left_out), "others": others}


def error_of(samples: Sequence[float]) -> float:
    """Half of the interval of the median, relative to it."""
    found = middle(samples)
    return (found.high - found.low) / (2 * found.median)


def _warm(run: Run) -> int:
    """Runs until caches, clocks and thread pools have settled; how many passes make a repeat."""
    begun = now = time.perf_counter()
    shortest = float("inf")
    while now - begun < WARM or shortest == float("inf"):
        before = now
        run()
        now = time.perf_counter()
        shortest = min(shortest, now - before)
    return max(1, round(REPEAT / shortest))


# --- the machine -------------------------------------------------------------------------------------


def _pinned(threads: int) -> list[int]:
    """Pins this process to so many cores of its own, the idlest; none where the system cannot."""
    allowed = allowed_cores()
    before = _busy() or {}
    time.sleep(LOOK)
    after = _busy() or {}
    work = {core: after.get(core, 0.0) - before.get(core, 0.0) for core in allowed}
    cores = sorted(sorted(allowed, key=lambda core: (work[core], -core))[:threads])
    with suppress(OSError, AttributeError):  # a container may forbid it, a system not know it
        os.sched_setaffinity(0, cores)
        return cores
    return []


def _busy() -> dict[int, float] | None:
    """Seconds in which each core has worked so far, for anybody; None where the system does not say."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    found = {}
    for name, *numbers in (line.split() for line in lines if line.startswith("cpu")):
        if name[3:].isdecimal() and len(numbers) >= 8:
            user, nice, system, _idle, _wait, hard, soft, stolen = map(int, numbers[:8])
            found[int(name[3:])] = (user + nice + system + hard + soft + stolen) / tick
    return found or None


def others_of(
    before: Mapping[int, float] | None,
    after: Mapping[int, float] | None,
    wall: float,
    own: float,
    cores: Sequence[int],
) -> tuple[float, float] | None:
    """Shares that other work had of `cores` and of all: of `wall` seconds, in which this process worked for
    `own`; None where it is not known."""
    if before is None or after is None or not cores or not all(core in before for core in cores):
        return None
    work = {core: after.get(core, seconds) - seconds for core, seconds in before.items()}
    here = sum(work[core] for core in cores) - own
    all_ = sum(work.values()) - own
    return max(0.0, here / (wall * len(cores))), max(0.0, all_ / (wall * len(work)))


# --- networks ----------------------------------------------------------------------------------------


def _weights(seed: int) -> Callable[[Conv | Linear], NDArray[np.float32]]:
    def weight(node: Conv | Linear) -> NDArray[np.float32]:
        return draw_weight("gaussian", node.weight_shape, node.fan_in, seed=derive_seed(seed, node.name))

    return weight


def _native(graph: Graph, weight: Callable[[Any], NDArray[np.float32]], images: Images) -> Run:
    """The pass of a mask that leaves this network."""
    from znas_engine._core import ProgramBuilder
    from znas_engine.backends.native import fastest_isa
    from znas_engine.backends.native_lowering import Lowering

    builder = ProgramBuilder()
    Lowering(graph, weight, Statistics.identity(graph), (1, 1), builder)
    program = builder.build(precision="float32", target=fastest_isa())
    made = program.compile(np.ones((1, 1, 1), np.float32), [])
    return lambda: made.run(images, [[]])


def _ort(model: bytes, images: Images, device: str, threads: int) -> Run:
    from znas_engine.backends.onnxruntime import ort
    from znas_engine.backends.onnxruntime_cuda import Bound, cuda_session

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if kind_of(device) == "cpu":
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(["logits"], {"images": images})
    bound = Bound(cuda_session(model, device, options), device)
    return lambda: bound.run(["logits"], {"images": images})


def _torch(made: nn.Module, images: Images, device: str, threads: int) -> Run:
    import torch

    torch.set_num_threads(threads)
    network = made.eval().to(device)
    batch = torch.from_numpy(images)

    def run() -> object:
        with torch.inference_mode():
            return network(batch.to(device)).cpu()

    return run


def _trt(model: bytes, images: Images, device: str) -> Run:
    """Not run on a GPU yet."""
    import torch

    from znas_engine.tensorrt import library
    from znas_engine.tensorrt.plans import plan, target

    built = plan(model, dtype="float32", target=target(device=device), report=lambda line: None)
    with torch.cuda.device(device):
        engine = library.deserialize(built, model)
        context = library.create_context(engine)
        context.set_input_shape("images", images.shape)
        needed = context.update_device_memory_size_for_shapes()
        workspace = torch.empty(needed, dtype=torch.uint8, device=device)
        context.set_device_memory(workspace.data_ptr(), needed)
        there = torch.empty(images.shape, device=device)
        logits = torch.empty(library.sizes(context.get_tensor_shape("logits")), device=device)
        context.set_tensor_address("images", there.data_ptr())
        context.set_tensor_address("logits", logits.data_ptr())
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    batch = torch.from_numpy(images)

    def run() -> object:
        with torch.cuda.device(device), torch.cuda.stream(stream):
            there.copy_(batch)
            library.enqueue(context, stream.cuda_stream)
            return logits.cpu(), workspace, engine

    return run


if __name__ == "__main__":
    main()
