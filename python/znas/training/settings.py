"""How a training is done, checked before its first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from znas import jobs
from znas.training.recipe import Recipe, recipe
from znas.vision import augmentation
from znas_engine.arguments import check_between, choice, distinct, truth
from znas_engine.cores import available_cores
from znas_engine.data.torchvision_sets import PREFIX
from znas_engine.devices import kind_of, parse_devices
from znas_engine.errors import InvalidValueError, MissingDependencyError, PluginError, briefly, in_short
from znas_engine.promises import Calling
from znas_engine.registry import Registry, where_is

if TYPE_CHECKING:
    from torch import Tensor

    from znas.training.augment import Augment

#: What computes: float32 alone, or convolutions and products in a shorter format beside it.
PRECISIONS = ("32", "bf16", "16")
MOST_SEEDS, MOST_THREADS = 100, 1024
#: Functions of a batch of images, float32 [n, C, H, W] to the same, or classes that make one.
AUGMENTATIONS: Registry[Any] = Registry("augmentation", "znas.augmentation", None, {}, make=False)


class Asked(TypedDict, total=False):
    """How `znas.train` trains.

    recipe: one of `znas.training.recipe.names`, "quick" unless told, a .toml file, or a `Recipe`; epochs,
    batch, lr: instead of its own. baselines: trained alike; names of `entrants.OF_SPACE` and
    `baselines.BASELINES`, or `torchvision:NAME`. seed, seeds: the first (0), and how many trainings of each
    network (1). device: cpu, cuda:0, or several GPUs with commas; None is the first GPU, else cpu. threads:
    None is every core.
    precision: "32", "bf16" or "16". patience: ends after so many epochs without a better accuracy on a tenth
    of the images, which is not learned from then. class_weights: classes count alike in the loss, however
    many images they have. augment: a further function of a batch of images, float32 [n, C, H, W] to the same,
    a class that makes one, `package.module:name` of it, or `torchvision:NAME`, a transform of pictures of 8
    bits. tensorboard: writes its logs too.
    """

    recipe: str | Path | Recipe
    epochs: int | None
    batch: int | None
    lr: float | None
    baselines: Sequence[str]
    seed: int
    seeds: int
    device: str | None
    threads: int | None
    precision: str
    patience: int | None
    class_weights: bool
    augment: str | Callable[[Tensor], Tensor] | None
    tensorboard: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """recipe: with what was asked for instead of its own values. baselines: names, trained alike. seeds: of
    each network. devices: cpu, or GPUs. threads: that compute, and that read pictures. precision: one of
    `PRECISIONS`. patience: see `Asked`, as are class_weights, augment and tensorboard.

    Raises InvalidValueError, MissingDependencyError: what cannot be done here.
    """

    recipe: Recipe
    baselines: tuple[str, ...]
    seeds: range
    devices: tuple[str, ...]
    threads: int
    precision: str
    patience: int | None
    class_weights: bool
    augment: Callable[[Tensor], Tensor] | None
    augment_name: str | None
    tensorboard: bool

    @classmethod
    def of(cls, asked: Asked) -> Settings:
        """What was asked, checked."""
        given: dict[str, Any] = {**asked}
        unknown = [name for name in given if name not in Asked.__annotations__]
        if unknown:
            raise TypeError(f"train() got an unexpected keyword argument {unknown[0]!r}")
        tensorboard = truth("tensorboard", given.get("tensorboard", False))
        check_packages(tensorboard=tensorboard)
        changes = {name: given.get(name) for name in ("epochs", "batch", "lr")}
        first = check_between("seed", given.get("seed", 0), 0, None)
        seeds = check_between("seeds", given.get("seeds", 1), 1, MOST_SEEDS)
        threads, patience = given.get("threads"), given.get("patience")
        function, name = _function(given.get("augment"))
        found = cls(
            recipe=recipe(given.get("recipe", "quick")).changed(**changes),
            baselines=tuple(distinct("baselines", list(given.get("baselines", ())))),
            seeds=range(first, first + seeds),
            devices=_devices(given.get("device")),
            threads=available_cores()
            if threads is None
            else check_between("threads", threads, 1, MOST_THREADS),
            precision=choice("precision", given.get("precision", "32"), PRECISIONS),
            patience=None if patience is None else check_between("patience", patience, 1, None),
            class_weights=truth("class_weights", given.get("class_weights", False)),
            augment=function,
            augment_name=name,
            tensorboard=tensorboard,
        )
        if found.precision == "16" and found.devices == ("cpu",):
            raise InvalidValueError("`precision` must be 32 or bf16 on a CPU but got 16")
        return found

    def facts(self) -> dict[str, Any]:
        """What weights depend on besides the images and the network, plain JSON."""
        return {
            "recipe": self.recipe.to_dict(),
            "devices": [kind_of(device) for device in self.devices],
            "precision": self.precision,
            "patience": self.patience,
            "class_weights": self.class_weights,
            "augment": [self.augment_name, *jobs.settings(self.augment)],
        }


def on_images(settings: Settings, shown: Augment, scale: float | None) -> Any:
    """`settings.augment` as a function of images that were normalised so. scale: see `Preprocess`.

    Raises InvalidValueError: a transform of pictures, for images of which nobody says what pictures they are.
    The function raises PluginError where it makes no batch of a batch.
    """
    from znas.training.augment import OnBytes

    name, transform = settings.augment_name, settings.augment
    if name is None or transform is None:
        return None
    if not name.startswith(PREFIX):
        return partial(_augmented, transform, name)
    if shown.mean is None or shown.std is None or scale != 255:
        raise InvalidValueError(
            f"`augment` {name} changes pictures of 8 bits, and the data set does not say how its images were "
            "made of such: give a function of normalised images"
        )
    return partial(_augmented, OnBytes(transform, shown.mean, shown.std), name)


def check_packages(*, tensorboard: bool) -> None:
    """MissingDependencyError where a training cannot be done."""
    try:
        import lightning.pytorch  # noqa: F401

        if tensorboard:
            import tensorboard as _  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"training needs lightning and tensorboard ({in_short(error)}): pip install 'znas-engine[train]'"
        ) from error


def _devices(device: str | None) -> tuple[str, ...]:
    import torch

    if device is None:
        return ("cuda:0",) if torch.cuda.is_available() else ("cpu",)
    found = parse_devices(device)
    here = torch.cuda.device_count()
    for name in found:
        if name != "cpu" and int(name.partition(":")[2]) >= here:
            raise MissingDependencyError(
                f"the device {name} is not here: PyTorch finds {here or 'no'} GPUs; pass --device cpu"
            )
    return found


def _function(asked: Any) -> tuple[Callable[[Tensor], Tensor] | None, str | None]:
    """What is done to a batch besides the recipe, and its name; see `on_images`."""
    if asked is None:
        return None, None
    if isinstance(asked, str) and asked.startswith(PREFIX):
        return augmentation(asked.removeprefix(PREFIX)), asked
    found = AUGMENTATIONS.get(asked)
    name = asked if isinstance(asked, str) else where_is(asked)
    if isinstance(found, type):
        with Calling(f"the augmentation {name}", name):
            found = found()
    if not callable(found):
        raise InvalidValueError(f"`augment` must be a function of a batch of images but got {briefly(found)}")
    return found, name


def _augmented(function: Callable[[Tensor], Tensor], name: str, images: Tensor) -> Tensor:
    """What it makes of a batch. PluginError: it raises, or gives something else."""
    with Calling(f"the augmentation {name}", name):
        found = function(images)
    if getattr(found, "shape", None) != images.shape or found.dtype != images.dtype:
        raise PluginError(
            f"the augmentation {name} must give a batch {list(images.shape)} of {images.dtype} but gave "
            f"{briefly(found)}"
        )
    return found
