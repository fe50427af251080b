"""D(Z): what is believed of a score that is not measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from znas.interventions.base import Belief, Floats
from znas.interventions.query import Kind, Query

if TYPE_CHECKING:
    from znas.priors.base import Prior


@dataclass(frozen=True, slots=True)
class Observed:
    """What a run has measured: queries and their scores, float64 [K, m]; of a pair its interaction."""

    queries: Sequence[Query]
    values: Floats

    @classmethod
    def nothing(cls, rows: int) -> Observed:
        """In so many environments."""
        return cls([], np.empty((rows, 0)))

    def of(self, kind: Kind) -> Observed:
        """Those of one kind."""
        own = [i for i, query in enumerate(self.queries) if query.kind == kind]
        return Observed([self.queries[i] for i in own], self.values[:, own])


@dataclass(frozen=True, slots=True)
class Level:
    """Where the scores of one kind of query lie.

    mean: float64 [K, 1]. deviations: of single queries from it, float64 [K, m], with so many degrees of
    `freedom`; their covariance between environments is that of a neuron's own effect and of noise.
    """

    mean: Floats
    deviations: Floats
    freedom: int

    @property
    def variance(self) -> Floats:
        """float64 [K, 1]; 0 where there is no degree of freedom"""
        total: Floats = (self.deviations**2).sum(1, keepdims=True) / max(self.freedom, 1)
        return total

    @property
    def together(self) -> Floats | None:
        """Root of the correlation between environments, float64 [K, K]; None for a single one."""
        if len(self.deviations) == 1 or not self.freedom:
            return None
        length = np.sqrt((self.deviations**2).sum(1, keepdims=True))
        unit = np.divide(self.deviations, length, out=np.zeros_like(self.deviations), where=length > 0)
        correlation = unit @ unit.T
        np.fill_diagonal(correlation, 1)  # a constant row is independent of the others
        values, vectors = np.linalg.eigh(correlation)
        root: Floats = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        return root


def level(observed: Observed, kind: Kind) -> Level:
    """The level of one kind, of at least one score that was measured.

    A kind that was not measured is believed to lie where everything does; one that was measured less than
    twice, to spread as the other kinds do, each about its own mean.
    """
    own, every = observed.of(kind).values, observed.values
    mean = (own if own.shape[1] else every).mean(1, keepdims=True)
    if own.shape[1] > 1:
        return Level(mean, own - mean, own.shape[1] - 1)
    kinds = dict.fromkeys(query.kind for query in observed.queries)
    groups = [group for each in kinds if (group := observed.of(each).values).shape[1] > 1] or [every]
    deviations = np.concatenate([group - group.mean(1, keepdims=True) for group in groups], axis=1)
    return Level(mean, deviations, deviations.shape[1] - len(groups))


class Knowledge(ABC):
    """Mean and variance of every query, given what this run has observed."""

    @abstractmethod
    def belief(self, queries: Sequence[Query], observed: Observed) -> Belief:
        """queries: n of one kind -> beliefs float64 [K, n]."""


class Neutral(Knowledge):
    """Knows nothing about single neurons: all of them are believed to be like what was observed of their
    kind.

    Drawn scores and observed ones have the same mean, variance and covariance between environments, so that
    neither is favoured, however many environments are averaged; after a single observation all tie. Where
    nothing was observed, at p = 1, it is N(0, 1) and the search a uniform draw.
    """

    def belief(self, queries: Sequence[Query], observed: Observed) -> Belief:
        shape = (len(observed.values), len(queries))
        if not observed.queries:
            return Belief(np.zeros(shape), np.ones(shape))
        found = level(observed, queries[0].kind)
        mean, variance = np.broadcast_to(found.mean, shape), np.broadcast_to(found.variance, shape)
        return Belief(mean, variance, found.together)


def interaction(pairs: Observed) -> Floats:
    """What a pair that was not measured is worth beyond its parts, float64 [K]: the mean of those that were,
    which favours neither; nothing where none was."""
    mean: Floats = pairs.values.mean(1) if pairs.queries else np.zeros(len(pairs.values))
    return mean


class FromPrior(Knowledge):
    """D(Z) of a `Prior`.

    A coalition of operations is believed to be like its average member, several dropped edges like the
    average of their ensembles, and the bare mixture like the average of all neurons. The variance is that
    between environments, which are independent: what a neuron keeps in all of them is its mean.

    aligned: moves and stretches the prior so that the mean and deviation of what it says of all queries of a
    kind that were asked are those of what the run observed of that kind (once it observed two scores): a
    prior learnt on another supernet or score scale then competes fairly. False draws the prior as it is,
    which is what the paper describes.
    """

    def __init__(self, prior: Prior, *, aligned: bool) -> None:
        self.prior = prior
        self.aligned = aligned
        known = ~np.isnan(prior.mean)
        self.location = float(prior.mean[known].mean())
        self.variance = float(prior.variance[known].mean())

    def belief(self, queries: Sequence[Query], observed: Observed) -> Belief:
        own = self._moments(queries)
        mean, variance = (np.tile(column, (len(observed.values), 1)) for column in own)
        if self.aligned and len(observed.queries) > 1:
            kind = queries[0].kind
            asked = {query.mask.tobytes(): query for query in (*observed.of(kind).queries, *queries)}
            means, variances = self._moments(list(asked.values()))
            scale = float(np.sqrt(means.var() + variances.mean()))
            found = level(observed, kind)
            stretch = np.sqrt(found.variance) / scale if scale else np.zeros_like(found.mean)
            mean = found.mean + (mean - means.mean()) * stretch
            variance = variance * stretch**2
        return Belief(mean, variance)

    def _moments(self, queries: Sequence[Query]) -> Floats:
        """Means and variances, float64 [2, n]"""
        return np.array([self._moment(query) for query in queries]).T

    def _moment(self, query: Query) -> tuple[float, float]:
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
