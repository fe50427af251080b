"""Discrete architectures as ordinary PyTorch modules, one self-contained file per search space.

The text of these files becomes the `architecture.py` of a run folder, so they import only torch. Their
module paths are the node names of `znas_engine.graph`: a state dictionary and a graph share their keys.
"""

from __future__ import annotations

import pprint
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from znas_engine.spaces import Genotype, Macro

if TYPE_CHECKING:
    from torch import nn


def to_torch(space: str, genotype: Genotype, macro: Macro) -> nn.Module:
    """The trainable network, with PyTorch's own initialisation. Imports torch."""
    module: Any = import_module(f"znas_engine.networks.{space}")
    network: nn.Module = module.Network(genotype.structure(), **_size(space, macro))
    return network


def source(space: str, genotype: Genotype, macro: Macro) -> str:
    """A Python file that builds the same network and imports only torch."""
    text = files("znas_engine.networks").joinpath(f"{space}.py").read_text(encoding="utf-8")
    size = _size(space, macro)
    classes = size.pop("classes")
    cell = pprint.pformat(genotype.structure(), width=100, sort_dicts=False)
    arguments = ", ".join(f"{name}={value!r}" for name, value in size.items())
    return (
        f"{text}\n\n#: {genotype}\nGENOTYPE = {cell}\n\n\n"
        f"def build(num_classes: int = {classes}) -> Network:\n"
        '    """The selected architecture, untrained."""\n'
        f"    return Network(GENOTYPE, classes=num_classes, {arguments})\n"
    )


def _size(space: str, macro: Macro) -> dict[str, Any]:
    size: dict[str, Any] = {"channels": macro.channels, "cells": macro.cells, "classes": macro.classes}
    return size | {"stem": macro.stem} if space == "darts" else size
