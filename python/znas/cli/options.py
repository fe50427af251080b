"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from znas_engine.backends import BACKENDS
from znas_engine.data import DATASETS
from znas_engine.scores import SCORES
from znas_engine.spaces import SPACES
from znas_engine.supernet.initialisation import INITIALISATIONS
from znas_engine.supernet.normalisation import NORMS

Space = Annotated[str, typer.Option(help=f"Search space: {' | '.join(SPACES)}.")]
Data = Annotated[str, typer.Option(help=f"Images: {' | '.join(DATASETS)}.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder that holds cifar-10-batches-py or cifar-100-python, or one folder per class."),
]
Backend = Annotated[
    str,
    typer.Option(
        help=f"{' | '.join(BACKENDS.names())} | auto, the first of these that can run here, which says what "
        "those before it lack."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="cpu | cuda:N | several GPUs as in cuda:0,cuda:1, which share the masks | default: cuda:0 for "
        "trt, cpu for the others | auto: the same, but --backend auto takes cuda:0 if results of its compute "
        "capability are committed."
    ),
]
SCORE = typer.Option(help=f"Score function: {' | '.join(SCORES)}; or several of them joined by '+'.")
Score = Annotated[str, SCORE]
Envs = Annotated[int, typer.Option(help="Environments (weights and images) to average over.")]
IMAGES = typer.Option(help="Images per environment.")
Images = Annotated[int, IMAGES]
NORM = typer.Option(help=f"Normalisation: {' | '.join(NORMS)}.")
Norm = Annotated[str, NORM]
Dtype = Annotated[
    str,
    typer.Option(
        help="What products read: float32 | bfloat16 (native, trt) | float16 (native and ort on a GPU, trt)."
    ),
]
Init = Annotated[str, typer.Option(help=f"Weights: {' | '.join(INITIALISATIONS)}.")]
Seed = Annotated[int, typer.Option(help="Decides weights, images, interventions and ties.")]
Threads = Annotated[
    int | None, typer.Option(help="Worker threads; all cores by default. Results do not depend on it.")
]
Channels = Annotated[int | None, typer.Option(help="Width of the supernet; the space's own by default.")]
Cells = Annotated[
    int | None, typer.Option(help="Depth of the supernet: cells per stage (nasbench201) or in total (darts).")
]
Resolution = Annotated[int | None, typer.Option(help="Side of the images in pixels.")]
Table = Annotated[Path | None, typer.Option(help="CSV of architectures and their accuracies in percent.")]
Column = Annotated[str | None, typer.Option(help="Column of the table; its first numeric one by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks on stderr.")]
