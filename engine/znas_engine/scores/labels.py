"""Scores that need labels, and data sets that have none."""

from __future__ import annotations

from collections.abc import Iterable

from znas_engine.data import Dataset
from znas_engine.errors import InvalidValueError
from znas_engine.scores.base import Score


def check_labels(scores: Iterable[Score], dataset: Dataset) -> None:
    """Refuse a score that needs labels where `dataset` has none, before any work starts."""
    for score in scores:
        if score.needs_labels and not dataset.labelled:
            raise InvalidValueError(
                f"the score {score.name!r} needs labels and {dataset.name} images have none; "
                f"{dataset.labels_from}, or --score naswot"
            )
