"""Score functions, one file each, and the registry that names them."""

from __future__ import annotations

from znas_engine.errors import InvalidValueError, unknown_choice
from znas_engine.scores.accuracy import Accuracy
from znas_engine.scores.base import (
    ANSWERS,
    BATCH,
    NO_LOGITS,
    READS,
    ForwardScore,
    GradientScore,
    Observation,
    Probe,
    Score,
    StaticScore,
)
from znas_engine.scores.class_mean import ClassMean
from znas_engine.scores.codes import Codes, CodeSite, DeviceCodes, HostCodes
from znas_engine.scores.cost import Flops, LiveFlops, Params
from znas_engine.scores.expressivity import Expressivity
from znas_engine.scores.grad_norm import GradNorm
from znas_engine.scores.jacob_cov import JacobCov
from znas_engine.scores.linear_regions import LinearRegions
from znas_engine.scores.naswot import Naswot
from znas_engine.scores.ntk import Ntk
from znas_engine.scores.path_norm import PathNorm
from znas_engine.scores.progressivity import Progressivity
from znas_engine.scores.ridge import Ridge
from znas_engine.scores.snip import Snip
from znas_engine.scores.swap import Swap
from znas_engine.scores.synflow import Synflow
from znas_engine.scores.trainability import Trainability
from znas_engine.scores.zen import Zen
from znas_engine.scores.zico import Zico

__all__ = [
    "ANSWERS",
    "BATCH",
    "NO_LOGITS",
    "READS",
    "SCORES",
    "CodeSite",
    "Codes",
    "DeviceCodes",
    "ForwardScore",
    "GradientScore",
    "HostCodes",
    "Observation",
    "Probe",
    "Score",
    "StaticScore",
    "get_score",
    "get_scores",
]

SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Accuracy(),
        Ridge(),
        ClassMean(),
        Naswot(),
        Swap(),
        LinearRegions(),
        PathNorm(),
        Zen(),
        Expressivity(),
        Progressivity(),
        Trainability(),
        Params(),
        Flops(),
        LiveFlops(),
        Synflow(),
        GradNorm(),
        Snip(),
        Zico(),
        JacobCov(),
        Ntk(),
    )
}


def get_score(name: str) -> Score:
    """The score of that name, or InvalidValueError naming the nearest."""
    if name not in SCORES:
        raise unknown_choice("score", name, SCORES)
    return SCORES[name]


def get_scores(names: str) -> tuple[Score, ...]:
    """`naswot` or `naswot+path_norm+flops` -> the scores, in order; InvalidValueError for one named twice."""
    found = tuple(get_score(name) for name in names.split("+"))
    if len(set(found)) < len(found):
        raise InvalidValueError(f"`score` must name every score once but got {names!r}")
    return found
