"""`znas-engine network`"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from znas.cli.console import finish
from znas.cli.options import (
    ARCHITECTURE,
    ChannelsIn,
    Classes,
    Depth,
    Json,
    Resolution,
    SpaceName,
    Width,
    path,
)


def network(
    space: SpaceName,
    arch: Annotated[str, typer.Argument(help="The architecture as its community writes it.")],
    out: Annotated[Path | None, typer.Option(parser=path, help=f"New folder for {ARCHITECTURE}.")] = None,
    classes: Classes = 10,
    resolution: Resolution = 32,
    channels_in: ChannelsIn = 3,
    channels: Width = None,
    cells: Depth = None,
    as_json: Json = False,
) -> None:
    """Say what any architecture of a space costs, and write it as a trainable network.

    architecture.py imports only torch; architecture.untrained.onnx has random weights. Parameters and
    multiply-accumulates are counted as the communities count them.

    \b
    Examples:
      znas-engine network nasbench201 '[3, 3, 3, 1, 2, 3]' \\
        --classes 100
      znas-engine search --space darts > darts.txt
      znas-engine network darts "$(head -n 1 darts.txt)" \\
        --out runs/darts-network
    """
    from znas.files import write_folder
    from znas.network import read, trained_macro
    from znas.output import Code, Document, Facts
    from znas.run_folder import architecture_files, check_folder
    from znas.summary import size_in_words
    from znas_engine.spaces import get_space

    if out is not None:
        check_folder(out)
    found = get_space(space)
    genotype = read(found, arch)
    macro = trained_macro(found, classes, resolution, channels_in, channels, cells)
    graph = found.network(genotype, macro)
    facts = {
        "space": found.name,
        "genotype": genotype.structure(),
        "arch": str(genotype),
        "params": graph.parameters,
        "flops": graph.flops,
        "network": asdict(macro),
    }
    size = Facts([("network", size_in_words(macro, graph.parameters, graph.flops))])
    document = Document(f"An architecture of the space {found.name}", [Code(str(genotype)), size])

    def write() -> None:
        assert out is not None
        write_folder(out, architecture_files(found, genotype, macro, seed=0))

    finish(
        json.dumps(facts, indent=1) if as_json else document,
        None if out is None else write,
        out,
        ARCHITECTURE,
    )
