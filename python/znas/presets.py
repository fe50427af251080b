"""Named searches: what the options are that a user does not give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from znas.interventions.probability import check_p
from znas.selection.strategies import SELECTIONS, SHORTLIST
from znas_engine.errors import InvalidValueError, PluginError, briefly
from znas_engine.registry import Registry, called
from znas_engine.scores import Score
from znas_engine.spaces import SearchSpace
from znas_engine.supernet.normalisation import NORMS

#: The fields of `znas.request.Request` that are a preset's, and what they are where it leaves them open.
ORDINARY: dict[str, Any] = {
    "score": "naswot",
    "p": 0.5,
    "selection": "algorithm1",
    "finalists": 1,
    "envs": 1,
    "images": 64,
    "norm": "calibrated",
    "supernet_channels": None,
    "supernet_cells": None,
    "supernet_resolution": None,
}


#: Architectures of a shortlist, unless more are asked for.
SHORTLISTED = 30


@dataclass(frozen=True, slots=True)
class Preset:
    """By field of ORDINARY, what it is where it is not given; what a space sets otherwise is among its own
    facts (`SearchSpace.presets`). `supernet_resolution` is the side at most: smaller images stay as they are.

    proxy: whether a network has the cells of the space's `proxy_macro`, in which thousands are scored.
    """

    name: str
    common: Mapping[str, Any] = field(default_factory=dict)
    proxy: bool = False

    def values(self, space: SearchSpace[Any]) -> dict[str, Any]:
        """For that space. PluginError where that sets what it cannot."""
        found = dict(self.common)
        if self.proxy:
            found["supernet_cells"] = space.proxy_macro(resolution=32, classes=10).cells
        own = space.presets.get(self.name, {})
        if (wrong := _wrong_fields(own)) is not None:
            raise PluginError(f"{called('search space', space)} {wrong} in its preset {self.name!r}")
        return found | dict(own)


#: Four scores combined by rank as AZ-NAS (Lee & Ham, CVPR 2024) combines its own: two that need no pass make
#: the shortlist, all four decide. One procedure and one set for all spaces; how it was chosen, and on what:
#: docs/evidence.md.
BY_RANK = Preset(
    "shortlist",
    {
        "score": "cell_path_norm+live_flops+naswot+isometry",
        "p": 0.0,
        "selection": SHORTLIST,
        "finalists": SHORTLISTED,
        "envs": 3,
        "images": 16,
        "norm": "batch",
    },
    proxy=True,
)
#: The paper as written: accuracy, Gaussian interventions with a neutral prior.
PAPER = Preset("paper", {"score": "accuracy", "p": 0.5})
#: The same without labels.
NASWOT = Preset("naswot", {"score": "naswot", "p": 0.5})


def broken_promise(preset: Any) -> str | None:
    """What is wrong with a `Preset`, in words that follow its name; None if nothing is."""
    if not isinstance(preset.common, Mapping):
        return f"has {briefly(preset.common)} for `common`, no mapping from fields to their values"
    if not isinstance(preset.proxy, bool):
        return f"has {briefly(preset.proxy)} for `proxy`, no bool"
    return _wrong_fields(preset.common)


def _wrong_fields(values: Mapping[str, Any]) -> str | None:
    """Of what a preset, or a space for a preset, sets."""
    for name, value in values.items():
        if name not in ORDINARY:
            return f"sets `{name}`, which is none of {', '.join(ORDINARY)}"
        if (wanted := _unlike(name, value)) is not None:
            return f"sets `{name}` to {briefly(value)}, which is no {wanted}"
    return None


def _unlike(name: str, value: Any) -> str | None:
    """What a field's value should be, unless it is; whether a score is there is seen when it is asked for."""
    match name:
        case "score":
            right, wanted = (
                isinstance(value, str | Score | list | tuple),
                "score's name, Score or list of them",
            )
        case "norm":
            right, wanted = value in NORMS, f"member of {', '.join(NORMS)}"
        case "selection":
            right, wanted = value in SELECTIONS, f"member of {', '.join(SELECTIONS)}"
        case "p":
            try:
                check_p(value)
            except InvalidValueError:
                return "number in [0, 1], 'auto' or one number per edge"
            return None
        case _:
            right = (type(value) is int and value > 0) or (value is None and ORDINARY[name] is None)
            wanted = "whole number above 0"
    return None if right else wanted


PRESETS: Registry[Preset] = Registry(
    "preset",
    "znas.presets",
    Preset,
    {
        "shortlist": "znas.presets:BY_RANK",
        "paper": "znas.presets:PAPER",
        "naswot": "znas.presets:NASWOT",
    },
    check=broken_promise,
)
DEFAULT = BY_RANK.name
