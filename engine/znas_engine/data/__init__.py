"""Images for the search, as numpy batches. Importing it loads numpy only.

    dataset = load("cifar10", data_dir="data")
    dataset = load((images, labels))            # NumPy arrays
    dataset = load(TensorDataset(images, labels))  # a map-style PyTorch data set
    dataset = load("package.module:Theirs")     # a Dataset, or what makes one
    dataset = load("torchvision:CIFAR10", data_dir="data")  # a class of torchvision.datasets
    batch = dataset.batch(256, seed=0)  # images float32 [256, 3, 32, 32], labels int64 [256]

`DATASETS` is the whole registry; a new data set is one file beside this one and one line in it, or the
entry point `znas.data` of a package. Every one is imported when it is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from znas_engine import paths
from znas_engine.data.base import Batch, Dataset, broken_promise, short
from znas_engine.errors import InvalidValueError, PluginError, ZnasError, in_short, one_line
from znas_engine.registry import Registry, hold_to, name_of, where_is

__all__ = ["DATASETS", "IN_MEMORY", "Batch", "Dataset", "check_without_files", "implied", "load"]

#: What stands for arrays and other objects where a request is written down.
IN_MEMORY = "(in memory)"
DATASETS: Registry[Any] = Registry(
    "data set",
    "znas.data",
    None,
    {
        "cifar10": "znas_engine.data.cifar:cifar10",
        "cifar100": "znas_engine.data.cifar:cifar100",
        "imagefolder": "znas_engine.data.imagefolder:imagefolder",
        "gaussian": "znas_engine.data.gaussian:Gaussian",
    },
    make=False,
)


def implied(data_dir: str | Path | None) -> str:
    """The name of the data set where none is given: CIFAR's where the folder holds it, else imagefolder;
    gaussian without a folder. InvalidValueError for a folder with two of them."""
    if data_dir is None:
        return "gaussian"
    from znas_engine.data.cifar import lies_in

    folder = paths.named(data_dir, "`data_dir`")
    found = lies_in(folder)
    if len(found) > 1:
        raise InvalidValueError(f"{short(folder)} holds {' and '.join(found)}: pass --data with one of them")
    return found[0] if found else "imagefolder"


def load(
    asked: Any,
    *,
    data_dir: str | Path | None = None,
    resolution: int | None = None,
    channels_in: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Dataset:
    """The data set that is asked for.

    asked: None for what is `implied` by `data_dir`, or one of

    - a name of `DATASETS`, `torchvision:Name` or `package.module:Name`, which is any of the following;
    - a class or function that makes one of the following, called with those of `data_dir`, `resolution` and
      `channels_in` that it takes and that are given; torchvision's make the part to train on, of the folder;
    - a `Dataset`;
    - pictures: a NumPy array `images` or the pair `(images, labels)`, see `arrays.Arrays`, or a map-style
      PyTorch data set, see `mapstyle.read`.

    data_dir: for CIFAR the folder that holds its folder, for image folders their root; for others what they
        say. An error where it is not used.
    resolution: side of the square images in pixels; None means the data set's own (32 for CIFAR and
        gaussian, up to 224 for image folders, their own size for arrays). An error where it is not used.
    channels_in: channels of an image; None means the data set's own (3 for all that are built in: arrays
        with one channel show it three times). 1 makes colours grey: their luminance, see
        `pixels.luminance`. gaussian draws any number.
    report: is told what was found in a folder, how it is shown, and what takes long.

    Raises:
        InvalidValueError: an unknown name, an argument that is missing, superfluous or outside its domain,
            arrays that cannot be images, or something that is no data set.
        DataError: files absent, damaged or malicious.
        MissingDependencyError: what reads the images is not installed.
        PluginError: a package whose data set breaks its promise; the message names it.
    """
    if isinstance(asked, str) and asked == IN_MEMORY:
        raise InvalidValueError("the images of this request were in memory: give them again, as `data`")
    if asked is None:
        return _by_folder(data_dir, resolution, channels_in, report)
    found = _found(asked)
    source, title = _source(asked), _title(asked)
    options = {
        "data_dir": None if data_dir is None else paths.named(data_dir, "`data_dir`"),
        "resolution": resolution,
        "channels_in": channels_in,
    }
    given = {name: value for name, value in options.items() if value is not None}
    left = dict(given)
    if callable(found) and not isinstance(found, Dataset):
        taken = _taken(found, given, title)
        if title in DATASETS.builtin and "report" in _parameters(found):
            taken["report"] = report
        left = {name: value for name, value in given.items() if name not in taken}
        found = found(**taken) if title in DATASETS.builtin else _made(found, taken, source)
    if isinstance(found, Dataset):
        return _checked(found, given, left, source, title)
    if "data_dir" in left:
        raise _unused("data_dir", left["data_dir"], title)
    # Whoever made the pictures may have looked at these; what is read has them in any case.
    return _read(found, resolution, channels_in, source, report)


def _by_folder(
    data_dir: str | Path | None,
    resolution: int | None,
    channels_in: int | None,
    report: Callable[[str], None],
) -> Dataset:
    """What is `implied`, said once it is there."""
    name = implied(data_dir)
    found = load(name, data_dir=data_dir, resolution=resolution, channels_in=channels_in, report=report)
    if data_dir is not None:
        report(one_line(f"{short(Path(data_dir))} was taken for --data {name}"))
    return found


def check_without_files(name: str) -> None:
    """Raises what keeps a data set from being used; of one that reads a folder, what is seen without it."""
    found = _found(name)
    if isinstance(found, Dataset) or not callable(found) or "data_dir" not in _parameters(found):
        load(name)


def _found(asked: Any) -> Any:
    """What is registered or given; what makes it, of a class of torchvision's."""
    named = isinstance(asked, str) and asked.startswith("torchvision:")
    found: Any = None if named else DATASETS.get(asked)
    if not named and (not inspect.isclass(found) or issubclass(found, Dataset)):
        return found
    from znas_engine.data import torchvision_sets

    if named:
        found = torchvision_sets.kind(asked)
    return torchvision_sets.maker(found) if torchvision_sets.is_kind(found) else found


class _Source(NamedTuple):
    """who: the beginning of a sentence about what is wrong with it. wrong: as what to raise that."""

    who: str
    wrong: type[ZnasError]


def _source(asked: Any) -> _Source:
    if not isinstance(asked, str):
        return _Source(f"the data set {_where(asked)}", InvalidValueError)
    for outside in DATASETS.outside():
        if outside.name == asked:
            brings = f"the package {outside.package} brings the data set {asked!r} as {outside.where}, which"
            return _Source(brings, PluginError)
    return _Source(f"the data set {asked}", InvalidValueError)


def _title(asked: Any) -> str:
    """What the data set is called where an option does not fit it."""
    if isinstance(asked, Dataset):
        return name_of(asked) or _where(asked)
    return asked if isinstance(asked, str) else _where(asked)


def _where(asked: Any) -> str:
    return where_is(asked) if callable(asked) or isinstance(asked, Dataset) else type(asked).__name__


def _unused(option: str, value: Any, title: str) -> InvalidValueError:
    flag = option.replace("_", "-")
    return InvalidValueError(f"`{option}` is not used by {title} but got {value}: drop --{flag}")


def _taken(make: Callable[..., Any], given: dict[str, Any], title: str) -> dict[str, Any]:
    """The keywords that it is called with: those given that it takes, None for one that it cannot miss."""
    parameters = _parameters(make)
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    taken = {name: value for name, value in given.items() if anything or name in parameters}
    for name in ("data_dir", "resolution", "channels_in"):
        if name in parameters and parameters[name].default is inspect.Parameter.empty:
            taken.setdefault(name, None)
    if "data_dir" in taken and taken["data_dir"] is None:
        raise InvalidValueError(f"`data_dir` is required for {title}: pass --data-dir FOLDER")
    return taken


def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(make).parameters
    except ValueError:  # some that are written in C
        return {}


def _made(make: Callable[..., Any], taken: dict[str, Any], source: _Source) -> Any:
    """What it makes; whatever goes wrong in code that is not ours is one line that says where."""
    try:
        return make(**taken)
    except ZnasError:
        raise
    except (Exception, SystemExit) as error:
        raise source.wrong(f"{source.who} cannot be made ({in_short(error)})") from error


def _checked(
    dataset: Dataset, given: dict[str, Any], left: dict[str, Any], source: _Source, title: str
) -> Dataset:
    """`dataset`, if it keeps its promises and is what was asked for. left: of the options that were `given`,
    those it was not made with, which must leave it as it is."""
    hold_to(broken_promise, dataset, source.who, source.wrong)
    for option, value in left.items():
        if option != "channels_in":
            raise _unused(option, value, title)
    for option, found in (("channels_in", dataset.channels), ("resolution", dataset.resolution)):
        if given.get(option, found) != found:
            flag = option.replace("_", "-")
            raise InvalidValueError(
                f"`{option}` must be {found} for {title} but got {given[option]}: drop --{flag}"
            )
    return dataset


def _read(
    pictures: Any,
    resolution: int | None,
    channels_in: int | None,
    source: _Source,
    report: Callable[[str], None],
) -> Dataset:
    """Pictures that are no `Dataset` yet."""
    if hasattr(pictures, "__array__"):
        pictures = (pictures, None)
    if isinstance(pictures, tuple) and len(pictures) == 2:
        from znas_engine.data.arrays import Arrays

        return Arrays(*pictures, resolution=resolution, channels_in=channels_in)
    if hasattr(pictures, "__getitem__") and not isinstance(pictures, str | bytes | dict | tuple):
        from znas_engine.data import mapstyle

        return mapstyle.read(pictures, resolution=resolution, channels_in=channels_in, report=report)
    raise source.wrong(
        f"{source.who} is no data set but {type(pictures).__name__}: give a Dataset or what makes one, "
        "arrays (images, labels), or a map-style PyTorch data set"
    )
