"""`znas.network`: any architecture of any space as a trainable network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from znas.request import check_between
from znas_engine.spaces import Genotype, Macro, SearchSpace, get_space, resize

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
    found.network(genotype, macro)  # its graph says whether it has that size
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
        resolution=check_between("resolution", resolution, 1, None),
        classes=check_between("classes", classes, 1, None),
    )
    inputs = check_between("channels_in", channels_in, 1, None)
    return resized(replace(macro, inputs=inputs), channels=channels, cells=cells)


def resized(macro: Macro, *, channels: int | None, cells: int | None) -> Macro:
    """`znas_engine.spaces.resize` of what may be no numbers."""
    return resize(
        macro,
        channels=None if channels is None else check_between("channels", channels, None, None),
        cells=None if cells is None else check_between("cells", cells, None, None),
    )


def read(space: SearchSpace[Any], architecture: Any) -> Genotype:
    """What the space reads in it: a notation, its lists and dictionaries, or a genotype of that space.

    Raises:
        InvalidValueError: no architecture of the space. PluginError: a space that breaks its promise.
    """
    written = str(architecture) if isinstance(architecture, Genotype) else architecture
    found: Genotype = space.parse(written)
    return found
