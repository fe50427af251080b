"""A diagnosis as a page, as JSON and as a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.diagnose import lemmas, plots
from znas.diagnose.closed_forms import relu_excess_kurtosis
from znas.diagnose.distributions import READINGS, Activations, Collector, ScoreSamples
from znas.diagnose.lemmas import Claim, ClosedForm, Intervened
from znas.diagnose.normality import RULE, noise_floor
from znas.hooks import QUIET, Hooks
from znas.request import Request
from znas.run_folder import check_folder, write_folder
from znas_engine import __version__
from znas_engine.tables import Table

LEMMAS = (lemmas.lemma_1, lemmas.lemma_2, lemmas.corollary_2_1, lemmas.corollary_2_2)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Everything `diagnose` measured. `stem_channels`: width behind the first convolution."""

    identity: dict[str, Any]
    activations: list[Activations]
    scores: list[ScoreSamples]
    claims: list[Claim]
    closed_forms: list[ClosedForm]
    intervened: list[Intervened]
    trained: NDArray[np.float64] | None
    stem_channels: int

    def to_dict(self) -> dict[str, Any]:
        """The content of diagnose.json: plain JSON."""
        return {
            "znas": __version__,
            "measured": self.identity,
            "rule": RULE,
            "claims": [claim.to_dict() for claim in self.claims],
            "first_layer": [asdict(row) for row in self.closed_forms],
            "second_layer_excess_kurtosis": relu_excess_kurtosis(self.stem_channels),
            "equation_8": [one.to_dict() for one in self.intervened],
        }

    def pictures(self) -> dict[str, bytes]:
        """File name -> PNG."""
        score = self.identity["score"]
        first = self.activations[0].source
        outputs = [found for found in self.activations if found.source == first]
        sources = dict.fromkeys(found.source for found in self.activations)
        return {
            f"quantiles_{source}.png": plots.quantiles([a for a in self.activations if a.source == source])
            for source in sources
        } | {
            "observed_and_intervened.png": plots.observed_and_intervened(self.intervened, score),
            "neurons_and_ensemble.png": plots.neurons_and_ensemble(outputs, self.scores),
            "architectures.png": plots.architectures(self.scores, self.trained),
        }


def diagnose(
    request: Request,
    *,
    inits: Sequence[str],
    ps: Sequence[float],
    depths: int,
    table: Table | None,
    column: str | None,
    out: Path,
    hooks: Hooks = QUIET,
) -> Diagnosis:
    """Tests the paper's Gaussian statements on random supernets and writes the new folder `out`.

    request: as for a search; `envs` is the number of weight draws, `images` those of each. inits: families
    of weights. ps: of equation 8. depths: cells whose neurons are watched. table: accuracies of trained
    architectures, for equation 2.

    Finished pieces lie in `out`.work until the folder is written: a killed run goes on where it stopped.
    Raises ZnasError; see `znas.search`.
    """
    check_folder(out)
    plots.require_matplotlib()
    collector = Collector(request, inits=inits, depths=depths, hooks=hooks)
    work = work_file(out)
    activations, scores = collector.collect(work)
    claims = [claim for lemma in LEMMAS for found in activations for claim in lemma(found)]
    claims += [claim for found in scores for claim in lemmas.equation_2(found)]
    if table is not None:
        claims.append(lemmas.equation_2_trained(table, column))
    first = activations[0].sites[0].node
    stem = next(node for node in collector.reference.graph.nodes if node.name == first)
    found = Diagnosis(
        identity=collector.identity | {"inits": list(inits), "ps": list(ps)},
        activations=activations,
        scores=scores,
        claims=claims,
        closed_forms=[row for a in activations for row in lemmas.first_layer_in_closed_form(a)],
        intervened=[lemmas.equation_8(s, collector.space, p, request.seed) for s in scores for p in ps],
        trained=None if table is None else table.column(column)[1],
        stem_channels=stem.shape[0],
    )
    pictures = found.pictures()
    text = json.dumps(found.to_dict(), indent=1) + "\n"
    page = markdown(found, list(pictures))
    write_folder(out, {"diagnose.json": text.encode(), "report.md": page.encode()} | pictures)
    work.unlink(missing_ok=True)
    return found


def work_file(out: Path) -> Path:
    """Where the finished pieces of the folder `out` lie until it is written."""
    return out.with_suffix(f"{out.suffix}.work")


CLAIM_COLUMNS = (
    "statement",
    "weights",
    "images",
    "what varies",
    "samples x n",
    "rejected",
    "skewness",
    "excess kurtosis",
    "Kolmogorov",
    "verdict",
    "the paper",
)


def claim_row(claim: Claim) -> list[str]:
    """One claim, with the worst figure of its samples."""
    return [
        claim.statement,
        claim.init,
        claim.source,
        claim.reading,
        f"{len(claim.samples)} x {min(sample.shape.n for sample in claim.samples)}",
        "-" if claim.verdict.word == "not tested" else str(claim.verdict.rejected),
        *(number(claim.worst(name)) for name in ("skewness", "excess_kurtosis", "kolmogorov")),
        claim.verdict.word,
        claim.outcome,
    ]


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return [*lines, *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows), ""]


def markdown(found: Diagnosis, pictures: Sequence[str]) -> str:
    """report.md"""
    facts = found.identity
    n = facts["envs"]
    lines = [
        "# Are outputs and scores of random supernets Gaussian?",
        "",
        (
            f"{facts['space']}, {facts['macro']['channels']} channels, {facts['macro']['cells']} cells, "
            f"{facts['norm']} normalisation; {n} weight draws of {facts['images']} images; score "
            f"{facts['score']}; seed {facts['seed']}. Images: {facts['data']}."
        ),
        "",
        (
            f"Rule. {RULE} Here: {noise_floor(n):.3f} for n = {n}. Skewness, kurtosis and distance are the "
            "worst of the samples. Holm's correction is within a row."
        ),
        "",
        *(f"* `{name}`: {what}." for name, (what, _) in READINGS.items()),
        "",
        (
            "Values of the last kind depend on one another, so they have effect sizes and no test. Behind "
            "normalisation, what is fixed is the image, not the statistics that the other images share in. "
            "Corollary 2.2 says not Gaussian; everything else says Gaussian."
        ),
        "",
        *table_lines(CLAIM_COLUMNS, map(claim_row, found.claims)),
        "## The first layer in closed form (Lemma 1)",
        "",
        (
            "Above a fixed image x, Gaussian weights give exactly N(0, sigma^2 |x|^2); uniform ones an "
            "excess kurtosis of -1.2 sum x^4 / (sum x^2)^2; constant ones one number. Over weights and "
            "Gaussian pixels the variance |w|^2 varies: 6 / d and 2.4 / d. Above one draw of weights a "
            "Gaussian image gives exactly N(0, |w|^2), whatever the family of the weights."
        ),
        "",
        *table_lines(
            ("weights", "images", "what varies", "n", "deviation", "measured", "kurtosis", "measured"),
            (
                [
                    row.init,
                    row.source,
                    row.reading,
                    str(row.n),
                    number(row.expected_std),
                    number(row.std),
                    number(row.expected_kurtosis),
                    number(row.kurtosis),
                ]
                for row in found.closed_forms
            ),
        ),
        f"A sample of n normal values has a kurtosis of 0 +- {np.sqrt(24 / n):.2g} (n = {n}).",
        "",
        (
            "One layer deeper nothing is exactly Gaussian at a finite width: behind the first ReLU a 1x1 "
            "convolution without normalisation (`--norm identity`) has, over Gaussian weights, an excess "
            f"kurtosis of 15 / C = {relu_excess_kurtosis(found.stem_channels):.3g} "
            f"at C = {found.stem_channels}. "
            "Measured statistics (`calibrated`, `batch`) divide much of it out."
        ),
        "",
        "## Every sample",
        "",
    ]
    for claim in found.claims:
        lines += [f"### {claim.statement}: {claim.init} weights, {claim.source}, {claim.reading}", ""]
        lines += table_lines(
            ("sample", "depth", "n", "distinct", "skewness", "excess kurtosis", "Kolmogorov", "W", "p"),
            (
                [
                    s.label,
                    "-" if s.depth is None else str(s.depth),
                    str(s.shape.n),
                    str(s.shape.distinct),
                    number(s.shape.skewness),
                    number(s.shape.excess_kurtosis),
                    number(s.shape.kolmogorov),
                    number(s.shape.shapiro_w),
                    number(s.shape.p_value),
                ]
                for s in claim.samples
            ),
        )
    lines += ["## Observed against intervened scores (equation 8)", ""]
    lines += table_lines(EQUATION_8_COLUMNS, map(equation_8_row, found.intervened))
    lines += [f"![{name}]({name})\n" for name in pictures]
    return "\n".join(lines)


EQUATION_8_COLUMNS = (
    "weights",
    "p",
    "drawn",
    "mean",
    "deviation",
    "skewness",
    "excess kurtosis",
    "Kolmogorov",
)


def equation_8_row(one: Intervened) -> list[str]:
    """One p; figures are means over environments, each over its neurons."""
    names = ("mean", "std", "skewness", "excess_kurtosis", "kolmogorov")
    drawn = f"{int(one.drawn.sum())} of {len(one.drawn)}"
    return [one.init, f"{one.p:g}", drawn, *(number(one.mean_of(name)) for name in names)]
