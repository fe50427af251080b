"""Which flavours of TensorRT are installed; nothing is imported to find out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from znas_engine.errors import MissingDependencyError

RTX = "TensorRT-RTX"
HOW_TO_GET = (
    "pip install 'znas-engine[trt]', or 'znas-engine[trt-rtx]' for an RTX GPU or to build plans ahead"
)


@dataclass(frozen=True, slots=True)
class Flavour:
    """name: of the product. module: its Python package. distributions: that may hold the module.
    preload: a package whose import makes the libraries known, if the bindings come without any."""

    name: str
    module: str
    distributions: tuple[str, ...]
    preload: str | None = None

    @property
    def distribution(self) -> tuple[str, ...]:
        """The one that is installed; none where the module came without a package manager."""
        for distribution in self.distributions:
            try:
                version(distribution)
            except PackageNotFoundError:
                continue
            return (distribution,)
        return ()

    def __str__(self) -> str:
        return " ".join([self.name, *map(version, self.distribution)])


#: In the order of preference: TensorRT times kernels on the GPU at hand.
FLAVOURS = (
    Flavour("TensorRT", "tensorrt", ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")),
    Flavour(RTX, "tensorrt_rtx", ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12")),
    Flavour(
        RTX,
        "tensorrt_rtx_bindings",
        ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings"),
        preload="onnxruntime_ep_nv_tensorrt_rtx",
    ),
)


def installed() -> list[Flavour]:
    """One entry per product, the one that is used first."""
    found: dict[str, Flavour] = {}
    for flavour in FLAVOURS:
        if _is_package(flavour.module):
            found.setdefault(flavour.name, flavour)
    return list(found.values())


def chosen() -> Flavour:
    """The flavour that is used here. Raises MissingDependencyError where none is installed."""
    if found := installed():
        return found[0]
    raise MissingDependencyError(f"TensorRT is not installed: {HOW_TO_GET}")


def _is_package(module: str) -> bool:
    # Stubs alone make a folder of that name, which has no file to load.
    spec = find_spec(module)
    return spec is not None and spec.origin is not None
