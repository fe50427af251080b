"""What a network needs of a machine's memory, before anything is made of it."""

from __future__ import annotations

import math
import os

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Conv, Graph, Linear


def weight_bytes(graph: Graph) -> int:
    """Of all convolutions and the classifier, in float32."""
    return 4 * sum(math.prod(node.weight_shape) for node in graph.nodes if isinstance(node, Conv | Linear))


def least_bytes(graph: Graph, images: int) -> int:
    """Less than any pass takes: that many images, the weights, and the largest value of one image."""
    return (
        4 * images * math.prod(graph.nodes[0].shape)
        + weight_bytes(graph)
        + 4 * max(math.prod(node.shape) for node in graph.nodes)
    )


def memory_bytes() -> int | None:
    """Of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(graph: Graph, images: int) -> None:
    """InvalidValueError where not even the images and weights fit into this machine's memory."""
    there, needed = memory_bytes(), least_bytes(graph, images)
    if there is not None and needed > there:
        _, _, side = graph.nodes[0].shape
        raise InvalidValueError(
            f"{images:,} images of {side:,} x {side:,} pixels and this supernet need {needed / 1e9:,.0f} GB "
            f"and this machine has {there / 1e9:,.0f}: ask for a smaller --resolution, --supernet-channels, "
            "--supernet-cells or --images"
        )
