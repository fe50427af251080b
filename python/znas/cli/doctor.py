"""`znas-engine doctor`"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from typing import Any

import typer

from znas.cli import options
from znas.cli.console import finish
from znas.files import check_new
from znas.output import Document, Facts
from znas.presets import PRESETS, Preset
from znas_engine import __version__, kernels, paths
from znas_engine.backends import BACKENDS, can_run, choose_backend, evaluator_of, missing
from znas_engine.cores import available_cores
from znas_engine.data import DATASETS, check_without_files, torchvision_sets
from znas_engine.devices import FIRST
from znas_engine.errors import (
    MissingDependencyError,
    PluginError,
    StorageError,
    ZnasError,
    in_short,
    one_line,
)
from znas_engine.gpu import MEASURED, Gpu, gpus
from znas_engine.registry import Registry
from znas_engine.scores import SCORES
from znas_engine.spaces import SPACES
from znas_engine.storage import cache_root
from znas_engine.tensorrt.flavours import chosen, installed


@dataclass(frozen=True, slots=True)
class Check:
    """One line: `state` is "ok", "missing" (an optional part) or "broken" (searches will fail)."""

    name: str
    state: str
    detail: str


def doctor(as_json: options.Json = False) -> None:
    """Say what this machine can run and what is missing, one line each.

    Exits with 1 if no backend can run, the cache cannot be written, or an installed package brings something
    that cannot be used.
    """
    checks = list(_checks())
    finish(json.dumps([asdict(check) for check in checks], indent=1) if as_json else document(checks))
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)


def document(checks: Sequence[Check]) -> Document:
    """One line per check, its state first."""
    lines = [(f"{check.state:<8}{check.name}", check.detail) for check in checks]
    return Document("What this machine can run", [Facts(lines)], {"checks": [asdict(c) for c in checks]})


def _checks() -> Iterator[Check]:
    """Each in its own right: what one cannot say does not keep the others from it."""
    kinds: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("znas-engine", _engine),
        ("backends", _backends),
        ("onnx", lambda: _package("onnx", "writes exported graphs", "pip install onnx")),
        ("pillow", lambda: _package("pillow", "reads image folders", "pip install 'znas-engine[vision]'")),
        ("torchvision", _torchvision),
        ("tensorrt", _tensorrt),
        ("nvcc", _nvcc),
        ("gpu", _gpus),
        ("cache", _cache),
    ]
    uses = ((SPACES, _space), (SCORES, _score), (DATASETS, _data), (PRESETS, _preset), (BACKENDS, _backend))
    kinds += [(registry.what, partial(_outside, registry, use)) for registry, use in uses]
    for name, found in kinds:
        yield from _told(name, found)


def _told(name: str, found: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """What it says; a line where it fails: a package that raises anything when it is imported, say."""
    try:
        yield from found()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - of strangers' packages
        yield Check(name, "broken", one_line(in_short(error)))


def _engine() -> Iterator[Check]:
    yield Check(
        "znas-engine",
        "ok",
        f"{__version__}, Python {platform.python_version()}, {platform.machine()}, {available_cores()} cores",
    )
    if kernels.compiled():
        yield Check(
            "kernels", "ok", f"C++, {kernels.available_isas()[-1]} of {', '.join(kernels.available_isas())}"
        )
    else:
        yield Check(
            "kernels", "missing", "numpy stands in; install a C++20 compiler and reinstall znas-engine"
        )


def _nvcc() -> Iterator[Check]:
    nvcc = shutil.which("nvcc")
    yield (
        Check("nvcc", "ok", nvcc) if nvcc else Check("nvcc", "missing", "the CUDA toolkit is not on the PATH")
    )


def _backends() -> Iterator[Check]:
    """The built-in ones; where a package claims the name of one, what it brings is listed as broken."""
    for name in BACKENDS.builtin:
        try:
            reason = missing(name)
        except PluginError:
            continue
        if reason is None:
            yield from _told(f"backend {name}", partial(_runs, name))
        else:
            yield Check(f"backend {name}", "missing", reason)
    try:
        choice = choose_backend("auto") if any(map(can_run, BACKENDS.builtin)) else None
    except PluginError as error:
        yield Check("auto", "broken", str(error))
        return
    if choice is not None:
        yield Check("auto", "ok", f"--backend auto runs {choice.backend} on {', '.join(choice.devices)}")
    else:
        yield Check("auto", "broken", "no backend can run: pip install onnxruntime, or pip install torch")


def _runs(backend: str) -> Iterator[Check]:
    yield Check(f"backend {backend}", "ok", f"{_packages(backend)}{_elsewhere(backend)}")


def _outside(registry: Registry[Any], use: Callable[[str], str | None]) -> Iterator[Check]:
    """What installed packages bring of one kind. use: says what it lacks here, and raises what is wrong."""
    for name, found in groupby(registry.outside(), key=lambda each: each.name):
        sources = " and ".join(f"{each.package} ({each.where})" for each in found)
        what = f"{registry.what} {name}"
        try:
            lacks = use(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of strangers' packages
            said = str(error) if isinstance(error, ZnasError) else in_short(error)
            yield Check(what, "broken", one_line(said))
        else:
            yield Check(
                what, "missing" if lacks else "ok", f"from {sources}" + (f": {lacks}" if lacks else "")
            )


def _space(name: str) -> None:
    space = SPACES.get(name)
    for preset in space.presets:
        Preset(preset).values(space)


def _score(name: str) -> None:
    SCORES.get(name)


def _data(name: str) -> None:
    check_without_files(name)


def _preset(name: str) -> None:
    PRESETS.get(name)


def _backend(name: str) -> str | None:
    record = BACKENDS.get(name)
    lacks = record.missing()
    if lacks is None:
        evaluator_of(record)
    return lacks


def _packages(backend: str) -> str:
    """What a backend that can run is made of."""
    match backend:
        case "native":
            return "znas_engine._core compiled"
        case "trt":
            return f"{chosen()}; its passes have not been run on a GPU yet"
        case _:
            package = _onnxruntime() if backend == "ort" else backend
            return f"{package} {_version(package) or '(unknown version)'}"


def _onnxruntime() -> str:
    """The distribution for CPUs or for GPUs."""
    from znas_engine.backends.onnxruntime_cuda import distribution

    return distribution()


def _elsewhere(backend: str) -> str:
    """Whether a backend can run on the kinds of devices that are not its default."""
    devices = [FIRST[kind] for kind in BACKENDS.get(backend).devices[1:]]
    return "".join(
        f"; not on {device}: {reason}" if (reason := missing(backend, device)) else f"; {device} too"
        for device in devices
    )


def _version(package: str) -> str | None:
    for distribution in (package, f"{package}-gpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _package(package: str, use: str, remedy: str) -> Iterator[Check]:
    found = _version(package)
    if found is None:
        yield Check(package, "missing", f"{remedy} ({use})")
    else:
        yield Check(package, "ok", f"{found} ({use})")


def _torchvision() -> Iterator[Check]:
    """Imported where it is installed: it may be a build for another torch."""
    use = "data sets, networks to compare with"
    if (found := _version("torchvision")) is None:
        yield Check("torchvision", "missing", f"{torchvision_sets.INSTALL} ({use})")
        return
    try:
        torchvision_sets.torchvision()
    except MissingDependencyError as error:
        yield Check("torchvision", "missing", str(error))
    else:
        yield Check("torchvision", "ok", f"{found} ({use})")


def _tensorrt() -> Iterator[Check]:
    """Which flavour is used and what plans it builds."""
    unused = "".join(f"; {other} is installed too: uninstall one to choose" for other in installed()[1:])
    try:
        from znas_engine.tensorrt import library
    except MissingDependencyError as error:
        yield Check("tensorrt", "missing", f"{error}{unused}")
        return
    plans = f"for {', '.join(library.capabilities())}" if library.BUILDS_AHEAD else "for the GPU at hand"
    yield Check("tensorrt", "ok", f"{library.FLAVOUR} builds plans {plans}{unused}")


def _gpus() -> Iterator[Check]:
    """What every card is, and what a search on it does."""
    try:
        found = gpus()
    except MissingDependencyError as error:
        yield Check("gpu", "missing", str(error))
        return
    for number, card in enumerate(found):
        results = "committed" if card.capability in MEASURED else "not committed"
        yield Check(
            f"cuda:{number}",
            "ok",
            f"{card.name}, compute capability {card.capability} (results {results}), driver {card.driver}; "
            f"{_on_gpu(f'cuda:{number}', card)}",
        )


def _on_gpu(device: str, card: Gpu) -> str:
    try:
        absent = missing("native", device)
    except PluginError as error:
        absent = str(error)
    if absent:
        return f"--backend auto leaves it alone: native cannot run on it: {absent}"
    if card.capability not in MEASURED:
        use = f"--backend auto leaves it alone, --device {device} uses it"
    elif device != FIRST["cuda"]:
        use = f"--backend auto uses {FIRST['cuda']} alone, --device {FIRST['cuda']},{device} both"
    else:
        use = "--backend auto uses it"
    return f"{use}; its first use compares it with the CPU, once"


def _cache() -> Iterator[Check]:
    """Whether a folder of the cache can be made, or written to if it is there."""
    way_out = "set ZNAS_CACHE to a folder that can be written"
    try:
        root = cache_root()
    except ZnasError as error:
        yield Check("cache", "broken", one_line(f"{error}; {way_out}"))
        return
    try:
        check_new(paths.hidden(root / "entry"))
    except StorageError:
        yield Check("cache", "broken", one_line(f"{root} cannot be written; {way_out}"))
    else:
        yield Check("cache", "ok", one_line(str(root)))
