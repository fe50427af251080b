"""One interface to TensorRT 10.12 and later and to TensorRT-RTX; importing this module loads the library.

Networks are strongly typed: the dtypes of the ONNX graph decide the precision and the builder changes none.
TF32 is off, so that float32 means float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from znas_engine import silent
from znas_engine.errors import InvalidValueError, MissingDependencyError, TensorRTError
from znas_engine.tensorrt.flavours import HOW_TO_GET, RTX, chosen

#: The installed flavour that is used.
FLAVOUR = chosen()

if TYPE_CHECKING:
    import tensorrt as trt
else:
    try:
        if FLAVOUR.preload is not None and find_spec(FLAVOUR.preload) is not None:
            silent.load(FLAVOUR.preload)
        trt = silent.load(FLAVOUR.module)
    except (ImportError, OSError) as error:
        raise MissingDependencyError(f"{FLAVOUR} cannot be loaded ({error}): {HOW_TO_GET}") from error

VERSION: str = trt.__version__
#: TensorRT-RTX builds for compute capabilities that are named, and captures CUDA graphs itself. TensorRT
#: times kernels on the GPU at hand and builds for that one.
BUILDS_AHEAD = CAPTURES_GRAPHS = FLAVOUR.name == RTX
#: Whether one plan serves all graphs that differ in weights alone. TensorRT-RTX builds such plans only where
#: there is a GPU, which would rule out building ahead.
REFITS = not BUILDS_AHEAD


@dataclass(frozen=True, slots=True)
class Built:
    """plan: a serialised engine. timings: the builder's measurements, for the next build; may be empty."""

    plan: bytes
    timings: bytes


def capabilities() -> tuple[str, ...]:
    """The compute capabilities that `build` may be asked for, "8.6" for SM86; none for TensorRT."""
    if not BUILDS_AHEAD:
        return ()
    numbers = sorted(int(name[2:]) for name in dir(trt.ComputeCapability) if name.startswith("SM"))
    return tuple(f"{number // 10}.{number % 10}" for number in numbers)


def check_capability(capability: str | None) -> str:
    """`capability` itself, or InvalidValueError where TensorRT-RTX does not build for it."""
    if capability is None or capability not in capabilities():
        raise InvalidValueError(
            f"the compute capability must be one of {', '.join(capabilities())} for {FLAVOUR} "
            f"but got {capability}; TensorRT (pip install 'znas-engine[trt]') builds for others, on that GPU"
        )
    return capability


def build(
    model: bytes, *, images: tuple[int, int], capability: str | None = None, timings: bytes = b""
) -> Built:
    """A plan of a graph that `export` wrote.

    images: how many the plan is tuned for, and how many it takes at most. The mask's shape is fixed.
    capability: a member of `capabilities()`; None, for TensorRT, is the GPU at hand.
    timings: those of earlier builds on this GPU with this version.

    Raises:
        InvalidValueError: a compute capability that this flavour does not build for.
        TensorRTError: the parser or the builder refuses the graph; the message holds the library's own words.
    """
    builder = trt.Builder(_LOG)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, _LOG)
    if not parser.parse(model):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise TensorRTError(f"{FLAVOUR} cannot read the exported graph: {reasons}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if REFITS:
        config.set_flag(trt.BuilderFlag.REFIT)
    if BUILDS_AHEAD:
        number = check_capability(capability).replace(".", "")
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{number}"), 0)
    else:
        config.set_timing_cache(config.create_timing_cache(timings), False)
    profile = builder.create_optimization_profile()
    _, *pixels = sizes(network.get_input(0).shape)
    profile.set_shape("images", *(trt.Dims([count, *pixels]) for count in (1, *images)))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise TensorRTError(f"{FLAVOUR} cannot build a plan: {_LOG.last}")
    return Built(bytes(plan), b"" if BUILDS_AHEAD else bytes(config.get_timing_cache().serialize()))


def deserialize(plan: bytes, model: bytes) -> trt.ICudaEngine:
    """The engine of a plan with the weights of `model`, on the current GPU. Not run on one yet.

    Raises TensorRTError where the library refuses the plan or the weights.
    """
    engine = trt.Runtime(_LOG).deserialize_cuda_engine(plan)
    if engine is None:
        raise TensorRTError(f"{FLAVOUR} cannot use this plan here: {_LOG.last}")
    if REFITS:
        refitter = trt.Refitter(engine, _LOG)
        read = trt.OnnxParserRefitter(refitter, _LOG).refit_from_bytes(model)
        if not (read and refitter.refit_cuda_engine()):
            raise TensorRTError(f"{FLAVOUR} cannot give this plan other weights: {_LOG.last}")
    return engine


def create_context(engine: trt.ICudaEngine) -> trt.IExecutionContext:
    """A context of its own shapes, whose memory is the caller's to give; with TensorRT-RTX it also captures
    CUDA graphs by itself. Raises TensorRTError if it cannot be made. Not run on a GPU yet."""
    how: trt.ExecutionContextAllocationStrategy | trt.IRuntimeConfig
    how = memory = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    if CAPTURES_GRAPHS:
        how = engine.create_runtime_config()
        how.set_execution_context_allocation_strategy(memory)
        how.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    context = engine.create_execution_context(how)
    if context is None:
        raise TensorRTError(f"{FLAVOUR} cannot run this plan here: {_LOG.last}")
    return context


def sizes(shape: trt.Dims) -> tuple[int, ...]:
    """A shape as Python's own type."""
    return tuple(shape[axis] for axis in range(len(shape)))


def enqueue(context: trt.IExecutionContext, stream: int) -> None:
    """Starts a pass on a CUDA stream that is not the default one. Raises TensorRTError if it cannot."""
    if not context.execute_async_v3(stream):
        raise TensorRTError(f"{FLAVOUR} cannot run a pass: {_LOG.last}")


class _Log(trt.ILogger):
    """Keeps the last error, which the library tells nowhere else."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.last = "it gave no reason"

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.last = message


_LOG = _Log()
