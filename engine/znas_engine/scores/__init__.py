"""Score functions, one file each, and the registry that names them."""

from __future__ import annotations

from znas_engine.errors import unknown_choice
from znas_engine.scores.accuracy import Accuracy
from znas_engine.scores.base import CodeSite, Observation, Score
from znas_engine.scores.naswot import Naswot

__all__ = ["SCORES", "CodeSite", "Observation", "Score", "get_score"]

SCORES: dict[str, Score] = {score.name: score for score in (Accuracy(), Naswot())}


def get_score(name: str) -> Score:
    """The score of that name, or InvalidValueError naming the nearest."""
    if name not in SCORES:
        raise unknown_choice("score", name, SCORES)
    return SCORES[name]
