"""znas-engine: zero-shot neural architecture search by interventions on a random supernet.

    >>> import znas
    >>> result = znas.search(space="nasbench201", data="gaussian", seed=0)
    >>> print(result.genotype)
    >>> network = result.to_torch(num_classes=10)

Importing znas loads numpy and nothing heavier.
"""

from znas.api import search
from znas.result import EdgeReport, ScoreReport, SearchResult
from znas.settings import SearchSettings

__all__ = ["EdgeReport", "ScoreReport", "SearchResult", "SearchSettings", "search"]
