"""Of torchvision, where it is installed: well-known networks and its augmentations, by name."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from znas_engine.arguments import check_between
from znas_engine.data.torchvision_sets import PREFIX, torchvision
from znas_engine.errors import InvalidValueError, briefly, in_short
from znas_engine.spaces.parts import MOST_CLASSES

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Small networks that others compare with.
REFERENCES = ("mobilenet_v2", "resnet18", "shufflenet_v2_x1_0")
#: Arguments of those that give more than logits while they train, unless told otherwise.
_PLAIN = {name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")}


def is_reference(space: object) -> bool:
    """Whether it is written as one of torchvision's networks: `torchvision:resnet18`."""
    return isinstance(space, str) and space.startswith(PREFIX)


def torchvision_network(name: str, classes: int) -> nn.Module:
    """A classifier of torchvision with random weights, images [n, 3, H, W] -> logits [n, classes].

    name: `resnet18`, `mobilenet_v2`, `shufflenet_v2_x1_0` or any other of its classifiers, with or without
    `torchvision:` before it. They are made for 224 x 224 pixels; most take others, and say so where not.

    Raises:
        MissingDependencyError: no torchvision, or one that does not fit torch. InvalidValueError: a name that
            it does not have.
    """
    check_between("classes", classes, 1, MOST_CLASSES)
    models = torchvision().models
    names = models.list_models(module=models)
    wanted = name.removeprefix(PREFIX) if isinstance(name, str) else name
    if wanted not in names:
        raise _unknown("network", wanted, names, ", ".join(REFERENCES))
    network: nn.Module = models.get_model(wanted, weights=None, num_classes=classes, **_PLAIN.get(wanted, {}))
    return network


def augmentation(name: str, **arguments: Any) -> Callable[[Tensor], Tensor]:
    """A transform of torchvision.transforms.v2 by its name: `augmentation("TrivialAugmentWide")`,
    `augmentation("RandomCrop", size=32, padding=4)`.

    It takes and gives pictures, uint8 [3, H, W] or a batch of them with one draw for all, and draws from
    torch's generator: torch.manual_seed repeats it.

    Raises:
        MissingDependencyError: see `torchvision_network`. InvalidValueError: a name that it does not have, or
            arguments that the transform does not take.
    """
    torchvision()
    from torchvision.transforms import v2

    kinds: dict[str, Any] = {
        each: kind
        for each, kind in vars(v2).items()
        if inspect.isclass(kind) and issubclass(kind, v2.Transform) and kind is not v2.Transform
    }
    if name not in kinds:
        raise _unknown("transform", name, kinds, "TrivialAugmentWide, RandAugment, AutoAugment")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a deprecated name says what to use instead
            made: Callable[[Tensor], Tensor] = kinds[name](**arguments)
    except Exception as error:  # each checks its own
        raise InvalidValueError(
            f"torchvision's {name} cannot be made of {briefly(arguments)} ({in_short(error)}): "
            "say what it takes"
        ) from error
    return made


def _unknown(what: str, name: object, names: Any, such: str) -> InvalidValueError:
    spelt = {each.lower(): each for each in names}
    near = difflib.get_close_matches(str(name)[:80].lower(), spelt, n=1, cutoff=0.0)
    return InvalidValueError(
        f"torchvision has no {what} {briefly(name)}: name one such as {such}; did you mean "
        f"{spelt[near[0]]!r}?"
    )
