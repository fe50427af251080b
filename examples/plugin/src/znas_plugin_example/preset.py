"""A named search: what options are where nobody gives them."""

from __future__ import annotations

from znas.presets import Preset

SPREAD_FIRST = Preset("spread-first", {"score": "spread+naswot", "p": 0.0, "finalists": 20})
