"""What a diagnosis says: all of it, and what the command prints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from znas.diagnose import plots
from znas.diagnose.closed_forms import relu_excess_kurtosis
from znas.diagnose.distributions import READINGS
from znas.diagnose.lemmas import Claim, ClosedForm, Intervened
from znas.diagnose.normality import RULE, noise_floor
from znas.diagnose.report import Diagnosis
from znas.output import Document, Figure, Heading, Notes, Paragraph, Part, Table

TITLE = "Are outputs and scores of random supernets Gaussian?"


def document(found: Diagnosis) -> Document:
    """The content of report.md, with pictures."""
    parts = [
        *_measured(found),
        _claims(found.claims),
        *_first_layer(found),
        *_samples(found.claims),
        Heading("Observed against intervened scores (equation 8)"),
        _equation_8(found.intervened),
        *_pictures(found),
    ]
    return Document(TITLE, parts, found.to_dict())


def summary(found: Diagnosis) -> Document:
    """Every tested claim in one line."""
    tested = [claim for claim in found.claims if claim.outcome != "not tested"]
    legend = f"{RULE} Corollary 2.2 says not Gaussian, the others Gaussian."
    return Document(
        TITLE, [_claims(tested), _equation_8(found.intervened), Paragraph(legend)], found.to_dict()
    )


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _measured(found: Diagnosis) -> list[Part]:
    facts = found.identity
    n = facts["envs"]
    return [
        Paragraph(
            f"{facts['space']}, {facts['macro']['channels']} channels, {facts['macro']['cells']} cells, "
            f"{facts['norm']} normalisation; {n} weight draws of {facts['images']} images; score "
            f"{facts['score']}; seed {facts['seed']}. Images: {facts['data']}."
        ),
        Paragraph(
            f"Rule. {RULE} Here: {noise_floor(n):.3f} for n = {n}. Skewness, kurtosis and distance are the "
            "worst of the samples. Holm's correction is within a row."
        ),
        Notes([f"`{name}`: {what}." for name, (what, _) in READINGS.items()]),
        Paragraph(
            "Values of the last kind depend on one another, so they have effect sizes and no test. Behind "
            "normalisation, what is fixed is the image, not the statistics that the other images share in. "
            "Corollary 2.2 says not Gaussian; everything else says Gaussian."
        ),
    ]


def _claims(claims: Sequence[Claim]) -> Table:
    """One claim per row, with the worst figure of its samples."""
    headings = (
        *("statement", "weights", "images", "what varies", "samples x n", "rejected"),
        *("skewness", "excess kurtosis", "Kolmogorov", "verdict", "the paper"),
    )
    rows = [
        [
            *(claim.statement, claim.init, claim.source, claim.reading),
            f"{len(claim.samples)} x {min(sample.shape.n for sample in claim.samples)}",
            "-" if claim.verdict.word == "not tested" else str(claim.verdict.rejected),
            *(number(claim.worst(name)) for name in ("skewness", "excess_kurtosis", "kolmogorov")),
            *(claim.verdict.word, claim.outcome),
        ]
        for claim in claims
    ]
    return Table(headings, rows, left=(0, 1, 2, 3, 9, 10))


def _first_layer(found: Diagnosis) -> list[Part]:
    n = found.identity["envs"]
    return [
        Heading("The first layer in closed form (Lemma 1)"),
        Paragraph(
            "Above a fixed image x, Gaussian weights give exactly N(0, sigma^2 |x|^2); uniform ones an "
            "excess kurtosis of -1.2 sum x^4 / (sum x^2)^2; constant ones one number. Over weights and "
            "Gaussian pixels the variance |w|^2 varies: 6 / d and 2.4 / d. Above one draw of weights a "
            "Gaussian image gives exactly N(0, |w|^2), whatever the family of the weights."
        ),
        _closed_forms(found.closed_forms),
        Paragraph(f"A sample of n normal values has a kurtosis of 0 +- {np.sqrt(24 / n):.2g} (n = {n})."),
        Paragraph(
            "One layer deeper nothing is exactly Gaussian at a finite width: behind the first ReLU a 1x1 "
            "convolution without normalisation (`--norm identity`) has, over Gaussian weights, an excess "
            f"kurtosis of 15 / C = {relu_excess_kurtosis(found.stem_channels):.3g} "
            f"at C = {found.stem_channels}. "
            "Measured statistics (`calibrated`, `batch`) divide much of it out."
        ),
    ]


def _closed_forms(found: Sequence[ClosedForm]) -> Table:
    headings = ("weights", "images", "what varies", "n", "deviation", "measured", "kurtosis", "measured")
    rows = [
        [
            *(row.init, row.source, row.reading, str(row.n)),
            *map(number, (row.expected_std, row.std, row.expected_kurtosis, row.kurtosis)),
        ]
        for row in found
    ]
    return Table(headings, rows, left=(0, 1, 2))


def _samples(claims: Sequence[Claim]) -> Iterator[Part]:
    headings = ("sample", "depth", "n", "distinct", "skewness", "excess kurtosis", "Kolmogorov", "W", "p")
    yield Heading("Every sample")
    for claim in claims:
        yield Heading(f"{claim.statement}: {claim.init} weights, {claim.source}, {claim.reading}", level=3)
        rows = [
            [
                *(s.label, "-" if s.depth is None else str(s.depth), str(s.shape.n), str(s.shape.distinct)),
                *map(number, (s.shape.skewness, s.shape.excess_kurtosis, s.shape.kolmogorov)),
                *map(number, (s.shape.shapiro_w, s.shape.p_value)),
            ]
            for s in claim.samples
        ]
        yield Table(headings, rows)


def _equation_8(found: Sequence[Intervened]) -> Table:
    """One p per row; figures are means over environments, each over its neurons."""
    headings = ("weights", "p", "drawn", "mean", "deviation", "skewness", "excess kurtosis", "Kolmogorov")
    names = ("mean", "std", "skewness", "excess_kurtosis", "kolmogorov")
    rows = [
        [
            *(one.init, f"{one.p:g}", f"{int(one.drawn.sum())} of {len(one.drawn)}"),
            *(number(one.mean_of(name)) for name in names),
        ]
        for one in found
    ]
    return Table(headings, rows)


def _pictures(found: Diagnosis) -> Iterator[Figure]:
    score = found.identity["score"]
    first = found.activations[0].source
    outputs = [a for a in found.activations if a.source == first]
    for source in dict.fromkeys(a.source for a in found.activations):
        of_source = [a for a in found.activations if a.source == source]
        yield Figure(
            f"quantiles_{re.sub(r'[^A-Za-z0-9_.-]+', '-', source)}.png",
            plots.quantiles(of_source),
            f"Outputs under {source} images against normal quantiles",
        )
    yield Figure(
        "observed_and_intervened.png",
        plots.observed_and_intervened(found.intervened, score),
        "Scores of every neuron, observed or drawn (the paper's Figure 2)",
    )
    yield Figure(
        "neurons_and_ensemble.png",
        plots.neurons_and_ensemble(outputs, found.scores),
        "Neurons of one edge and their ensemble (the paper's Figure 3)",
    )
    yield Figure(
        "architectures.png",
        plots.architectures(found.scores, found.trained),
        "Scores of random architectures (equation 2)",
    )
