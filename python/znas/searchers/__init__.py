"""The baselines beside `znas.search`: same supernet, images, seeds and scores, other ways to choose.

    found = run(SEARCHERS["naswot"], Request(preset="naswot", data="cifar10", data_dir=folder, seed=0))
    found.genotype, found.evaluations, found.seconds

`SEARCHERS` holds each with its usual numbers; one with others is its class, called with them:
`Naswot(samples=1000)`, `DartsPT(prior)`.
"""

from __future__ import annotations

from znas.searchers.base import Found, Searcher, Task, run
from znas.searchers.evolution import Evolution
from znas.searchers.exhaustive import Exhaustive
from znas.searchers.most_parameters import MostParameters
from znas.searchers.naswot import Naswot
from znas.searchers.random import Random
from znas.searchers.te_nas import TeNas
from znas.searchers.zero_cost_pt import DartsPT, ZeroCostPT

__all__ = [
    "SEARCHERS",
    "DartsPT",
    "Evolution",
    "Exhaustive",
    "Found",
    "MostParameters",
    "Naswot",
    "Random",
    "Searcher",
    "Task",
    "TeNas",
    "ZeroCostPT",
    "run",
]

SEARCHERS: dict[str, Searcher] = {
    "random": Random(),
    "most_parameters": MostParameters(),
    "naswot": Naswot(),
    "zero_cost_pt": ZeroCostPT(),
    "te_nas": TeNas(),
    "evolution": Evolution(),
    "exhaustive": Exhaustive(),
}
"""All that need nothing but a request; `DartsPT` needs a prior."""
