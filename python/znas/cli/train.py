"""`znas-engine train`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from znas.cli.console import finish, progress_bar, reporter
from znas.cli.options import Depth, Json, Quiet, Width, path
from znas.training.recipe import names

What = Annotated[
    str,
    typer.Argument(
        metavar="RUN|ARCH",
        help="A folder that `search --out` wrote, or (with --space) an architecture as its community "
        "writes it.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        parser=path,
        help="New folder for training.json, metrics.csv, weights.safetensors, model.onnx, architecture.py, "
        "preprocess.json; until it is written, checkpoints lie in OUT.work.",
    ),
]
SpaceOf = Annotated[
    str | None,
    typer.Option(help="Search space of an architecture; of a run, where its class does not give it back."),
]
Data = Annotated[str | None, typer.Option(help="Data set, as for `search`; by default that of the run.")]
Images = Annotated[
    Path | None, typer.Option(parser=path, help="Folder of the images; by default that of the run.")
]
Judging = Annotated[
    Path | None,
    typer.Option(
        parser=path,
        help="Folder of images to judge by; by default what lies beside the others and is kept from "
        "searches (CIFAR's test images, `val` beside `train`), else a tenth of them.",
    ),
]
RecipeName = Annotated[
    str,
    typer.Option(help=f"How: {', '.join(names(installed=False))}, or a .toml file of their form."),
]
Baselines = Annotated[
    str,
    typer.Option(
        help="Also trained, alike, separated by commas: most-parameters and random of the space, resnet20, "
        "mobilenet, and where that is installed torchvision:resnet18 and others."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="cpu, cuda:0, or several GPUs with commas; by default the first GPU, or cpu."),
]
Threads = Annotated[
    int | None, typer.Option(help="Threads that compute and that read pictures; by default every core.")
]
Precision = Annotated[
    str, typer.Option(help="32, or bf16 or 16 for convolutions and products beside weights in float32.")
]
Patience = Annotated[
    int | None,
    typer.Option(
        help="End after so many epochs without a better accuracy on a tenth of the images, which is not "
        "learned from then."
    ),
]
Weighed = Annotated[
    bool,
    typer.Option("--class-weights", help="Classes count alike in the loss, however many images they have."),
]
Augment = Annotated[
    str | None,
    typer.Option(
        help="A further function of a batch of images, as package.module:name, or a transform of "
        "torchvision, as torchvision:TrivialAugmentWide."
    ),
]


def train(
    what: What,
    out: Out,
    space: SpaceOf = None,
    data: Data = None,
    data_dir: Images = None,
    val_dir: Judging = None,
    resolution: Annotated[int | None, typer.Option(help="Side of the images in pixels.")] = None,
    channels: Width = None,
    cells: Depth = None,
    recipe: RecipeName = "quick",
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images per step, instead of the recipe's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate, instead of the recipe's.")] = None,
    baseline: Baselines = "",
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    seeds: Annotated[int, typer.Option(help="Trainings of each network, with seeds from --seed on.")] = 1,
    device: Device = None,
    threads: Threads = None,
    precision: Precision = "32",
    patience: Patience = None,
    class_weights: Weighed = False,
    augment: Augment = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write its logs too.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train what a search found, and write the file that classifies.

    Ends with the accuracy on images that were not learned from, by PyTorch and of the deployed file by ONNX
    Runtime. The same command goes on from the last epoch where it was ended. Needs the extra `train`.

    \b
    Examples:
      znas-engine train runs/first --data-dir ~/data \\
        --out runs/first-trained
      znas-engine train runs/first --seeds 3 \\
        --baseline resnet20,random --out runs/compared
    """
    from znas.training.train import FILES
    from znas.training.train import train as trained

    images = {"data": data, "data_dir": data_dir, "val_dir": val_dir, "resolution": resolution}
    how = {"recipe": recipe, "epochs": epochs, "batch": batch, "lr": lr, "patience": patience}
    where = {"device": device, "threads": threads, "precision": precision, "tensorboard": tensorboard}
    more = {"class_weights": class_weights, "augment": augment, "seed": seed, "seeds": seeds}
    beside = [name.strip() for name in baseline.split(",") if name.strip()]
    with progress_bar("batches", quiet=quiet) as bar:
        hooks: dict[str, Any] = {"progress": bar, "report": reporter(quiet=quiet)}
        given: dict[str, Any] = {**images, **how, **where, **more, **hooks}
        found = trained(what, out, space=space, channels=channels, cells=cells, baselines=beside, **given)
    finish(found.to_json() if as_json else found.document(), None, out, ", ".join(FILES))
