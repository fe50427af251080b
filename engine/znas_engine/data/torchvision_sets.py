"""torchvision's data sets, where it is installed: one by its name, its test part, the names of its classes.

Nothing is ever downloaded: what is not in the folder is an error that says so.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from znas_engine.data.base import short
from znas_engine.data.preprocess import readable
from znas_engine.errors import DataError, InvalidValueError, MissingDependencyError, briefly, in_short

#: Of the name of a set: torchvision:CIFAR10.
PREFIX = "torchvision:"
#: Wherever the package is missing.
INSTALL = "pip install 'znas-engine[torchvision]'"
#: Parameters that say which part of a set it is, or what else must not be taken over from another part.
_OF_A_PART = {"train", "split", "what", "download", "transforms"}
#: Sets that hold others, between what was given and what knows the classes.
_DEEPEST = 8


def torchvision() -> ModuleType:
    """The package.

    Raises:
        MissingDependencyError: it is not installed, or was built for another torch than there is.
    """
    try:
        import torchvision
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise MissingDependencyError(f"this needs torchvision, which is not installed: {INSTALL}") from error
    except Exception as error:  # operators that its torch lacks
        raise MissingDependencyError(
            f"the torchvision that is installed does not fit the torch that is ({in_short(error)}): install "
            f"both of one release together, for instance in a new environment, {INSTALL}"
        ) from error
    found: ModuleType = torchvision
    return found


def kind(asked: str) -> type:
    """The class of `torchvision:NAME`. InvalidValueError for a name that there is not; raises as
    `torchvision`."""
    name = asked.removeprefix(PREFIX)
    datasets = torchvision().datasets
    names = [each for each in datasets.__all__ if inspect.isclass(getattr(datasets, each))]
    if name not in names:
        spelt = {each.lower(): each for each in names}
        near = difflib.get_close_matches(name.lower(), spelt, n=1, cutoff=0.0)
        raise InvalidValueError(
            f"torchvision.datasets has no class {briefly(name)}; did you mean {PREFIX}{spelt[near[0]]}?"
        )
    found: type = getattr(datasets, name)
    return found


def is_kind(found: Any) -> bool:
    """Whether it is a class of torchvision's data sets, or made of one."""
    return inspect.isclass(found) and any(
        base.__module__.startswith("torchvision.datasets") for base in found.__mro__
    )


def maker(kind: type) -> Callable[..., Any]:
    """What makes the part to train on of a class of torchvision; from a folder, if it reads one.

    It raises DataError where the folder does not hold it.
    """
    parameters = _parameters(kind)
    if "root" not in parameters:
        return kind
    given = {"download": False} if "download" in parameters else {}

    def made_from(data_dir: Path) -> Any:
        try:
            return kind(root=str(data_dir), **given)
        except Exception as error:  # each has its own
            raise DataError(
                f"torchvision makes no {kind.__name__} of {short(data_dir)} ({in_short(error)}); nothing is "
                f"downloaded here: in Python, {kind.__name__}(FOLDER, download=True) does that"
            ) from error

    return made_from


def test_part(data: Any) -> Any:
    """The set that torchvision keeps to judge by, made as `data` was, its transforms included; None where
    `data` is not the part to train on, or the other does not lie in the same folder."""
    if not is_kind(type(data)):
        return None
    parameters = _parameters(type(data))
    anything = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    names = [*parameters, *(("transform", "target_transform") if anything else ())]
    told = {name: _told(data, name) for name in names if name not in _OF_A_PART}
    same = {name: value for name, value in told.items() if value is not None}
    for part in _other_parts(data, parameters, anything):
        try:
            return type(data)(**(same | part))
        except Exception:  # noqa: BLE001 - each set has its own way to say that it is not there
            continue
    return None


def class_names(data: Any, least: int) -> Sequence[str] | None:
    """What the attribute `classes` of a set, or of the one that a Subset is of, calls its classes, in the
    order of their labels; None where it says no such thing, or not of `least` or more."""
    for _ in range(_DEEPEST):
        names = getattr(data, "classes", None)
        if names is None and hasattr(data, "dataset"):
            data = data.dataset
            continue
        break
    if not isinstance(names, list | tuple) or len(names) < max(least, 2):
        return None
    # ImageNet's have synonyms.
    several = [name if isinstance(name, list | tuple) else (name,) for name in names]
    if not all(isinstance(name, str) and name for names in several for name in names):
        return None
    found = [readable(", ".join(names)) for names in several]
    return found if all(found) and len({*found}) == len(found) else None


def _other_parts(
    data: Any, parameters: Mapping[str, inspect.Parameter], anything: bool
) -> Iterator[dict[str, Any]]:
    if _told(data, "train") is True and ("train" in parameters or anything):
        kept = {"split": _told(data, "split")} if "split" in parameters else {}  # EMNIST's is no part
        yield {"train": False} | kept
    elif str(_told(data, "split")).startswith("train") and "split" in parameters:
        yield from ({"split": part} for part in ("test", "val"))


def _told(data: Any, name: str) -> Any:
    """What it was made with: under the argument's name, or with a line before it."""
    return getattr(data, name, getattr(data, f"_{name}", None))


def _parameters(kind: type) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(kind).parameters
    except (TypeError, ValueError):  # some that are written in C
        return {}
