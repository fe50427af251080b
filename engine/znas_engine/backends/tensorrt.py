"""`--backend trt`: the graph of `--backend ort` as a TensorRT plan, its mask an input.

The plan code is tested with the real builder. The passes below have not been run on a GPU yet.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from znas_engine.backends.onnxruntime import OnnxRuntime
from znas_engine.backends.passes import Images, MaskedPass
from znas_engine.backends.records import TRT
from znas_engine.backends.scaling import Scaling, scaling_of
from znas_engine.backends.self_check import check_once
from znas_engine.backends.torch_errors import device_errors
from znas_engine.environment import Environment
from znas_engine.evaluator import Evaluator
from znas_engine.export import code_output, feature_output
from znas_engine.scores import DeviceCodes, HostCodes, Observation
from znas_engine.spaces import Mask
from znas_engine.supernet.rescale import restored
from znas_engine.tensorrt import library
from znas_engine.tensorrt.plans import plan, target

if TYPE_CHECKING:
    import tensorrt as trt

_WORD = 64
#: Bytes of an image's codes that are unpacked at once, to 32 times as many.
BYTES_TOGETHER = 1 << 13


class TensorRt(Evaluator):
    """Weights and statistics are those of `--backend ort`, bit for bit. TensorRT has one plan for all
    environments, whose weights it replaces; TensorRT-RTX has one per environment."""

    record = TRT
    packages = (*OnnxRuntime.packages, *library.FLAVOUR.distribution)

    @cached_property
    def exporter(self) -> OnnxRuntime:
        return OnnxRuntime(self.space, self.macro, norm=self.norm, report=self.report)

    def masks_together(self, reads: frozenset[str], images: int) -> int:
        return 1 if reads else 64

    def prepare(
        self, environment: Environment, *, norm: str, reads: frozenset[str], device: str
    ) -> MaskedPass:
        model = self.exporter.export(environment, norm=norm, reads=reads, dtype=self.dtype)
        built = plan(model, dtype=self.dtype, target=target(device=device), report=self.report)
        network = _Pass(self, built, model, scaling_of(self, environment, norm), reads, device)
        check_once(
            self,
            lambda: network,
            environment,
            norm=norm,
            device=device,
            subject={"plan": hashlib.sha256(built).hexdigest()},
            made_by={library.FLAVOUR.name: library.VERSION},
        )
        return network


class _Pass:
    """A `BatchedPass`: one engine, and a `_Run` per number of images."""

    def __init__(
        self,
        backend: TensorRt,
        plan: bytes,
        model: bytes,
        scaling: Scaling,
        reads: frozenset[str],
        device: str,
    ) -> None:
        self.graph = backend.graph
        self.scaling = scaling
        self.reads = reads
        self.device = device
        with torch.cuda.device(device):
            self.engine = library.deserialize(plan, model)
            self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.runs: dict[tuple[int, ...], _Run] = {}
        self.lock = Lock()

    def __call__(self, mask: Mask, images: Images) -> Observation:
        sites = self.graph.relu_sites(self.graph.live(mask)) if "codes" in self.reads else {}
        codes = {code_output(value): value for value, modules in sites.items() if modules}
        cells = self.graph.cells if "features" in self.reads else ()
        last = [self.graph.unpooled] if "unpooled" in self.reads else []
        values = {feature_output(at): at for at in (*cells, *last)} | {"logits": -1}
        if "pooled" in self.reads:
            values["pooled"] = self.graph.penultimate
        scaled = self.scaling(mask)
        with self._run(images) as run:
            found, packed = run(scaled.mask, images, values, codes)
        for name, at in values.items():
            found[name] = restored(found[name], scaled.exponents[at])
        return Observation(
            found["logits"],
            codes=TorchCodes(
                packed,
                [math.prod(self.graph.nodes[value].shape) for value in codes.values()],
                [sites[value] for value in codes.values()],
            )
            if codes
            else HostCodes(),
            pooled=found.get("pooled"),
            unpooled=found[feature_output(self.graph.unpooled)] if last else None,
            features=tuple(found[feature_output(at)] for at in cells),
        )

    def batch(self, masks: Mask, images: Images) -> list[Observation]:
        if self.reads:
            return [self(mask, images) for mask in masks]
        scaled = [self.scaling(mask) for mask in masks]
        with self._run(images) as run:
            logits = run.logits(np.stack([each.mask for each in scaled]), images)
        exponents = np.array([each.exponents[-1] for each in scaled])
        return [Observation(each) for each in np.ldexp(logits, exponents[:, None, None])]

    @contextmanager
    def _run(self, images: Images) -> Iterator[_Run]:
        """The run for that many images, for this thread alone. A full memory frees those of all others."""
        with self.lock, device_errors(), torch.cuda.device(self.device):
            try:
                if images.shape not in self.runs:
                    self.runs[images.shape] = _Run(self.engine, self.stream, images.shape)
                yield self.runs[images.shape]
            except torch.OutOfMemoryError:
                self.runs.clear()
                raise


class _Run:
    """Passes over one number of images: a context and its buffers, whose addresses never change, so that all
    masks replay one CUDA graph."""

    def __init__(self, engine: trt.ICudaEngine, stream: torch.cuda.Stream, shape: tuple[int, ...]) -> None:
        self.stream = stream
        self.context = library.create_context(engine)
        self.context.set_input_shape("images", shape)
        # Memory for these shapes and no more, so that fewer images need less.
        needed = self.context.update_device_memory_size_for_shapes()
        self.buffers: dict[str, Tensor] = {}
        self.graph: torch.cuda.CUDAGraph | None = None
        with torch.cuda.stream(stream):
            self.workspace = torch.empty(needed, dtype=torch.uint8, device="cuda")
            self.context.set_device_memory(self.workspace.data_ptr(), needed)
            for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
                dtype = torch.bool if name.startswith("codes_") else torch.float32
                size = library.sizes(self.context.get_tensor_shape(name))
                self.buffers[name] = torch.zeros(size, dtype=dtype, device="cuda")
                self.context.set_tensor_address(name, self.buffers[name].data_ptr())
            library.enqueue(self.context, stream.cuda_stream)  # allocates, which a capture must not
            stream.synchronize()
            if not library.CAPTURES_GRAPHS:
                self.graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"):
                    library.enqueue(self.context, stream.cuda_stream)

    def __call__(
        self, mask: Mask, images: Images, names: Iterable[str], codes: Iterable[str]
    ) -> tuple[dict[str, NDArray[np.float32]], list[Tensor]]:
        """The outputs of those names, and codes as `pack_bits` gives them, which stay on the GPU."""
        with torch.cuda.stream(self.stream):
            self.buffers["images"].copy_(torch.tensor(images))
            self._start(torch.tensor(mask))
            packed = [pack_bits(self.buffers[name]) for name in codes]
            found = {name: self.buffers[name].cpu().numpy() for name in names}
            self.stream.synchronize()  # the codes are read on another stream
            return found, packed

    def logits(self, masks: Mask, images: Images) -> NDArray[np.float32]:
        """float32 [G, n, classes] of all masks [G, ...]; the host waits once."""
        with torch.cuda.stream(self.stream):
            self.buffers["images"].copy_(torch.tensor(images))
            logits = self.buffers["logits"]
            kept = logits.new_empty(len(masks), *logits.shape)
            for mask, row in zip(torch.tensor(masks).cuda(), kept, strict=True):
                self._start(mask)
                row.copy_(logits)
            found: NDArray[np.float32] = kept.cpu().numpy()
            return found

    def _start(self, mask: Tensor) -> None:
        """A pass under a mask over the images in the buffer, queued on the stream."""
        self.buffers["mask"].copy_(mask)
        if self.graph is None:
            library.enqueue(self.context, self.stream.cuda_stream)
        else:
            self.graph.replay()


class TorchCodes(DeviceCodes):
    """Codes in a GPU's memory, uint8 [n, bytes] as `pack_bits` gives them."""

    def __init__(self, bytes_of: Sequence[Tensor], bits: Sequence[int], modules: Sequence[int]) -> None:
        super().__init__(bits, modules)
        self.bytes_of = bytes_of

    def packed(self) -> Sequence[NDArray[np.uint64]]:
        with device_errors():
            return [codes.cpu().numpy().view(np.uint64) for codes in self.bytes_of]

    def agreements_there(self) -> NDArray[np.int64]:
        with device_errors():
            sites = zip(self.bytes_of, self.bits, self.modules, strict=True)
            alike = [modules * agreements_of(codes, bits) for codes, bits, modules in sites]
            found: NDArray[np.int64] = torch.stack(alike).sum(0).cpu().numpy()
            return found


def agreements_of(codes: Tensor, bits: int) -> Tensor:
    """uint8 [n, bytes] of `pack_bits` -> int64 [n, n]: in how many of the bits two images agree.

    Exact: float32 counts up to 2^24, and a site has fewer units.
    """
    places = torch.arange(8, dtype=torch.uint8, device=codes.device)
    difference = torch.zeros(len(codes), len(codes), device=codes.device)  # agreeing bits less others
    for few in torch.split(codes, BYTES_TOGETHER, dim=1):
        signs = 2 * ((few[:, :, None] >> places) & 1).flatten(1).float() - 1
        difference += signs @ signs.T
    padded = 8 * codes.shape[1]
    return (difference.long() + padded) // 2 - (padded - bits)


def pack_bits(active: Tensor) -> Tensor:
    """bool [n, ...] -> uint8 [n, 8 * ceil(units / 64)]; the bytes of `kernels.pack_codes`."""
    units = active.flatten(1)
    units = torch.nn.functional.pad(units, (0, -units.shape[1] % _WORD))
    places = 1 << torch.arange(8, dtype=torch.uint8, device=units.device)
    return (units.view(len(units), -1, 8) * places).sum(-1, dtype=torch.uint8)
