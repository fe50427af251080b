"""The latency of any architecture from a few that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from znas.costs import gaussian
from znas.costs.features import SCOPES, Features, Floats, Reader, random_masks
from znas_engine.arguments import check_between, generator
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace

#: Architectures that are measured for a fit unless told; fewer than LEAST say too little.
MEASURED, LEAST = 30, 6
#: By the name of a form, the groups of features that it adds up; what is simpler stands first.
FORMS = {
    "additive": ("operations", "kinds"),
    "shaped": ("operations", "kinds", "shape"),
}
#: In words, beside the scope's.
FORM_WORDS = {
    "additive": "a sum over (edge, operation)",
    "shaped": "a sum over (edge, operation) and how operations meet",
}
SCOPE_WORDS = {
    "present": "all operations",
    "needed": "operations that reach the logits",
    "live": "operations that images pass on their way to the logits",
}
#: How much smaller a form's error has to be than that of the next simpler.
PREFERENCE = 1.02
#: No prediction is below this share of the least that was measured, and no error counts above this.
FLOOR, WORST = 0.1, 0.5
#: Parts of the measured architectures that are held out in turn.
FOLDS = 5
#: Architectures among which `sample` chooses, per one that it takes.
CHOICE = 8


@dataclass(frozen=True, slots=True)
class Error:
    """Of predictions for architectures that were held out: the median of |predicted / measured - 1|, the
    share of them within 10 %, and Spearman's rank correlation."""

    median: float
    within: float
    spearman: float

    def __str__(self) -> str:
        return (
            f"median error {100 * self.median:.1f} %, {100 * self.within:.0f} % within 10 %, Spearman "
            f"{self.spearman:.3f}"
        )


@dataclass(frozen=True, slots=True)
class _Scale:
    """Of the features under one scope: their middle, and what they vary by; 0 where they do not."""

    middle: Features
    spread: Features

    @classmethod
    def of(cls, reference: Features) -> _Scale:
        parts = (reference.operations, reference.kinds, reference.shape)
        return cls(Features(*(part.mean(0) for part in parts)), Features(*(part.std(0) for part in parts)))

    def apply(self, features: Features) -> dict[str, Floats]:
        """By group, [n, d] of length 1 for a usual architecture."""
        return {
            name: (getattr(features, name) - getattr(self.middle, name)) * self.factor(name)
            for name in ("operations", "kinds", "shape")
        }

    def factor(self, name: str) -> Floats:
        spread: Floats = getattr(self.spread, name)
        varies = spread > 1e-9 * max(float(spread.max(initial=0)), 1e-300)
        found: Floats = np.where(varies, 1 / np.where(varies, spread, 1), 0) / np.sqrt(max(varies.sum(), 1))
        return found


@dataclass(frozen=True, eq=False)
class LatencyModel:
    """Milliseconds of architectures of one space at one size: a Gaussian process over what their graphs
    execute, whose form is that with the smallest error on what it was not fitted on.

    A device executes all operations, those that reach the logits, or those that images pass on their way
    there (`features.SCOPES`). Their times add up per (edge, operation), alike for one operation on different
    edges as far as the measurements do not say otherwise; then, if that helps, what operations do where they
    meet: additions into a node, ReLUs that join others or do not, the longest path. Errors are relative, and
    heavy-tailed: a disturbed measurement counts less.

    error: of the chosen form, FOLDS-fold among the architectures of the fit. form: in words.
    """

    reader: Reader
    scope: str
    name: str
    error: Error
    _scale: _Scale
    _seen: dict[str, Floats]
    _posterior: gaussian.Posterior
    _unit: float
    _least: float

    def __repr__(self) -> str:
        return f"<LatencyModel: {self.form}; held out: {self.error}>"

    @classmethod
    def fit(
        cls,
        space: SearchSpace[Any],
        macro: Macro,
        genotypes: Sequence[Genotype],
        ms: Sequence[float] | Floats,
    ) -> LatencyModel:
        """genotypes: at least LEAST, different ones; ms: what each takes, positive.

        Raises:
            InvalidValueError: too few, another number of times, one that is not positive and finite.
        """
        times = np.asarray(ms, np.float64)
        if len(genotypes) < LEAST or times.shape != (len(genotypes),):
            raise InvalidValueError(
                f"a latency model is fitted on at least {LEAST} architectures with a time for each but got "
                f"{len(genotypes)} and times of shape {list(times.shape)}"
            )
        if not (np.isfinite(times) & (times > 0)).all():
            raise InvalidValueError(f"`ms` must be finite and above 0 but got {times.min()}")
        reader = Reader(space, macro)
        return cls.of_features(reader, reader.read(reader.masks(genotypes)), times)

    @classmethod
    def of_features(cls, reader: Reader, features: Mapping[str, Features], ms: Floats) -> LatencyModel:
        """`fit` of architectures whose features under every scope were read before."""
        unit = float(np.median(ms))
        y = ms / unit
        scales = {scope: _Scale.of(found) for scope, found in reader.reference.items()}
        groups = {scope: scales[scope].apply(features[scope]) for scope in SCOPES}
        best: tuple[float, str, str, gaussian.Posterior] | None = None
        for rank, name in enumerate(FORMS):
            for scope, own in groups.items():
                found = gaussian.fit(kernels(own, own, name), y)
                loss = float(_errors(found.left_out, y).mean()) * PREFERENCE**rank
                if best is None or loss < best[0]:
                    best = loss, scope, name, found
        assert best is not None
        _, scope, name, posterior = best
        own = groups[scope]
        error = _held_out(kernels(own, own, name), y)
        return cls(reader, scope, name, error, scales[scope], own, posterior, unit, FLOOR * float(ms.min()))

    @property
    def form(self) -> str:
        return f"{FORM_WORDS[self.name]}, of {SCOPE_WORDS[self.scope]}"

    def predict(self, genotypes: Sequence[Genotype]) -> Floats:
        """Milliseconds, float64 [n], positive."""
        return self.of_masks(self.reader.masks(genotypes)) if len(genotypes) else np.empty(0)

    def of_masks(self, masks: Mask) -> Floats:
        """The same of masks [n, E, O]."""
        return self.of_read(self.reader.read(masks)[self.scope])

    def of_read(self, features: Features) -> Floats:
        """The same of features under `scope`."""
        own = self._scale.apply(features)
        mean = self._posterior.mean(kernels(own, self._seen, self.name))
        return np.maximum(self._unit * mean, self._least)


def sample(space: SearchSpace[Any], k: int, rng: np.random.Generator) -> list[Any]:
    """k different architectures to measure for a fit, of those that the space admits: of random ones, those
    that say most about each other's operations and shapes (each next is the one whose latency the others say
    least about)."""
    check_between("k", k, 1, None)
    generator("rng", rng)
    reader = Reader(space, space.proxy_macro(resolution=32, classes=10))
    masks = np.unique(random_masks(space, CHOICE * k, rng), axis=0)
    if len(masks) < k:
        raise InvalidValueError(
            f"`k` must be at most {len(masks)}, what was found of {space.name}, but got {k}"
        )
    return [space.genotype(masks[i]) for i in sample_of(reader.read(masks), k, rng)]


def sample_of(features: Mapping[str, Features], k: int, rng: np.random.Generator) -> list[int]:
    """Rows of `features` (by scope, of n architectures): k of CHOICE * k random ones, as `sample` chooses."""
    count = len(features[SCOPES[0]].kinds)
    pool = rng.permutation(count)[: CHOICE * k]
    gram = np.ones((len(pool), len(pool)))
    for scope in SCOPES:
        found = features[scope][pool]
        own = _Scale.of(found).apply(found)
        gram += kernels(own, own, "shaped").sum(0)
    return [int(pool[i]) for i in _spread(gram, k)]


def _spread(gram: Floats, k: int) -> list[int]:
    """Greedily the points of the largest variance given those before: a pivoted Cholesky factorisation."""
    noise = 0.1 * float(np.trace(gram)) / len(gram)
    left = np.diag(gram).copy()
    rows: list[Floats] = []
    chosen: list[int] = []
    for _ in range(k):
        pivot = int(left.argmax())
        row = gram[pivot] - sum((each[pivot] * each for each in rows), np.zeros(len(gram)))
        row = row / np.sqrt(left[pivot] + noise)
        rows.append(row)
        left = left - row**2
        chosen.append(pivot)
        left[chosen] = -np.inf
    return chosen


def kernels(new: dict[str, Floats], seen: dict[str, Floats], form: str) -> Floats:
    """Between [m] new and [n] seen architectures, float64 [g, m, n]."""
    return np.stack([new[group] @ seen[group].T for group in FORMS[form]])


def _errors(predicted: Floats, y: Floats) -> Floats:
    """|log(predicted / measured)|, none above WORST."""
    return np.minimum(np.abs(np.log(np.maximum(predicted, FLOOR * y) / y)), WORST)


def _held_out(gram: Floats, y: Floats) -> Error:
    """What is predicted of each part of the architectures by a fit on the others."""
    from scipy.stats import spearmanr

    predicted = np.empty_like(y)
    folds = min(FOLDS, len(y))
    for fold in range(folds):
        out = np.arange(len(y)) % folds == fold
        found = gaussian.fit(gram[:, ~out][:, :, ~out], y[~out])
        predicted[out] = np.maximum(found.mean(gram[:, out][:, :, ~out]), FLOOR * y[~out].min())
    relative = np.abs(predicted / y - 1)
    rank = float(spearmanr(predicted, y).statistic) if np.ptp(predicted) and np.ptp(y) else 0.0
    return Error(float(np.median(relative)), float((relative <= 0.1).mean()), rank)
