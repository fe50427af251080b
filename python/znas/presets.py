"""Named searches: what the options are that a user does not give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from znas_engine.registry import Registry
from znas_engine.spaces import SearchSpace


@dataclass(frozen=True, slots=True)
class Preset:
    """By field of `znas.request.Request`, what it is where it is not given; what a space sets otherwise is
    among its own facts (`SearchSpace.presets`).

    proxy: whether a network has the cells of the space's `proxy_macro`, in which thousands are scored.
    """

    name: str
    common: Mapping[str, Any] = field(default_factory=dict)
    proxy: bool = False

    def values(self, space: SearchSpace[Any]) -> dict[str, Any]:
        """For that space."""
        found = dict(self.common)
        if self.proxy:
            found["cells"] = space.proxy_macro(resolution=32, classes=10).cells
        return found | dict(space.presets.get(self.name, {}))


#: Several scores combined by rank as AZ-NAS (Lee & Ham, CVPR 2024) combines its own, with everything measured
#: and a long final round. How the scores of the spaces here were found: docs/evidence.md. For a space that
#: names none nothing was tuned: it gets three that need neither labels nor gradients.
LOG_RANK = Preset(
    "log-rank",
    {"score": "naswot+path_norm+flops", "p": 0.0, "images": 16, "norm": "batch", "finalists": 200},
    proxy=True,
)
#: The paper as written: accuracy, Gaussian interventions with a neutral prior.
PAPER = Preset("paper", {"score": "accuracy", "p": 0.5})
#: The same without labels.
NASWOT = Preset("naswot", {"score": "naswot", "p": 0.5})

PRESETS: Registry[Preset] = Registry(
    "preset",
    "znas.presets",
    Preset,
    {
        "log-rank": "znas.presets:LOG_RANK",
        "paper": "znas.presets:PAPER",
        "naswot": "znas.presets:NASWOT",
    },
)
DEFAULT = "log-rank"
