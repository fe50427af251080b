"""What a search does with the options that are not given."""

from __future__ import annotations

from pathlib import Path

import pytest

import znas
from znas import SearchSettings
from znas.presets import DEFAULT, PRESETS, settings_from
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import get_space

SIZE = {"channels": 4, "images": 8, "resolution": 16}


@pytest.mark.parametrize("space", ["nasbench201", "darts"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_searches_both_spaces(preset: str, space: str, test_data: Path) -> None:
    cells = 1 if space == "nasbench201" else 3
    result = znas.search(
        space=space,
        preset=preset,
        data="cifar10",
        data_dir=test_data,
        cells=cells,
        finalists=5 if preset == DEFAULT else None,
        **SIZE,  # type: ignore[arg-type]
    )
    score = get_space(space).presets.get(preset, PRESETS[preset])["score"]
    assert result.settings.score == score
    assert result.settings.p == PRESETS[preset]["p"]
    assert any("final round: 5 architectures" in note for note in result.notes) == (preset == DEFAULT)


def test_naswot_is_what_the_settings_default_to() -> None:
    assert settings_from("naswot") == SearchSettings()


def test_what_is_given_replaces_what_the_preset_has() -> None:
    preset = PRESETS[DEFAULT]
    assert settings_from(DEFAULT).finalists == 500
    assert settings_from(DEFAULT, space="darts").finalists == 200
    assert settings_from(DEFAULT, images=24).images == 24
    assert settings_from(DEFAULT, images=None).images == preset["images"]
    assert settings_from(DEFAULT, p=0.0).finalists == 500
    assert settings_from(DEFAULT, p=0.5).finalists == 1
    assert settings_from(DEFAULT, p=0.5, finalists=7).finalists == 7
    assert settings_from(DEFAULT, space="darts").cells == 3
    assert settings_from(DEFAULT).cells == 1
    with pytest.raises(InvalidValueError, match=r"unknown preset 'log_rank'.*did you mean 'log-rank'"):
        settings_from("log_rank")
    with pytest.raises(TypeError, match="not both"):
        znas.search(SearchSettings(), preset="paper")
