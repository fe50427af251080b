"""The compiled half of the engine: private. `znas_engine.kernels` and `znas_engine.grams` word the contracts
of the functions, `csrc/include/znas/native/program.hpp` those of the classes,
`csrc/include/znas/cuda/execute.hpp` of those on a GPU.

Kernels take arrays through the buffer protocol or DLPack, from host memory, C-contiguous; ValueError
otherwise. Every function lets go of the interpreter while it computes. What begins with `cuda` is there where
the module was built for GPUs. tests/engine/test_core_stub.py holds this file to the module.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

commit: str
#: znas_engine.supernet.normalisation.EPSILON, as the steps round it.
EPSILON: float
#: Of a term that no mask entry multiplies.
NO_SLOT: int
#: Bytes that masks which run together may take beside what the one with the most takes alone.
SHARED_BYTES: int

def available_isas() -> tuple[str, ...]: ...
def count_correct(logits: Any, labels: Any, threads: int, isa: str) -> NDArray[np.int64]: ...
def pack_codes(activations: Any, threads: int, isa: str) -> NDArray[np.uint64]: ...
def code_gram(codes: Any, bits: int, threads: int, isa: str) -> NDArray[np.int64]: ...
def channel_gram(x: Any, isa: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def image_gram(x: Any, isa: str) -> NDArray[np.float64]: ...
def response_grams(
    still: Sequence[Any], nudged: Sequence[Any], isa: str
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]: ...

class TermKind:
    """What a term of a sum does with the value it reads."""

    linear: ClassVar[TermKind]
    average_pool: ClassVar[TermKind]
    product: ClassVar[TermKind]
    depthwise: ClassVar[TermKind]
    constant: ClassVar[TermKind]
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class ProgramBuilder:
    """A program under construction; a method that makes a value or a site returns its number."""

    def __init__(self) -> None: ...
    def images(self, shape: tuple[int, int, int]) -> int: ...
    def sum(self, shape: tuple[int, int, int], *, moments: bool) -> int: ...
    def max_pool(
        self, shape: tuple[int, int, int], *, source: int, kernel: int, stride: int, padding: int
    ) -> int: ...
    def add(
        self,
        value: int,
        *,
        kind: TermKind,
        values: NDArray[np.float32],
        source: int,
        slot: int,
        rectified: bool,
        normalised: bool,
        kernel: int,
        stride: int,
        padding: int,
        dilation: int,
        shift: int,
    ) -> None: ...
    def head(self, *, sources: Sequence[int], rectified: bool, weights: NDArray[np.float32]) -> None: ...
    def site(self, values: Sequence[int]) -> int: ...
    def build(self, *, precision: str, target: str) -> Program:
        """precision: "float32", "bfloat16" or "float16". target: an instruction set, or "cuda"."""

class Program:
    def compile(self, masks: NDArray[np.float32], kept: Sequence[int]) -> Compiled:
        """masks: [G, ...]. kept: sites whose values are handed out."""

class Compiled:
    """For one thread at a time. bytes: the most that a part of the masks, all of whose values share a memory,
    took in the last run, planes and merged weights; parts: how many there were."""

    def run(
        self,
        images: NDArray[np.float32],
        wanted: Sequence[Sequence[int]],
        labels: NDArray[np.int64] | None = None,
    ) -> list[Output]:
        """wanted: per mask the sites whose codes are asked for. labels: what is counted in the place of
        logits."""
    @property
    def bytes(self) -> int: ...
    @property
    def parts(self) -> int: ...

class Count:
    @property
    def correct(self) -> int: ...
    @property
    def finite(self) -> bool: ...

class Output:
    """What a mask gives. logits and counted: one of them. codes: per wanted site. features: per kept site.
    means, variances: per value with moments. Masks that agree may have the same codes and features: these
    arrays are read-only."""

    @property
    def logits(self) -> NDArray[np.float32] | None: ...
    @property
    def codes(self) -> list[NDArray[np.uint64]]: ...
    @property
    def pooled(self) -> NDArray[np.float32]: ...
    @property
    def features(self) -> list[NDArray[np.float32]]: ...
    @property
    def means(self) -> list[list[float]]: ...
    @property
    def variances(self) -> list[list[float]]: ...
    @property
    def counted(self) -> Count | None: ...

class CudaError(Exception): ...
class CudaMemoryError(CudaError): ...

def cuda_device_count() -> int: ...
def cuda_capability(device: int) -> int: ...
def cuda_plan_size(program: Program) -> tuple[int, int]: ...
def cuda_make_ready(device: int) -> None: ...
def cuda_network(program: Program, kept: Sequence[int], device: int) -> CudaNetwork: ...

class CudaImages: ...

class CudaCodes:
    def packed(self, mask: int, site: int) -> NDArray[np.uint64]: ...
    def agreements(self, times: Sequence[Sequence[int]]) -> NDArray[np.int64]: ...
    def patterns(self, times: Sequence[Sequence[int]]) -> list[int]: ...

class CudaFeatures:
    def map(self, site: int) -> NDArray[np.float32]: ...
    def channel_grams(
        self, sites: Sequence[int]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]: ...
    def image_grams(self, sites: Sequence[int]) -> list[NDArray[np.float64]]: ...
    def response_grams(
        self, nudged: CudaFeatures, sites: Sequence[int]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]: ...
    def answer_products(
        self, nudged: CudaFeatures, middle: CudaFeatures, moved: CudaFeatures, sites: Sequence[int]
    ) -> list[NDArray[np.float64]]: ...

class CudaNetwork:
    def upload(self, images: NDArray[np.float32]) -> CudaImages: ...
    def run(
        self,
        images: CudaImages,
        masks: NDArray[np.float32],
        *,
        codes: bool,
        labels: NDArray[np.int64] | None = None,
    ) -> CudaOutput:
        """labels: what is counted in the place of logits."""

class CudaOutput:
    """Of every mask what `Output` has; counted is empty where logits are there."""

    @property
    def logits(self) -> NDArray[np.float32] | None: ...
    @property
    def codes(self) -> CudaCodes | None: ...
    @property
    def features(self) -> CudaFeatures | None: ...
    @property
    def pooled(self) -> NDArray[np.float32]: ...
    @property
    def means(self) -> list[list[list[float]]]: ...
    @property
    def variances(self) -> list[list[list[float]]]: ...
    @property
    def counted(self) -> list[Count]: ...
