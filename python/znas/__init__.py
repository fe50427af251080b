"""znas-engine: zero-shot neural architecture search by interventions on a random supernet.

    >>> import znas
    >>> result = znas.search(space="nasbench201", data="gaussian", seed=0)
    >>> print(result.genotype)
    >>> network = result.to_torch(num_classes=10)
    >>> result.save("runs/first")
    >>> result = znas.load("runs/first")

Importing znas loads numpy and nothing heavier.
"""

from znas.method import Method
from znas.network import network
from znas.request import Request
from znas.result import EdgeReport, ScoreReport, SearchResult
from znas.run_folder import load
from znas.search import search, select
from znas.setup import Setup

__all__ = [
    "EdgeReport",
    "Method",
    "Request",
    "ScoreReport",
    "SearchResult",
    "Setup",
    "load",
    "network",
    "search",
    "select",
]
