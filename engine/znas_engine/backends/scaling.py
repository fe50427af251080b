"""From the masks of a search to those that a pass in half precision takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from znas_engine.environment import Environment
from znas_engine.evaluator import Evaluator
from znas_engine.graph import Graph
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.supernet.rescale import Rescale, Scaled, unscaled

#: Images of the float32 pass that scales are taken from.
PROBED = 4
Scaling = Callable[[Mask], Scaled]


def rescales(norm: str, dtype: str) -> bool:
    """Whether values would leave the range of `dtype`, because nothing normalises them: every cell then has a
    mask of its own with powers of two in it (see `rescale`)."""
    return norm == "identity" and dtype == "float16"


def mask_shape(space: SearchSpace[Any], graph: Graph, norm: str, dtype: str) -> tuple[int, ...]:
    """Of the masks that a pass takes: [E, O], or [cells, E, O] where it `rescales`."""
    return (len(graph.cells), *space.shape) if rescales(norm, dtype) else space.shape


def scaling_of(evaluator: Evaluator, environment: Environment, norm: str) -> Scaling:
    """From masks [E, O] to those of `mask_shape`, with the exponents that undo the scales in them."""
    if not rescales(norm, evaluator.dtype):
        return unscaled(evaluator.graph)
    from znas_engine.backends.torch_reference import TorchReference  # imports torch

    reference = TorchReference(evaluator.space, evaluator.macro, norm=norm)
    powers = reference.powers(environment, environment.batch.images[:PROBED])
    return Rescale(evaluator.graph, evaluator.space.mixture(), powers)
