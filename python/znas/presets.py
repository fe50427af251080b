"""Named searches: what the options are that a user does not give."""

from __future__ import annotations

from typing import Any

from znas.settings import SearchSettings
from znas_engine.errors import unknown_choice

#: Cells per stage (nasbench201) or in all (darts) of a network in which thousands are scored.
PROXY_CELLS = {"nasbench201": 1, "darts": 3}

#: By name, the fields of `SearchSettings` that differ from its defaults; a dictionary is by space.
PRESETS: dict[str, dict[str, Any]] = {
    # Several scores combined by rank as AZ-NAS (Lee & Ham, CVPR 2024) combines its own, with everything
    # measured and a long final round. How they were found: docs/evidence.md.
    "log-rank": {
        "score": {
            "nasbench201": "naswot+path_norm+trainability+live_flops",
            "darts": "swap+path_norm+expressivity+zen+flops",
        },
        "p": 0.0,
        "images": 16,
        "norm": "batch",
        "cells": PROXY_CELLS,
        "finalists": {"nasbench201": 500, "darts": 200},
    },
    # The paper as written: accuracy, Gaussian interventions with a neutral prior.
    "paper": {"score": "accuracy", "p": 0.5},
    # The same without labels.
    "naswot": {"score": "naswot", "p": 0.5},
}
DEFAULT = "log-rank"


def settings_from(preset: str, *, space: str = "nasbench201", **given: Any) -> SearchSettings:
    """A preset with some fields replaced; None leaves the preset's.

    A final round measures architectures, so that a `p` above 0, which is given to measure less, leaves the
    preset's out.

    Raises:
        InvalidValueError: an unknown preset, or what `SearchSettings` refuses.
    """
    if preset not in PRESETS:
        raise unknown_choice("preset", preset, PRESETS)
    given = {name: value for name, value in given.items() if value is not None}
    fields: dict[str, Any] = {
        name: value.get(space) if isinstance(value, dict) else value
        for name, value in PRESETS[preset].items()
    }
    if given.get("p", 0) != 0:
        fields.pop("finalists", None)
    return SearchSettings(space=space, **(fields | given))
