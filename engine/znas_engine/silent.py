"""ONNX Runtime as an import that calls nobody: no other module of ours imports it or a package of its family.

From 1.32 on, importing it starts a reporter that looks up its maker's host and leaves files in the user's
cache folder. What it offers after the import comes too late; the environment before the import does not.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from importlib import import_module
from typing import Any

#: What switches the reporter off; a value that the user has set stays.
VARIABLE, OFF = "ORT_DISABLE_TELEMETRY", "1"


def load(module: str) -> Any:
    """The module of that name, imported. Raises as `import` does."""
    quieten(os.environ)
    return import_module(module)


def quieten(environment: MutableMapping[str, str]) -> None:
    """Sets the switch in the environment of a process, this one or one that is to be started."""
    environment.setdefault(VARIABLE, OFF)
