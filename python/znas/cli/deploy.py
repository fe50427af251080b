"""`znas-engine deploy`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from znas.cli.console import finish, progress_bar, remark
from znas.cli.export import Capability, Dtype, Out
from znas.cli.options import Json, path

Run = Annotated[
    Path, typer.Argument(parser=path, help="A folder that `search --out` wrote, or its result.json.")
]
Weights = Annotated[
    Path,
    typer.Option(
        parser=path,
        help="State dictionary of build() in its architecture.py: a file of torch.save, or .safetensors.",
    ),
]
Opset = Annotated[
    int | None,
    typer.Option(help="Version of ONNX's operators; by default the oldest that does, 17 for float32."),
]
Images = Annotated[
    Path | None,
    typer.Option(
        parser=path,
        help="Folder of images to check on, of the kind that was searched with; by default what lies "
        "beside them and is kept from searches (CIFAR's test images, `val` beside `train`), or these.",
    ),
]
Names = Annotated[
    str | None, typer.Option(help="Names of the classes in the order of the logits, separated by commas.")
]
Width = Annotated[int | None, typer.Option(help="Width of what was trained; by default that of the run.")]
Depth = Annotated[int | None, typer.Option(help="Depth of what was trained; by default that of the run.")]
LatencyOn = Annotated[
    str | None,
    typer.Option(
        help="Where the network is timed: ort:cpu:THREADS, native:cpu, torch:cpu, ort:cuda:N; 'none'."
    ),
]
Space = Annotated[
    str | None, typer.Option(help="The run's search space, where its class alone does not give it back.")
]


def deploy(
    run: Run,
    weights: Weights,
    out: Out,
    opset: Opset = None,
    dtype: Dtype = "float32",
    compute_capability: Capability = None,
    data_dir: Images = None,
    class_names: Names = None,
    channels: Width = None,
    cells: Depth = None,
    latency: LatencyOn = "ort:cpu:1",
    space: Space = None,
    as_json: Json = False,
) -> None:
    """Write the network of a search with trained weights as one ONNX file.

    Normalisation is folded into the convolutions and what does not reach the logits is left out. The file is
    checked against PyTorch on images, and says in its metadata how pictures become `images` and what the
    logits are called. With --compute-capability it is a TensorRT plan, which has no metadata.

    \b
    Examples:
      znas-engine deploy runs/first --weights weights.pt \\
        --out model.onnx
      znas-engine deploy runs/first --weights weights.pt \\
        --data-dir pictures/val --out model.onnx
    """
    from znas.deploy import deploy as made
    from znas.files import check_new

    check_new(out)
    with progress_bar("images", quiet=False) as progress:
        deployed = made(
            run,
            weights,
            opset=opset,
            dtype=dtype,
            compute_capability=compute_capability,
            data_dir=data_dir,
            class_names=None if class_names is None else [name.strip() for name in class_names.split(",")],
            channels=channels,
            cells=cells,
            latency=None if latency == "none" else latency,
            space=space,
            progress=progress,
            report=remark,
        )
    found = json.dumps(deployed.to_dict(), indent=1) if as_json else deployed.document()
    finish(found, lambda: deployed.save(out), out)
