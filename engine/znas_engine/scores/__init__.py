"""Score functions, one file each, and the registry that names them."""

from __future__ import annotations

from collections.abc import Sequence

from znas_engine.errors import InvalidValueError
from znas_engine.registry import Registry
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
    broken_promise,
)
from znas_engine.scores.codes import Codes, CodeSite, DeviceCodes, HostCodes
from znas_engine.scores.features import ChannelProducts, DeviceFeatures, Features

__all__ = [
    "ANSWERS",
    "BATCH",
    "NO_LOGITS",
    "READS",
    "SCORES",
    "ChannelProducts",
    "CodeSite",
    "Codes",
    "DeviceCodes",
    "DeviceFeatures",
    "Features",
    "ForwardScore",
    "GradientScore",
    "HostCodes",
    "Observation",
    "Probe",
    "Score",
    "ScoreNames",
    "StaticScore",
    "get_score",
    "get_scores",
    "names_in",
]

#: How scores are asked for: `naswot`, `naswot+path_norm`, an object or its class, or several of these.
ScoreNames = str | Score | type[Score] | Sequence[str | Score | type[Score]]

SCORES: Registry[Score] = Registry(
    "score",
    "znas.scores",
    Score,
    {
        "accuracy": "znas_engine.scores.accuracy:Accuracy",
        "ridge": "znas_engine.scores.ridge:Ridge",
        "class_mean": "znas_engine.scores.class_mean:ClassMean",
        "naswot": "znas_engine.scores.naswot:Naswot",
        "swap": "znas_engine.scores.swap:Swap",
        "patterns": "znas_engine.scores.patterns:Patterns",
        "linear_regions": "znas_engine.scores.linear_regions:LinearRegions",
        "path_norm": "znas_engine.scores.path_norm:PathNorm",
        "cell_path_norm": "znas_engine.scores.cell_path_norm:CellPathNorm",
        "zen": "znas_engine.scores.zen:Zen",
        "phi": "znas_engine.scores.phi:Phi",
        "expressivity": "znas_engine.scores.expressivity:Expressivity",
        "entropy": "znas_engine.scores.entropy:Entropy",
        "progressivity": "znas_engine.scores.progressivity:Progressivity",
        "entropy_growth": "znas_engine.scores.entropy_growth:EntropyGrowth",
        "trainability": "znas_engine.scores.trainability:Trainability",
        "isometry": "znas_engine.scores.isometry:Isometry",
        "participation": "znas_engine.scores.participation:Participation",
        "log_det": "znas_engine.scores.log_det:LogDet",
        "curvature": "znas_engine.scores.curvature:Curvature",
        "input_edges": "znas_engine.scores.input_edges:InputEdges",
        "params": "znas_engine.scores.cost:Params",
        "flops": "znas_engine.scores.cost:Flops",
        "live_flops": "znas_engine.scores.cost:LiveFlops",
        "synflow": "znas_engine.scores.synflow:Synflow",
        "grad_norm": "znas_engine.scores.grad_norm:GradNorm",
        "snip": "znas_engine.scores.snip:Snip",
        "zico": "znas_engine.scores.zico:Zico",
        "jacob_cov": "znas_engine.scores.jacob_cov:JacobCov",
        "ntk": "znas_engine.scores.ntk:Ntk",
    },
    check=broken_promise,
)


def get_score(asked: str | Score | type[Score]) -> Score:
    """The score of that name or at `package.module:Name`, of that class, or the object itself; see
    `Registry.get`."""
    return SCORES.get(asked)


def get_scores(asked: ScoreNames) -> tuple[Score, ...]:
    """The scores that `asked` names, in order; InvalidValueError for none, or one that is named twice.

    Spaces around '+' are no part of a name.
    """
    parts = names_in(asked) if isinstance(asked, str) else asked if isinstance(asked, Sequence) else [asked]
    found = tuple(get_score(part) for part in parts)
    names = "+".join(score.name for score in found)
    if not found or len({score.name for score in found}) < len(found):
        raise InvalidValueError(f"`score` must name every score once but got {names!r}")
    return found


def names_in(asked: str) -> list[str]:
    """The names in `naswot + path_norm`; InvalidValueError where one is missing, or commas join them."""
    parts = [part.strip() for part in asked.split("+")]
    if "," in asked:
        names = [name.strip() for part in parts for name in part.split(",") if name.strip()]
        raise InvalidValueError(f"scores are joined by '+' but got {asked!r}: pass {'+'.join(names)}")
    if "" in parts and len(parts) > 1:
        names = [part for part in parts if part]
        raise InvalidValueError(
            f"a name of a score is missing in {asked!r}: pass {'+'.join(names) or 'a name, as in naswot'}"
        )
    return parts
