"""`znas-engine profile`"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from znas.cli.console import finish, progress_bar
from znas.cli.options import ChannelsIn, Classes, Depth, Json, Quiet, Resolution, SpaceName, Width
from znas.costs.predictor import MEASURED
from znas.profile import SAMPLES
from znas.profile import profile as measure


def profile(
    space: SpaceName,
    arch: Annotated[
        str | None, typer.Argument(help="An architecture as its community writes it; without it, the space.")
    ] = None,
    classes: Classes = 10,
    resolution: Resolution = 32,
    channels_in: ChannelsIn = 3,
    channels: Width = None,
    cells: Depth = None,
    samples: Annotated[
        int, typer.Option(help="Random architectures for what is not counted of all.")
    ] = SAMPLES,
    seed: Annotated[int, typer.Option(help="Decides which.")] = 0,
    latency: Annotated[
        str | None,
        typer.Option(help="Measure it too, on backend:device:threads: ort:cpu:1, native:cpu, torch:cuda:0."),
    ] = None,
    measured: Annotated[
        int, typer.Option(help="Architectures from whose latency those of a space are predicted.")
    ] = MEASURED,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what the networks of a space cost and which limits can be met, or what one network costs.

    Parameters and multiply-accumulates are counted as the communities count them, dead operations included.
    Memory is that of the activations which are alive at once, of one image in float32. In place of a space,
    torchvision:NAME is a well-known network of that package, with random weights.

    \b
    Examples:
      znas-engine profile nasbench201
      znas-engine profile nasbench201 --latency ort:cpu:1
      znas-engine profile nasbench201 '[3, 3, 3, 1, 2, 3]' \\
        --resolution 64 --latency native:cpu
      znas-engine profile torchvision:resnet18 \\
        --latency ort:cpu:1
    """
    with progress_bar("architectures", quiet=quiet) as progress:
        found = measure(
            space,
            arch,
            classes=classes,
            resolution=resolution,
            channels_in=channels_in,
            channels=channels,
            cells=cells,
            samples=samples,
            seed=seed,
            latency=latency,
            measured=measured,
            progress=progress,
        )
    finish(json.dumps(found.to_dict(), indent=1) if as_json else found.document())
