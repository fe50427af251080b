"""Which installed packages a search takes its parts from."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

from znas.presets import PRESETS
from znas.request import Request
from znas_engine.backends import BACKENDS, Backend
from znas_engine.data import DATASETS, Dataset
from znas_engine.registry import Registry, where_is
from znas_engine.scores import SCORES, names_in
from znas_engine.spaces import SPACES

_OURS = ("builtins", "__main__", "znas", "znas_engine")


def outside(request: Request) -> dict[str, str]:
    """Name -> version of the packages that bring what a settled request names, without our own."""
    modules = {module for registry, asked in _asked(request) for module in _modules(registry, asked)}
    roots = {module.partition(".")[0] for module in modules}.difference(_OURS)
    if not roots:
        return {}
    brought = packages_distributions()
    return {name: version(name) for root in sorted(roots) for name in brought.get(root, ())}


def lacking(versions: dict[str, str]) -> list[str]:
    """Those of `versions` besides our own that are not installed here, as `name version`."""
    return [f"{name} {number}" for name, number in versions.items() if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        return name == "znas-engine" or bool(version(name))
    except (PackageNotFoundError, ValueError):
        return False


def _asked(request: Request) -> Iterator[tuple[Registry[Any], Any]]:
    yield SPACES, request.space
    yield PRESETS, request.preset
    yield BACKENDS, request.backend
    yield DATASETS, request.data
    scores = names_in(request.score) if isinstance(request.score, str) else request.score
    yield from ((SCORES, score) for score in (scores if isinstance(scores, list) else [scores]))


def _modules(registry: Registry[Any], asked: Any) -> Iterator[str]:
    """Where the code is; nothing of arrays, and of a preset, which is no code."""
    if isinstance(asked, Backend):
        yield asked.evaluator.partition(":")[0]
    elif not isinstance(asked, str):
        if registry not in (PRESETS, DATASETS) or isinstance(asked, Dataset) or callable(asked):
            yield where_is(asked).partition(":")[0]
    elif ":" in asked:
        yield asked.partition(":")[0]
    else:
        yield from (each.where.partition(":")[0] for each in registry.outside() if each.name == asked)
