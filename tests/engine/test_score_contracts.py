"""Every score keeps its contract."""

from __future__ import annotations

from typing import Any

import pytest

from znas_engine.scores import SCORES, get_score
from znas_engine.testing import ScoreContract

pytestmark = pytest.mark.ours

#: Differences of passes, and spectra of features, amplify what backends differ by.
COARSE = dict.fromkeys(("phi", "isometry", "progressivity", "entropy_growth", "curvature"), 2e-2)


@pytest.fixture(autouse=True, params=[*SCORES.builtin])
def each(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TestScores, "score", get_score(request.param), raising=False)
    monkeypatch.setattr(TestScores, "tolerance", COARSE.get(request.param, 1e-3))


class TestScores(ScoreContract):
    score: Any
