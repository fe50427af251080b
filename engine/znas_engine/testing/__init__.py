"""The contracts as classes that a package's tests subclass; ours do too. Needs pytest and hypothesis.

    from znas_engine.testing import SpaceContract

    class TestMine(SpaceContract):
        space = Mine()

Every contract is also written in words: `SearchSpace`, `Score`, `Dataset`, `Evaluator`.
"""

from __future__ import annotations

import pytest

_FILES = ("agreement", "backend", "data", "scores", "space_masks", "space_networks", "space_notation")
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _FILES))

from znas_engine.testing.backend import BackendContract
from znas_engine.testing.data import DataContract
from znas_engine.testing.scores import ScoreContract
from znas_engine.testing.space import SpaceContract

__all__ = ["BackendContract", "DataContract", "ScoreContract", "SpaceContract"]
