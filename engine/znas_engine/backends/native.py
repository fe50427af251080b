"""The supernet on our own executor: linear pieces merged per mask, activations kept in cache.

A program of fused steps is compiled per mask; a processor runs it image by image, a GPU all images step by
step. The GPU's kernels are tested on a processor that plays the GPU; they have not been run on a GPU yet.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from threading import Lock, local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine import kernels
from znas_engine.backends.base import Evaluator, Images, MaskedPass
from znas_engine.backends.native_lowering import Lowering
from znas_engine.backends.scaling import Scaling, mask_shape, scaling_of
from znas_engine.devices import kind_of, number_of
from znas_engine.environment import Environment
from znas_engine.errors import DeviceError, DeviceMemoryError
from znas_engine.graph import Graph
from znas_engine.scores import Codes, CodeSite, DeviceCodes, HostCodes, Observation
from znas_engine.spaces import Mask
from znas_engine.supernet.normalisation import Statistics, chunks
from znas_engine.supernet.rescale import restored

_core: Any = import_module("znas_engine._core")

#: Chunks of images that are kept on a GPU: masks follow one another.
SHOWN = 16


def fastest_isa() -> str:
    """The instruction set that the steps run on."""
    return kernels.available_isas()[-1]


class Native(Evaluator):
    """`--backend native`: needs the compiled kernels."""

    name = "native"
    packages = ()

    def prepare(
        self, environment: Environment, *, norm: str, reads: frozenset[str], device: str
    ) -> MaskedPass:
        with device_errors():
            executor = _executor(device)
            statistics = self._statistics(environment, norm, executor)
            masks = mask_shape(self.space, self.graph, norm, self.dtype)
            lowering, program = self.lower(
                environment, statistics, masks, dtype=self.dtype, target=executor.target
            )
            scaling = scaling_of(self, environment, norm)
            return _Supernet(self.graph, executor, lowering, program, scaling, reads)

    def lower(
        self,
        environment: Environment,
        statistics: Statistics | None,
        masks: tuple[int, ...],
        *,
        dtype: str,
        target: str,
    ) -> tuple[Lowering, Any]:
        """The program of one environment, and how its values relate to the graph's.

        masks: their shape. target: an instruction set, or "cuda".
        """
        builder = _core.ProgramBuilder()
        lowering = Lowering(self.graph, environment.weight, statistics, masks, builder)
        return lowering, builder.build(dtype, target)

    def _statistics(
        self, environment: Environment, norm: str, executor: Processor | Gpu
    ) -> Statistics | None:
        """Measured in float32 whatever the dtype: a pass rounds merged weights, calibration would round
        others and add an error of its own."""
        if norm == "batch":
            return None
        if norm == "identity":
            return Statistics.identity(self.graph)
        lowering, program = self.lower(
            environment, None, self.space.shape, dtype="float32", target=executor.target
        )
        images = environment.batch.images[chunks(len(environment.batch.images))[0]]
        mixture = executor.compile(program, self.space.mixture(), [])
        *_, means, variances = mixture.run(executor.show(program, images), [])
        mean, variance = (
            {position: np.array(row, np.float32) for position, row in zip(lowering.norms, rows, strict=True)}
            for rows in (means, variances)
        )
        return Statistics(mean, variance)


class Processor:
    """Runs programs on this machine's processor."""

    def __init__(self) -> None:
        self.target = fastest_isa()

    def compile(self, program: Any, mask: Mask, kept: list[int]) -> Any:
        """What `mask` leaves of the program; kept: sites whose values a run hands out."""
        return program.compile(mask, kept)

    def show(self, program: Any, images: Images) -> Any:
        """The images as what was compiled reads them."""
        return images

    def codes(self, made: Any, bits: Sequence[int], modules: Sequence[int]) -> Codes:
        """What a run made of the sites that were wanted."""
        return HostCodes(map(CodeSite, made, bits, modules))


class Gpu:
    """Runs programs on one GPU."""

    target = "cuda"

    def __init__(self, number: int) -> None:
        self.number = number
        #: (address, images) -> the images there, and here, so that the address stays theirs.
        self.shown: OrderedDict[tuple[int, int], tuple[Any, Images]] = OrderedDict()
        self.lock = Lock()

    def compile(self, program: Any, mask: Mask, kept: list[int]) -> Any:
        return _core.cuda_load(program, mask, kept, self.number)

    def show(self, program: Any, images: Images) -> Any:
        """Images are copied once for all masks: they must not change."""
        key = (images.ctypes.data, len(images))
        with self.lock:
            if key not in self.shown:
                self.shown[key] = (_core.cuda_upload(program, images, self.number), images)
                while len(self.shown) > SHOWN:
                    self.shown.popitem(last=False)
            self.shown.move_to_end(key)
            return self.shown[key][0]

    def codes(self, made: Any, bits: Sequence[int], modules: Sequence[int]) -> Codes:
        return CudaCodes(made, bits, modules) if bits else HostCodes()


class CudaCodes(DeviceCodes):
    """Codes in the memory of the GPU that made them."""

    def __init__(self, made: Any, bits: Sequence[int], modules: Sequence[int]) -> None:
        super().__init__(bits, modules)
        self.made = made

    def packed(self) -> Sequence[NDArray[np.uint64]]:
        with device_errors():
            packed: list[NDArray[np.uint64]] = self.made.packed()
            return packed

    def agreements_there(self) -> NDArray[np.int64]:
        with device_errors():
            found: NDArray[np.int64] = self.made.agreements(self.modules)
            return found


def _executor(device: str) -> Processor | Gpu:
    return Processor() if kind_of(device) == "cpu" else Gpu(number_of(device))


@contextmanager
def device_errors() -> Iterator[None]:
    """DeviceMemoryError where a GPU's memory is full, DeviceError where the GPU fails otherwise."""
    if not hasattr(_core, "CudaError"):
        yield
        return
    try:
        yield
    except _core.CudaMemoryError as error:
        raise DeviceMemoryError(
            f"the GPU's memory is full ({error}); search with fewer --channels"
        ) from error
    except _core.CudaError as error:
        raise DeviceError(f"the GPU failed ({error}); nvidia-smi shows its state") from error


class _Supernet:
    """A `MaskedPass`."""

    def __init__(
        self,
        graph: Graph,
        executor: Processor | Gpu,
        lowering: Lowering,
        program: Any,
        scaling: Scaling,
        reads: frozenset[str],
    ) -> None:
        self.graph = graph
        self.executor = executor
        self.program = program
        self.scaling = scaling
        self.sites = lowering.sites
        self.reads = reads
        self.cells, self.features = graph.cells, lowering.features
        if "features" not in reads:
            self.cells, self.features = (), []
        #: Of each thread, the mask that it ran last: chunks of one mask follow one another.
        self.last = local()

    def __call__(self, mask: Mask, images: Images) -> Observation:
        nodes = self.graph.nodes
        sites = self.graph.relu_sites(self.graph.live(mask)) if "codes" in self.reads else {}
        wanted = [value for value, modules in sites.items() if modules]
        with device_errors():
            compiled, exponents = self._compiled(mask)
            logits, codes, pooled, features, _, _ = compiled.run(
                self.executor.show(self.program, images), [self.sites[value] for value in wanted]
            )
        return Observation(
            restored(logits, exponents[-1]),
            codes=self.executor.codes(
                codes,
                [math.prod(nodes[value].shape) for value in wanted],
                [sites[value] for value in wanted],
            ),
            pooled=restored(pooled, exponents[self.graph.penultimate]) if "pooled" in self.reads else None,
            features=tuple(
                restored(flat, exponents[position]).reshape(len(images), *nodes[position].shape)
                for position, flat in zip(self.cells, features, strict=True)
            ),
        )

    def _compiled(self, mask: Mask) -> tuple[Any, Sequence[int]]:
        """The mask's steps, and the exponents of what they put out (see `Scaled`)."""
        key = mask.tobytes()
        if getattr(self.last, "key", None) != key:
            scaled = self.scaling(mask)
            compiled = self.executor.compile(self.program, scaled.mask, self.features)
            self.last.made, self.last.key = (compiled, scaled.exponents), key
        made: tuple[Any, Sequence[int]] = self.last.made
        return made
