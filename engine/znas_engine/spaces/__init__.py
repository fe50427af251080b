"""Search spaces, as data: one folder each, which holds everything that is known of it."""

from __future__ import annotations

from typing import Any

from znas_engine.registry import Registry
from znas_engine.spaces.base import Edge, Genotype, Macro, Mask, SearchSpace, resize
from znas_engine.spaces.promises import broken_promise

__all__ = ["DEFAULT", "SPACES", "Edge", "Genotype", "Macro", "Mask", "SearchSpace", "get_space", "resize"]

SPACES: Registry[SearchSpace[Any]] = Registry(
    "search space",
    "znas.spaces",
    SearchSpace,
    {
        "nasbench201": "znas_engine.spaces.nasbench201:NasBench201",
        "darts": "znas_engine.spaces.darts:Darts",
        "nasbench_macro": "znas_engine.spaces.nasbench_macro:NasBenchMacro",
        "mobilenet": "znas_engine.spaces.mobilenet:MobileNet",
    },
    check=broken_promise,
)
DEFAULT = "nasbench201"


def get_space(asked: str | SearchSpace[Any] | type[SearchSpace[Any]]) -> SearchSpace[Any]:
    """The space of that name or at `package.module:Name`, of that class, or the space itself; see
    `Registry.get`."""
    return SPACES.get(asked)
