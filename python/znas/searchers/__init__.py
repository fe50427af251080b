"""The baselines beside `znas.search`: same supernet, images, seeds and scores, other ways to choose.

    found = run(SEARCHERS["naswot"], Request(preset="naswot", data="cifar10", data_dir=folder, seed=0))
    found.genotype, found.evaluations, found.seconds

`SEARCHERS` holds each with its usual numbers; one with others is its class, called with them:
`Naswot(samples=1000)`, `OfPrior(prior)`.
"""

from __future__ import annotations

from znas.searchers.base import Found, Searcher, Task, run
from znas.searchers.evolution import Evolution
from znas.searchers.exhaustive import Exhaustive
from znas.searchers.most_flops import MostFlops
from znas.searchers.most_parameters import MostParameters
from znas.searchers.naswot import Naswot
from znas.searchers.of_prior import OfPrior
from znas.searchers.perturbation import ZeroCostPT
from znas.searchers.random import Random
from znas.searchers.shortlist import Shortlist
from znas.searchers.te_nas import TeNas

__all__ = [
    "SEARCHERS",
    "Evolution",
    "Exhaustive",
    "Found",
    "MostFlops",
    "MostParameters",
    "Naswot",
    "OfPrior",
    "Random",
    "Searcher",
    "Shortlist",
    "Task",
    "TeNas",
    "ZeroCostPT",
    "run",
]

SEARCHERS: dict[str, Searcher] = {
    "random": Random(),
    "most_parameters": MostParameters(),
    "most_flops": MostFlops(),
    "naswot": Naswot(),
    "zero_cost_pt": ZeroCostPT(),
    "te_nas": TeNas(),
    "shortlist": Shortlist(),
    "evolution": Evolution(),
    "exhaustive": Exhaustive(),
}
"""All that need nothing but a request; `OfPrior` needs a prior."""
