"""How a network is trained, as data: a file each, with its source, ours or a space's."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from znas_engine import paths
from znas_engine.arguments import check_between, choice, number, positive, truth
from znas_engine.errors import DataError, InvalidValueError, briefly, one_line, unknown_choice
from znas_engine.spaces import SPACES

#: The one for any space.
OURS = Path(__file__).with_name("quick.toml")
SCHEDULES = ("constant", "cosine", "one-cycle", "exponential")
MOST_EPOCHS, MOST_BATCH = 100_000, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Stochastic gradient descent on cross entropy, and what is done to images on the way.

    source: where it is from; differs: in what it is not the same. epochs: passes over the images. batch:
    images per step, on all devices together; the last incomplete one of an epoch is used too.
    lr: the learning rate, of one-cycle its largest. clip: norm of all gradients, at most. schedule: of the
    learning rate, over all steps; exponential multiplies it by `gamma` after every epoch.
    flip: half of the images, left to right. crop: shifted by up to that share of the side in each direction,
    black beyond the border. cutout: a square of that share of the side becomes the mean colour. resized_crop:
    a window of that share of the area or more, of a side ratio of 3/4 to 4/3, fills the image. jitter:
    brightness, contrast and saturation are multiplied by 1 - jitter to 1 + jitter.
    label_smoothing: share of the target that all classes have alike. drop_path: probability, rising evenly
    over the epochs, with which the output of an operation is left out of an image. auxiliary: weight of the
    loss of a second classifier at two thirds of the depth, which is not part of the network.

    Raises InvalidValueError: a value outside its domain.
    """

    name: str
    title: str
    source: str
    differs: str = ""
    epochs: int
    batch: int
    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip: float | None = None
    schedule: str = "constant"
    gamma: float | None = None
    flip: bool = False
    crop: float = 0.0
    cutout: float = 0.0
    resized_crop: float | None = None
    jitter: float = 0.0
    label_smoothing: float = 0.0
    drop_path: float = 0.0
    auxiliary: float = 0.0

    def __post_init__(self) -> None:
        keep: dict[str, Any] = {
            "epochs": check_between("epochs", self.epochs, 1, MOST_EPOCHS),
            "batch": check_between("batch", self.batch, 1, MOST_BATCH),
            "lr": positive("lr", self.lr),
            "schedule": choice("schedule", self.schedule, SCHEDULES),
        }
        for name in ("momentum", "crop", "cutout", "jitter", "label_smoothing", "drop_path"):
            keep[name] = _share(name, getattr(self, name))
        for name in ("nesterov", "flip"):
            keep[name] = truth(name, getattr(self, name))
        for name in ("clip", "gamma", "resized_crop"):
            value = getattr(self, name)
            keep[name] = None if value is None else positive(name, value)
        for name in ("weight_decay", "auxiliary"):
            keep[name] = number(name, getattr(self, name))
            if keep[name] < 0:
                raise InvalidValueError(f"`{name}` must be 0 or more but got {getattr(self, name)}")
        if keep["drop_path"] == 1:
            raise InvalidValueError("`drop_path` must be below 1: nothing would be left of the network")
        if (self.gamma is None) == (self.schedule == "exponential"):
            raise InvalidValueError("`gamma` goes with the schedule 'exponential', and only with it")
        for name, value in keep.items():
            object.__setattr__(self, name, value)

    def changed(self, **values: Any) -> Recipe:
        """With those of the values that are not None; it then says in what it is not its source's."""
        new = {name: value for name, value in values.items() if value is not None}
        said = [f"{name} {value}" for name, value in new.items() if value != getattr(self, name)]
        differs = "; ".join(filter(None, [self.differs, f"asked for: {', '.join(said)}" if said else ""]))
        return replace(self, **new, differs=differs)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def _share(name: str, value: Any) -> float:
    found = number(name, value, "a number from 0 to 1")
    if not 0 <= found <= 1:
        raise InvalidValueError(f"`{name}` must be a number from 0 to 1 but got {value}")
    return found


#: Tables of a file -> the fields that stand in them.
_TABLES = {
    "": ("title", "source", "differs", "epochs", "batch"),
    "optimiser": ("lr", "momentum", "nesterov", "weight_decay", "clip"),
    "schedule": ("kind", "gamma"),
    "images": ("flip", "crop", "cutout", "resized_crop", "jitter"),
    "network": ("label_smoothing", "drop_path", "auxiliary"),
}


def names(*, installed: bool = True) -> dict[str, Path]:
    """The recipes that are known by name, and their files: ours, then those of the spaces. installed: with
    those of spaces that packages bring."""
    found = {OURS.stem: OURS}
    for name in SPACES.names() if installed else SPACES.builtin:
        folder = SPACES.get(name).recipes
        if folder is not None and paths.is_folder(folder, "the recipes of a space"):
            files = sorted(file for file in paths.names(folder, "the recipes") if file.endswith(".toml"))
            found = {Path(file).stem: folder / file for file in files} | found
    return found


def recipe(asked: str | Path | Recipe) -> Recipe:
    """One of `names`, or that of a .toml file in their form.

    Raises:
        InvalidValueError: there is no such recipe. StorageError, DataError: the file cannot be read, or
            holds something else.
    """
    if isinstance(asked, Recipe):
        return asked
    path = Path(asked) if str(asked).endswith(".toml") else names().get(str(asked))
    if path is None:
        raise unknown_choice("recipe", str(asked), [*names(), "FILE.toml"])
    path = paths.named(path, "the recipe")
    what = f"the recipe {path}"
    try:
        found = paths.read(path, "the recipe").decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{what} is no text in UTF-8 ({error.reason})") from error
    return _parsed(found, path.stem, what)


def _parsed(text: str, name: str, what: str) -> Recipe:
    try:
        plain = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f"{what} is no TOML ({one_line(str(error), 100)})") from error
    values: dict[str, Any] = {}
    for table, value in plain.items():
        if isinstance(value, Mapping) and table in _TABLES:
            values |= {key: _known(what, table, key, each) for key, each in value.items()}
        else:
            values[table] = _known(what, "", table, value)
    if "kind" in values:
        values["schedule"] = values.pop("kind")
    lacking = [each for each in ("title", "source", "epochs", "batch", "lr") if each not in values]
    if lacking:
        raise DataError(f"{what} must say `{lacking[0]}`: see quick.toml of znas.training")
    try:
        return Recipe(name=name, **values)
    except InvalidValueError as error:
        raise DataError(f"{what}: {error}") from error


def _known(what: str, table: str, key: str, value: Any) -> Any:
    if key not in _TABLES[table]:
        place = f"[{table}]" if table else "at its top"
        raise DataError(f"{what} says {briefly(key)} {place}; known there: {', '.join(_TABLES[table])}")
    if not table and key in ("title", "source", "differs") and not isinstance(value, str):
        raise DataError(f"{what}: `{key}` must be text but got {briefly(value)}")
    return value
