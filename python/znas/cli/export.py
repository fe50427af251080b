"""`znas-engine export`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from znas.cli.console import remark
from znas.cli.options import DATA, SIZE, Json, asks, check_read, path
from znas.hooks import Hooks
from znas.request import Request
from znas.setup import Setup
from znas_engine.export import GRAPH_DTYPES

Out = Annotated[Path, typer.Option(parser=path, help="The file to write; an existing one is refused.")]
Codes = Annotated[
    bool, typer.Option("--codes", help="Add the activation codes that NASWOT needs as outputs.")
]
Dtype = Annotated[
    str,
    typer.Option(
        help=f"Of weights and activations: {' | '.join(GRAPH_DTYPES)}; inputs and outputs stay float32."
    ),
]
Capability = Annotated[
    str | None,
    typer.Option(
        help="Write a TensorRT plan for GPUs of this compute capability, such as 8.6, instead of ONNX."
    ),
]


@asks("space", *DATA, "images", "norm", "init", "seed", *SIZE, preset="naswot", backend="ort", device="cpu")
def export(
    request: Request,
    out: Out,
    codes: Codes = False,
    dtype: Dtype = "float32",
    compute_capability: Capability = None,
    as_json: Json = False,
) -> None:
    """Write the random supernet as one ONNX graph with `images` and `mask` as inputs.

    It is the graph that `search --backend ort` runs in its first environment under the same options; with
    --codes, that of --score naswot. The images are needed only by norm=calibrated, which measures its
    statistics on them. With --compute-capability, the plan that `search --backend trt` makes of that graph
    is built, kept in the cache for it, and written; TensorRT-RTX needs no GPU for that. With --dtype float16
    --norm identity the mask has a row per cell too, for scales (znas_engine.supernet.rescale).

    \b
    Examples:
      znas-engine export --out supernet.onnx
      znas-engine export --space darts --norm batch --seed 3 \\
        --out darts.onnx
      znas-engine export --dtype float16 --codes \\
        --compute-capability 8.6 --out supernet.plan
    """
    from znas.files import check_new, write_file
    from znas_engine.backends.onnxruntime import OnnxRuntime

    check_new(out)
    place = None
    if compute_capability is not None:
        from znas_engine.tensorrt.plans import plan, target

        place = target(compute_capability)
    setup = Setup(request, Hooks(report=remark))
    if setup.norm != "calibrated":
        check_read(export, "is of --norm calibrated, which is measured on them", images=request.images)
    (environment,), backend = setup.environments, setup.evaluator
    assert isinstance(backend, OnnxRuntime)
    written = backend.export(environment, reads=["codes"] if codes else [], dtype=dtype)
    if place is not None:
        written = plan(written, dtype=dtype, target=place, report=remark)
    facts: dict[str, Any] = {
        "file": str(out),
        "bytes": len(written),
        "dtype": dtype,
        "compute_capability": compute_capability,
    }
    facts |= {"built_by": place and str(place.flavour)} | _graph_facts(setup, dtype, codes=codes)
    write_file(out, written)  # what is said below is true of a file that is there
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        typer.echo(
            f"{out}: {len(written) / 1e6:.1f} MB, images {facts['inputs']['images']} and mask "
            f"{facts['inputs']['mask']} -> logits [n, {setup.macro.classes}]; {facts['flops'] / 1e9:.3f} G "
            f"multiply-accumulates per image with every operation live, {dtype}"
            + (f"; {place.flavour}, compute capability {compute_capability}" if place else "")
        )


def _graph_facts(setup: Setup, dtype: str, *, codes: bool) -> dict[str, Any]:
    """What the graph takes and gives."""
    from znas_engine.backends.scaling import mask_shape

    space, graph = setup.space, setup.evaluator.graph
    return {
        "inputs": {
            "images": ["n", *graph.nodes[0].shape],
            "mask": list(mask_shape(space, graph, setup.norm, dtype)),
        },
        "outputs": ["logits", *(["codes"] if codes else [])],
        "edges": [edge.label for edge in space.edges],
        "operations": list(space.operations),
        "flops": graph.flops,
    }
