"""The paper's statements about distributions, each as a function from samples to claims with verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.diagnose.closed_forms import (
    fixed_input_excess_kurtosis,
    fixed_input_std,
    gaussian_input_excess_kurtosis,
    gaussian_input_std,
)
from znas.diagnose.distributions import NEURON_ENVIRONMENTS, READINGS, Activations, ScoreSamples
from znas.diagnose.normality import Normality, Verdict, judge, normality
from znas.diagnose.sites import ENSEMBLE, FIRST_LAYER, NEURON
from znas.interventions import get_intervention
from znas.interventions.knowledge import FromPrior
from znas.interventions.query import Query, coalition
from znas.interventions.scorer import IntervenedScorer
from znas.priors import Prior
from znas_engine.environment import derive_seed
from znas_engine.spaces import SearchSpace
from znas_engine.tables import Table

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """One tested sample. depth: convolutions before it, None for scores."""

    label: str
    depth: int | None
    shape: Normality


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement, tested with one initialisation, kind of images and reading of what varies.

    gaussian: whether the paper says Gaussian (Corollary 2.2 says not). verdict: RULE over the samples.
    """

    statement: str
    init: str
    source: str
    reading: str
    gaussian: bool
    samples: tuple[Sample, ...]
    verdict: Verdict

    @property
    def outcome(self) -> str:
        """The verdict, held against what the paper says.

        "consistent", "contradicted" or "nearly"; "not seen", "barely seen": the departure from a Gaussian
        that the paper states does not show at this size of sample, or is small; "no spread", "not tested":
        as in the verdict.
        """
        word = self.verdict.word
        if self.gaussian:
            said = {"Gaussian": "consistent", "not Gaussian": "contradicted"}
        else:
            said = {"Gaussian": "not seen", "nearly": "barely seen"}
            said |= {"not Gaussian": "consistent", "no spread": "consistent"}
        return said.get(word, word)

    def worst(self, name: str) -> float | None:
        """The figure of `Normality` that is furthest from 0 among the samples; None where none has it."""
        values = [value for s in self.samples if (value := getattr(s.shape, name)) is not None]
        return max(values, key=abs, default=None)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"outcome": self.outcome}


def _claim(
    statement: str, init: str, source: str, reading: str, samples: Sequence[Sample], *, gaussian: bool = True
) -> Claim:
    verdict = judge([sample.shape for sample in samples])
    return Claim(statement, init, source, reading, gaussian, tuple(samples), verdict)


def _outputs(statement: str, found: Activations, role: str, *, gaussian: bool = True) -> list[Claim]:
    """One claim per reading, over all sites of a role."""
    claims = []
    for reading, (_, independent) in READINGS.items():
        samples = [
            Sample(site.label, site.depth, normality(values, independent=independent))
            for site, values in zip(found.sites, found.values[reading], strict=True)
            if site.role == role
        ]
        claims.append(_claim(statement, found.init, found.source, reading, samples, gaussian=gaussian))
    return claims


def lemma_1(found: Activations) -> list[Claim]:
    """Given a Gaussian input, the output of a neuron in the first layer is Gaussian."""
    return _outputs("Lemma 1", found, FIRST_LAYER)


def lemma_2(found: Activations) -> list[Claim]:
    """Given a Gaussian input, the output of a neuron in any layer is Gaussian."""
    return _outputs("Lemma 2", found, NEURON)


def corollary_2_1(found: Activations) -> list[Claim]:
    """The output of any neuron ensemble is Gaussian; said of Gaussian weights only (see Corollary 2.2)."""
    return _outputs("Corollary 2.1", found, ENSEMBLE) if found.init == "gaussian" else []


def corollary_2_2(found: Activations) -> list[Claim]:
    """With uniform or constant weights the output of any neuron ensemble is not Gaussian."""
    return [] if found.init == "gaussian" else _outputs("Corollary 2.2", found, ENSEMBLE, gaussian=False)


def equation_2(scores: ScoreSamples) -> list[Claim]:
    """The score V is Gaussian: of a neuron and of an ensemble over environments, of random architectures in
    one environment."""

    def samples(values: dict[str, Floats]) -> list[Sample]:
        return [Sample(label, None, normality(sample)) for label, sample in values.items()]

    return [
        _claim("equation 2", scores.init, scores.source, f"V of {what}", samples(values))
        for what, values in (
            ("neurons", scores.neurons),
            ("ensembles", scores.ensembles),
            ("architectures", {"random architectures": scores.architectures}),
        )
    ]


def equation_2_trained(table: Table, column: str | None) -> Claim:
    """Equation 2 for architectures that were trained: the accuracies of a table."""
    name, accuracies = table.column(column)
    sample = Sample(f"{table.path.name}: {name}", None, normality(accuracies))
    return _claim("equation 2", "trained", table.path.name, "accuracy", [sample])


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The first layer as measured and as known exactly. expected_kurtosis, kurtosis: None without spread."""

    init: str
    source: str
    reading: str
    n: int
    expected_std: float
    std: float
    expected_kurtosis: float | None
    kurtosis: float | None


def first_layer_in_closed_form(found: Activations) -> list[ClosedForm]:
    """Lemma 1 over weights above a fixed image, and (Gaussian pixels) over weights and images."""
    init, fan_in = found.init, len(found.patch)
    expected = {
        "weights": (
            fixed_input_std(found.patch, fan_in, init),
            fixed_input_excess_kurtosis(found.patch, init),
        )
    }
    if found.source == "gaussian":
        both = gaussian_input_std(fan_in, init), gaussian_input_excess_kurtosis(fan_in, init)
        expected["both"] = both
    rows = []
    for reading, (std, kurtosis) in expected.items():
        shape = normality(found.values[reading][0])
        rows.append(
            ClosedForm(init, found.source, reading, shape.n, std, shape.std, kurtosis, shape.excess_kurtosis)
        )
    return rows


@dataclass(frozen=True, slots=True)
class Intervened:
    """Equation 8 at one p. values: float64 [K, N], V of every neuron per environment. drawn: bool [N].
    shapes: per environment, of its N values (which depend on one another: no p-value)."""

    init: str
    p: float
    values: Floats
    drawn: NDArray[np.bool_]
    shapes: tuple[Normality, ...]

    def mean_of(self, name: str) -> float | None:
        """The average of one figure of `shapes`; None where an environment has no spread."""
        values = [getattr(shape, name) for shape in self.shapes]
        return None if None in values else float(np.mean(values))

    def to_dict(self) -> dict[str, Any]:
        names = ("mean", "std", "skewness", "excess_kurtosis", "kolmogorov")
        facts: dict[str, Any] = {name: self.mean_of(name) for name in names}
        return {"init": self.init, "p": self.p, "neurons_drawn": int(self.drawn.sum())} | facts


def equation_8(scores: ScoreSamples, space: SearchSpace[Any], p: float, seed: int) -> Intervened:
    """Observed scores, each replaced with probability p by a draw from D(Z), as a search does it.

    D(Z) of a neuron = N(mean, variance) of its V over the first half of the environments
    V = draw from D(Z) if B ~ Bernoulli(p) else V observed, over the second half
    """
    pairs = space.neurons()
    queries = [coalition(space.mixture(), e, [o]) for e, o in pairs]
    known, observed = np.split(scores.every_neuron, [NEURON_ENVIRONMENTS // 2])
    measured = {q.mask.tobytes(): column for q, column in zip(queries, observed.T, strict=True)}

    def observe(queries: Sequence[Query]) -> Floats:
        return np.stack([measured[q.mask.tobytes()] for q in queries], axis=1)

    scorer = IntervenedScorer(
        observe=observe,
        rows=len(observed),
        edges=len(space.edges),
        p=p,
        knowledge=FromPrior(_prior(space, pairs, known), aligned=False),
        intervention=get_intervention("gaussian"),
        rng_replaced=np.random.default_rng(derive_seed(seed, "replaced")),
        rng_draws=np.random.default_rng(derive_seed(seed, "interventions")),
    )
    answers = scorer(queries)
    values = np.stack([answer.values for answer in answers], axis=1)
    return Intervened(
        init=scores.init,
        p=p,
        values=values,
        drawn=np.array([answer.intervened for answer in answers]),
        shapes=tuple(normality(row, independent=False) for row in values),
    )


def _prior(space: SearchSpace[Any], pairs: list[tuple[int, int]], known: Floats) -> Prior:
    """Moments of `known`, float64 [K, N], as D(Z)."""
    mean, variance = (np.full(space.shape, np.nan) for _ in range(2))
    at = tuple(zip(*pairs, strict=True))
    mean[at], variance[at] = known.mean(0), known.var(0, ddof=1)
    return Prior(
        space=space,
        score="as measured",
        mean=mean,
        variance=variance,
        drop_mean=None,
        drop_variance=None,
        provenance={"source": "diagnose"},
    )
