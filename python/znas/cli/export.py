"""`znas-engine export`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from znas.cli import options
from znas.cli.console import remark


def export(
    out: Annotated[Path, typer.Option(help="The ONNX file to write; an existing one is refused.")],
    space: options.Space = "nasbench201",
    data: options.Data = "gaussian",
    data_dir: options.DataDir = None,
    images: options.Images = 64,
    norm: options.Norm = "calibrated",
    init: options.Init = "gaussian",
    seed: options.Seed = 0,
    channels: options.Channels = None,
    cells: options.Cells = None,
    resolution: options.Resolution = None,
    codes: Annotated[
        bool, typer.Option("--codes", help="Add the activation codes that NASWOT needs as outputs.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Write the random supernet as one ONNX graph with `images` and `mask` as inputs.

    It is the graph that `search --backend ort` runs in its first environment under the same options.
    The images are needed only by norm=calibrated, which measures its statistics on them.

    \b
    Examples:
      znas-engine export --out supernet.onnx
      znas-engine export --space darts --norm batch --seed 3 --out darts.onnx
    """
    from znas.settings import SearchSettings
    from znas_engine.backends.onnxruntime import OnnxRuntime
    from znas_engine.data import load
    from znas_engine.environment import draw_environments
    from znas_engine.errors import StorageError
    from znas_engine.export.cache import write_atomically
    from znas_engine.spaces import get_space, resize

    if out.exists():
        raise StorageError(f"the output file {out} exists already; name another one or remove it")
    settings = SearchSettings(
        space=space,
        data=data,
        data_dir=data_dir,
        backend="ort",
        images=images,
        norm=norm,
        init=init,
        seed=seed,
    )
    searched = get_space(settings.space)
    dataset = load(data, data_dir=data_dir, resolution=resolution)
    macro = resize(
        searched.search_macro(resolution=dataset.resolution, classes=dataset.classes),
        channels=channels,
        cells=cells,
    )
    (environment,) = draw_environments(dataset, count=1, images=images, init=init, seed=seed)
    backend = OnnxRuntime(searched, macro, norm=norm, report=remark)
    model = backend.export(environment, reads=["codes"] if codes else [])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, model)
    except OSError as error:
        raise StorageError(f"the output file {out} cannot be written ({error.strerror or error})") from error
    facts: dict[str, Any] = {
        "file": str(out),
        "bytes": len(model),
        "inputs": {
            "images": ["n", 3, macro.resolution, macro.resolution],
            "mask": list(searched.shape),
        },
        "outputs": ["logits", *(["codes"] if codes else [])],
        "edges": [edge.label for edge in searched.edges],
        "operations": list(searched.operations),
        "flops": backend.graph.flops,
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        typer.echo(
            f"{out}: {len(model) / 1e6:.1f} MB, images {facts['inputs']['images']} and mask "
            f"{facts['inputs']['mask']} -> logits [n, {macro.classes}]; {backend.graph.flops / 1e9:.3f} G "
            "multiply-accumulates per image with every operation live"
        )
