"""Does a prior rank architectures better than chance? One that does not must not steer a search.

A known trap: supernets trained for a few epochs rank backwards, because they love skip connections.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from znas.priors.base import Prior, better_than_chance
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask

#: Fewer held-out architectures say nothing about a ranking.
FEWEST = 10


@dataclass(frozen=True, slots=True)
class RankCheck:
    """How `Prior.predict` ranks architectures against `truth` (a table's column, in words)."""

    truth: str
    architectures: int
    spearman: float
    kendall: float
    p_value: float

    @property
    def passed(self) -> bool:
        """See `better_than_chance`."""
        return better_than_chance(self.spearman, self.p_value)


def rank_check(prior: Prior, masks: Mask, accuracies: NDArray[np.float64], *, truth: str) -> RankCheck:
    """masks [n, E, O] of held-out architectures, accuracies float64 [n], n >= FEWEST."""
    from scipy.stats import kendalltau, spearmanr

    if len(masks) < FEWEST:
        raise InvalidValueError(
            f"a prior is checked on at least {FEWEST} held-out architectures but got {len(masks)}"
        )
    predicted = prior.predict(masks)
    if np.ptp(predicted) == 0 or np.ptp(accuracies) == 0:
        return RankCheck(truth, len(masks), 0.0, 0.0, 1.0)
    spearman = spearmanr(predicted, accuracies, alternative="greater")
    return RankCheck(
        truth=truth,
        architectures=len(masks),
        spearman=float(spearman.statistic),
        kendall=float(kendalltau(predicted, accuracies).statistic),
        p_value=float(spearman.pvalue),
    )


def checked(prior: Prior, found: RankCheck) -> Prior:
    """The prior with its check recorded."""
    return replace(prior, check=asdict(found) | {"passed": found.passed})


def require(prior: Prior, *, force: bool) -> None:
    """Refuses a prior that was not found to rank better than chance, unless forced."""
    if force or (prior.check is not None and prior.check["passed"]):
        return
    if prior.check is None:
        raise InvalidValueError(
            "the prior was never checked on held-out architectures; run znas-engine prior check --record, "
            "or pass --force-prior"
        )
    raise InvalidValueError(
        f"the prior ranks no better than chance (Spearman {prior.check['spearman']:.2f} over "
        f"{prior.check['architectures']} architectures); --force-prior uses it all the same"
    )
