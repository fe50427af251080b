"""Everything that the package brings keeps its contract."""

from __future__ import annotations

from znas.presets import PRESETS
from znas.request import Request
from znas_engine.testing import DataContract, ScoreContract, SpaceContract
from znas_plugin_example import network, space
from znas_plugin_example.score import Spread
from znas_plugin_example.space import Chain


class TestChain(SpaceContract):
    space = Chain()


class TestSpread(ScoreContract):
    score = Spread()
    space = Chain()


class TestShapes(DataContract):
    data = "znas_plugin_example.data:shapes"


def test_graph_and_network_have_the_same_stages() -> None:
    assert space.STAGES == network.STAGES


def test_presets_are_requests() -> None:
    preset = PRESETS.get("znas_plugin_example.preset:SPREAD_FIRST")
    assert Request(space=Chain(), preset=preset).settled().score == "spread+naswot"
