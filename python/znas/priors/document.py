"""A prior as a document."""

from __future__ import annotations

import json

import numpy as np

from znas.output import Document, Paragraph, Table
from znas.priors.base import Prior


def document(prior: Prior) -> Document:
    """Mean and deviation of every neuron, where they come from, how they rank."""
    space = prior.space
    rows = [
        [
            edge.label,
            *(
                "" if np.isnan(mean) else f"{mean:.4g} ± {np.sqrt(variance):.2g}"
                for mean, variance in zip(prior.mean[e], prior.variance[e], strict=True)
            ),
        ]
        for e, edge in enumerate(space.edges)
    ]
    what = f"{prior.score} on {space.name}"
    return Document(
        f"Prior of {what}",
        [
            Paragraph(f"{what}: {json.dumps(prior.provenance)}"),
            Table(["edge", *space.operations], rows),
            Paragraph(verdict(prior)),
        ],
        prior.to_dict(),
    )


def verdict(prior: Prior) -> str:
    """Whether it ranks better than chance, in words."""
    if prior.check is None:
        return "never checked on held-out architectures: search will refuse it unless forced"
    word = "ranks better than chance" if prior.check["passed"] else "does NOT rank better than chance"
    return (
        f"{word}: Spearman {prior.check['spearman']:.3f}, Kendall {prior.check['kendall']:.3f}, "
        f"one-sided p {prior.check['p_value']:.2g} over {prior.check['architectures']:,} architectures "
        f"({prior.check['truth']})"
    )
