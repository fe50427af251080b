"""Named searches: what the options are that a user does not give."""

from __future__ import annotations

from typing import Any

from znas.settings import SearchSettings
from znas_engine import spaces
from znas_engine.errors import unknown_choice
from znas_engine.spaces import SearchSpace


def proxy_cells(space: SearchSpace[Any]) -> int:
    """Cells of a network in which thousands are scored."""
    return space.proxy_macro(resolution=32, classes=10).cells


#: By name, the fields of `SearchSettings` that differ from its defaults; a function is asked for the space's
#: value. A space may bring others, `SearchSpace.presets`.
PRESETS: dict[str, dict[str, Any]] = {
    # Several scores combined by rank as AZ-NAS (Lee & Ham, CVPR 2024) combines its own, with everything
    # measured and a long final round. How they were found: docs/evidence.md.
    "log-rank": {
        "score": "naswot+path_norm+flops",
        "p": 0.0,
        "images": 16,
        "norm": "batch",
        "cells": proxy_cells,
        "finalists": 200,
    },
    # The paper as written: accuracy, Gaussian interventions with a neutral prior.
    "paper": {"score": "accuracy", "p": 0.5},
    # The same without labels.
    "naswot": {"score": "naswot", "p": 0.5},
}
DEFAULT = "log-rank"


def settings_from(preset: str, *, space: str = spaces.DEFAULT, **given: Any) -> SearchSettings:
    """A preset with some fields replaced; None leaves the preset's.

    A final round measures architectures, so that a `p` above 0, which is given to measure less, leaves the
    preset's out.

    Raises:
        InvalidValueError: an unknown preset, or what `SearchSettings` refuses.
    """
    if preset not in PRESETS:
        raise unknown_choice("preset", preset, PRESETS)
    own = spaces.get_space(space)
    given = {name: value for name, value in given.items() if value is not None}
    fields: dict[str, Any] = {
        name: value(own) if callable(value) else value
        for name, value in (PRESETS[preset] | dict(own.presets.get(preset, {}))).items()
    }
    if given.get("p", 0) != 0:
        fields.pop("finalists", None)
    return SearchSettings(space=space, **(fields | given))
