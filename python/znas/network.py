"""`znas.network`: any architecture of any space as a trainable network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from znas_engine.arguments import check_between
from znas_engine.errors import InvalidValueError
from znas_engine.footprint import check_memory
from znas_engine.spaces import Genotype, Macro, SearchSpace, get_space, resize
from znas_engine.spaces.parts import MOST_CHANNELS, MOST_CLASSES, MOST_PIXELS

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
    reads: its community's string, or lists and dictionaries of it; or a genotype. resolution, channels_in: of
    the images [n, channels_in, resolution, resolution]. channels, cells: None is the size at which the
    community trains.

    Raises:
        InvalidValueError: a space, architecture or size that there is not.
    """
    found = get_space(space)
    genotype = read(found, architecture)
    macro = trained_macro(found, classes, resolution, channels_in, channels, cells)
    graph = found.network(genotype, macro)  # it says whether it has that size
    check_memory(graph, 1)
    return found.to_torch(genotype, macro)


def trained_macro(
    space: SearchSpace[Any],
    classes: int,
    resolution: int,
    channels_in: int,
    channels: int | None,
    cells: int | None,
) -> Macro:
    """The size at which the community trains, with another width or depth where they are not None."""
    macro = space.evaluation_macro(
        resolution=check_between("resolution", resolution, 1, MOST_PIXELS),
        classes=check_between("classes", classes, 1, MOST_CLASSES),
    )
    inputs = check_between("channels_in", channels_in, 1, MOST_CHANNELS)
    return resize(replace(macro, inputs=inputs), channels=channels, cells=cells)


def read(space: SearchSpace[Any], architecture: Any) -> Genotype:
    """What the space reads in it: a notation, its lists and dictionaries, or a genotype of that space.

    Raises:
        InvalidValueError: no architecture of the space. PluginError: a space that breaks its promise.
    """
    if architecture is None:
        raise InvalidValueError(f"`architecture` must be a text or genotype of {space.name} but got None")
    written = str(architecture) if isinstance(architecture, Genotype) else architecture
    found: Genotype = space.parse(written)
    return found
