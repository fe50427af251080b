"""What a search does with the options that are not given."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

import znas
from tests.conftest import SMALL
from znas import Request
from znas.presets import DEFAULT, PRESETS
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import SPACES, get_space

pytestmark = pytest.mark.ours

SIZE = {"images": 8, "resolution": 16}


@pytest.mark.parametrize(
    ("preset", "space"),
    # DARTS with the default is recorded: tests/znas/test_record.py.
    [pair for pair in product(PRESETS.names(), SPACES.names()) if pair != (DEFAULT, "darts")],
)
def test_every_preset_searches_every_space(preset: str, space: str, test_data: Path) -> None:
    result = znas.search(
        space=space,
        preset=preset,
        data="cifar10",
        data_dir=test_data,
        finalists=5 if preset == DEFAULT else None,
        **SIZE,
        **SMALL[space],
    )
    values = PRESETS.get(preset).values(get_space(space))
    assert result.conditions.score == values["score"]
    assert result.p == values["p"]
    assert any("shortlist: the first 5 of" in note for note in result.notes) == (preset == DEFAULT)


def test_the_default_is_what_every_door_does() -> None:
    """`Request()`, `znas.search()` and the command line say the same where nothing is given."""
    from typer.main import get_command

    from znas.cli import app
    from znas.request import OPTIONS

    settled = Request().settled()
    assert settled == Request(preset=DEFAULT).settled()
    command = get_command(app).get_command(None, "search")  # type: ignore[attr-defined]
    defaults = {option.name: option.default for option in command.params}
    assert Request(**{name: defaults[name] for name in OPTIONS}) == Request()
    for name, option in OPTIONS.items():
        if option.of_preset:
            assert getattr(Request(), name) is None
            assert name.startswith("supernet") or getattr(settled, name) is not None


def test_what_is_given_replaces_what_the_preset_has() -> None:
    def settled(**given: object) -> Request:
        return Request(**given).settled()  # type: ignore[arg-type]

    for name in SPACES.names():
        own = PRESETS.get(DEFAULT).values(get_space(name))
        assert settled(space=name).finalists == own["finalists"]
        assert settled(space=name, images=24).images == 24
        assert settled(space=name, images=None).images == own["images"]
        assert settled(space=name, p=0.0).finalists == own["finalists"]
        assert settled(space=name, p=0.5).finalists == 1
        assert settled(space=name, p=0.5, finalists=7).finalists == 7
        assert settled(space=name).supernet_cells == own["supernet_cells"]
        assert (settled(space=name).selection, settled(space=name).envs) == ("shortlist", 3)
        assert (settled(space=name, p=0.0).selection, settled(space=name, p=0.0).envs) == ("algorithm1", 1)
        assert settled(space=name, game="shapley").selection == "algorithm1"
    assert settled().settled() == settled()
    with pytest.raises(InvalidValueError, match=r"unknown preset 'short-list'.*did you mean 'shortlist'"):
        settled(preset="short-list")
    with pytest.raises(TypeError, match="not both"):
        znas.search(Request(), preset="paper")


def test_a_preset_may_be_an_object() -> None:
    mine = znas.presets.Preset("mine", {"score": "flops", "p": 0.0, "images": 3, "finalists": 4})
    settled = Request(preset=mine, images=5).settled()
    assert (settled.score, settled.images, settled.finalists, settled.norm) == ("flops", 5, 4, "calibrated")
