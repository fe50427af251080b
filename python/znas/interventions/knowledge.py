"""D(Z): what is believed of a score that is not measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from znas.interventions.base import Belief, Floats
from znas.interventions.query import Query

if TYPE_CHECKING:
    from znas.priors.base import Prior


class Knowledge(ABC):
    """Mean and variance of every query, given what this run has observed."""

    @abstractmethod
    def belief(self, queries: Sequence[Query], observed: Floats) -> Belief:
        """observed: float64 [K, m], all scores measured so far (m may be 0) -> beliefs float64 [K, n]."""


def location_and_scale(observed: Floats) -> tuple[Floats, Floats]:
    """(mean, deviation) of what each environment observed, float64 [K, 1]; deviation 0 for one score."""
    deviation = (
        observed.std(1, ddof=1, keepdims=True) if observed.shape[1] > 1 else np.zeros((len(observed), 1))
    )
    return observed.mean(1, keepdims=True), deviation


class Neutral(Knowledge):
    """Knows nothing about single neurons: all of them are believed to be like what was observed.

    A drawn score and an observed one are then on the same scale and neither is favoured; after a single
    observation all tie. Where nothing was observed, at p = 1, it is N(0, 1) and the search a uniform draw.
    """

    def belief(self, queries: Sequence[Query], observed: Floats) -> Belief:
        shape = (len(observed), len(queries))
        if not observed.shape[1]:
            return Belief(np.zeros(shape), np.ones(shape))
        mean, deviation = location_and_scale(observed)
        return Belief(np.broadcast_to(mean, shape), np.broadcast_to(deviation**2, shape))


class FromPrior(Knowledge):
    """D(Z) of a `Prior`.

    A coalition of operations is believed to be like its average member, several dropped edges like the
    average of their ensembles, and the bare mixture like the average of all neurons.

    aligned: moves and stretches the prior so that the mean and deviation of all its entries are those of
    what the run observed (once it observed two scores): a prior learnt on another supernet or score scale
    then competes fairly. False draws the prior as it is, which is what the paper describes.
    """

    def __init__(self, prior: Prior, *, aligned: bool) -> None:
        self.prior = prior
        self.aligned = aligned
        known = ~np.isnan(prior.mean)
        self.location = float(prior.mean[known].mean())
        self.variance = float(prior.variance[known].mean())
        self.scale = float(np.sqrt(prior.mean[known].var() + self.variance))

    def belief(self, queries: Sequence[Query], observed: Floats) -> Belief:
        moments = np.array([self._moments(query) for query in queries])
        mean, variance = (np.tile(column, (len(observed), 1)) for column in moments.T)
        if self.aligned and observed.shape[1] > 1:
            location, deviation = location_and_scale(observed)
            mean = location + (mean - self.location) * deviation / self.scale
            variance = variance * (deviation / self.scale) ** 2
        return Belief(mean, variance)

    def _moments(self, query: Query) -> tuple[float, float]:
        prior = self.prior
        edges = list(query.edges)
        if query.neurons:
            entries = tuple(zip(*query.neurons, strict=True))
            mean, variance = prior.mean[entries], prior.variance[entries]
        elif edges and prior.drop_mean is not None and prior.drop_variance is not None:
            mean, variance = prior.drop_mean[edges], prior.drop_variance[edges]
        else:
            return self.location, self.variance
        known = ~np.isnan(mean)
        if not known.any():  # operations that may not be selected have no entry
            return self.location, self.variance
        return float(mean[known].mean()), float(variance[known].mean())
