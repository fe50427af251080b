"""`znas.network`: any architecture of any space as a trainable network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from znas.request import check_between
from znas_engine.spaces import Macro, SearchSpace, get_space, resize

if TYPE_CHECKING:
    from torch import nn


def network(
    space: str | SearchSpace[Any],
    architecture: Any,
    *,
    classes: int = 10,
    resolution: int = 32,
    channels_in: int = 3,
    channels: int | None = None,
    cells: int | None = None,
) -> nn.Module:
    """The trainable network of an architecture, freshly initialised; an ordinary torch.nn.Module.

        network = znas.network("nasbench201", "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|", classes=100)

    space: a name, `package.module:Name` or an object. architecture: what `SearchSpace.parse` of the space
    reads: its community's string, or lists and dictionaries of it. resolution, channels_in: of the images
    [n, channels_in, resolution, resolution]. channels, cells: None is the size at which the community trains.

    Raises:
        InvalidValueError: a space, architecture or size that there is not.
    """
    found = get_space(space)
    macro = trained_macro(found, classes, resolution, channels_in, channels, cells)
    return found.to_torch(found.parse(architecture), macro)


def trained_macro(
    space: SearchSpace[Any],
    classes: int,
    resolution: int,
    channels_in: int,
    channels: int | None,
    cells: int | None,
) -> Macro:
    """The size at which the community trains, with another width or depth where they are not None."""
    for name, number in (("classes", classes), ("resolution", resolution), ("channels_in", channels_in)):
        check_between(name, number, 1, None)
    macro = space.evaluation_macro(resolution=resolution, classes=classes)
    return resize(replace(macro, inputs=channels_in), channels=channels, cells=cells)
