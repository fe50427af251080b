"""znas-engine: zero-shot neural architecture search by interventions on a random supernet.

    >>> import znas
    >>> result = znas.search(space="nasbench201", data="gaussian", seed=0)
    >>> print(result.genotype)
    >>> network = result.to_torch(classes=10)
    >>> result.save("runs/first")
    >>> result = znas.load("runs/first")
    >>> znas.report("runs/first").save("first.html")
    >>> znas.train("runs/first", "runs/first-trained", data_dir="data")
    >>> znas.deploy("runs/first", "weights.pt").save("model.onnx")

Importing znas loads nothing: a name loads its module when it is first used, so that a command can listen to
signals before numpy is there.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from znas.costs.latency import Latency, Meter, Target, measure_latency
    from znas.costs.latency_table import LatencyTable
    from znas.costs.predictor import LatencyModel
    from znas.deploy import Deployment, deploy
    from znas.method import Method
    from znas.network import network
    from znas.profile import profile
    from znas.report import report
    from znas.request import Request
    from znas.result import EdgeReport, ScoreReport, SearchResult
    from znas.run_folder import load
    from znas.score import score
    from znas.search import search, select
    from znas.setup import Setup
    from znas.training.result import TrainingResult
    from znas.training.train import train

__all__ = [
    "Deployment",
    "EdgeReport",
    "Latency",
    "LatencyModel",
    "LatencyTable",
    "Meter",
    "Method",
    "Request",
    "ScoreReport",
    "SearchResult",
    "Setup",
    "Target",
    "TrainingResult",
    "deploy",
    "load",
    "measure_latency",
    "network",
    "profile",
    "report",
    "score",
    "search",
    "select",
    "train",
]

#: Where every name of the package lies.
_HOMES = {
    "Deployment": "deploy",
    "EdgeReport": "result",
    "Latency": "costs.latency",
    "LatencyModel": "costs.predictor",
    "LatencyTable": "costs.latency_table",
    "Meter": "costs.latency",
    "Method": "method",
    "Request": "request",
    "ScoreReport": "result",
    "SearchResult": "result",
    "Setup": "setup",
    "Target": "costs.latency",
    "TrainingResult": "training.result",
    "deploy": "deploy",
    "load": "run_folder",
    "measure_latency": "costs.latency",
    "network": "network",
    "profile": "profile",
    "report": "report",
    "score": "score",
    "search": "search",
    "select": "search",
    "train": "training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'znas' has no attribute {name!r}")
    found = getattr(import_module(f"znas.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """`znas.search` is the function, also after the module of that name was imported, which sets itself as
    an attribute of its package."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
