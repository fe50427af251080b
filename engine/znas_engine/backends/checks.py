"""What an evaluator refuses."""

from __future__ import annotations

from typing import Any

import numpy as np

from znas_engine.backends.record import GRADIENTS
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError, PluginError
from znas_engine.graph import Graph, Mixed
from znas_engine.registry import called, hold_to
from znas_engine.scores import ForwardScore, GradientScore, Score
from znas_engine.scores.base import broken_promise
from znas_engine.spaces import Mask, SearchSpace

#: How far a backend's logits may be from the torch reference's, relative to the reference's largest.
#: bfloat16: four standard deviations of what rounding weights to 8 bits does in a row of 50 convolutions,
#: the longest of the NAS-Bench-201 supernet (docs/decisions/0006-native-executor.md).
LOGIT_TOLERANCE = {"float32": 2e-4, "float16": 5e-3, "bfloat16": 4.7e-2}


def check_masks(masks: Mask, space: SearchSpace[Any]) -> None:
    """Refuse what is not float32 [G, E, O], finite, >= 0, and 0 where an operation does not stand."""
    edges, operations = space.shape
    if masks.ndim != 3 or masks.shape[1:] != (edges, operations):
        raise InvalidValueError(
            f"`masks` must have the shape [G, {edges}, {operations}] for {space.name} "
            f"but got {list(masks.shape)}"
        )
    if masks.dtype != np.float32:
        raise InvalidValueError(f"`masks` must be float32 but got {masks.dtype}")
    if not np.isfinite(masks).all():
        raise InvalidValueError("`masks` must be finite but got NaN or infinity")
    if masks.size and masks.min() < 0:
        raise InvalidValueError(f"`masks` must not be negative but got {masks.min()}")
    absent = np.argwhere((masks.max(0, initial=0) > 0) & ~space.mixed)
    if len(absent):
        e, o = absent[0]
        raise InvalidValueError(
            f"`masks` must be 0 where {space.name} has no operation but keep {space.operations[o]} on "
            f"{space.edges[e].label}"
        )


def check_slots(graph: Graph, space: SearchSpace[Any]) -> Graph:
    """`graph` itself, the space's supernet; PluginError where it has terms that no mask of the space has."""
    edges, operations = space.shape
    for node in graph.nodes:
        for slot in node.slots if isinstance(node, Mixed) else ():
            if slot is not None and not (0 <= slot[0] < edges and 0 <= slot[1] < operations):
                raise PluginError(
                    f"the supernet of {called('search space', space)} has a term of edge {slot[0]} and "
                    f"operation {slot[1]} in {node.name!r}, but masks of {edges} edges and {operations} "
                    "operations"
                )
    return graph


def check_score(score: Score, backend: str, dtype: str) -> None:
    """Refuse a score that no backend can run, or not this one."""
    hold_to(broken_promise, score, called("score", score), InvalidValueError)
    if isinstance(score, GradientScore) and backend != GRADIENTS:
        raise InvalidValueError(
            f"the score {score.name!r} needs gradients, which the backend {backend} does not have; "
            f"use --backend {GRADIENTS}"
        )
    if isinstance(score, ForwardScore) and score.differences and dtype != "float32":
        raise InvalidValueError(
            f"the score {score.name!r} takes differences of passes, which {dtype} rounds away; "
            "use --dtype float32"
        )


def check_batch(score: Score, environment: Environment) -> None:
    """Refuse images that this score cannot use."""
    images = len(environment.batch.images)
    if score.needs_labels and environment.batch.labels is None:
        raise InvalidValueError(
            f"the score {score.name!r} needs labels and these images have none; "
            "use --data cifar10 --data-dir FOLDER, or --score naswot"
        )
    if images < score.min_images:
        raise InvalidValueError(
            f"`images` must be at least {score.min_images} for the score {score.name!r} but got {images}"
        )
    if score.max_images is not None and images > score.max_images:
        raise InvalidValueError(
            f"`images` must be at most {score.max_images} for the score {score.name!r} but got {images}"
        )
