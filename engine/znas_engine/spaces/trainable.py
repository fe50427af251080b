"""Discrete architectures as PyTorch modules: a space's file with a class `Network`, built or written.

The text of the file becomes the `architecture.py` of a run folder, so it imports only torch.
"""

from __future__ import annotations

import pprint
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from znas_engine.errors import PluginError
from znas_engine.promises import Calling, undefined

if TYPE_CHECKING:
    from torch import nn


def unusable(module: Any) -> str | None:
    """Why it is no module whose `Network` can be built and written, seen without importing it (or torch);
    None if it is one."""
    if not isinstance(module, str) or not module:
        return "it must be the name of the module that holds `Network`"
    return undefined(f"{module}:Network")


def build(module: str, structure: Any, arguments: dict[str, Any]) -> nn.Module:
    """`Network(structure, **arguments)` of the module. PluginError where somebody else's cannot be built."""
    with Calling(f"the trainable network {module}", module):
        network: nn.Module = import_module(module).Network(structure, **arguments)
    return network


def source(module: str, arch: str, structure: Any, arguments: dict[str, Any]) -> str:
    """The module's text, the architecture, and a function `build(classes, channels, cells)`.

    arguments: of `Network`; those that `build` takes are its defaults. PluginError where the module has no
    text.
    """
    with Calling(f"the trainable network {module}", module):
        spec = find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise PluginError(f"the trainable network {module} has no Python file to hand over")
    text = Path(spec.origin).read_text(encoding="utf-8")
    cell = pprint.pformat(structure, width=100, sort_dicts=False)
    open_ = [name for name in ("classes", "channels", "cells") if name in arguments]
    taken = ", ".join(f"{name}: int = {arguments[name]!r}" for name in open_)
    given = ", ".join(f"{name}={name if name in open_ else repr(arguments[name])}" for name in arguments)
    return (
        f"{text}\n\n#: {arch}\nGENOTYPE = {cell}\n\n\n"
        f"def build({taken}) -> Network:\n"
        '    """The selected architecture, untrained."""\n'
        f"    return Network(GENOTYPE, {given})\n"
    )
