"""Several scores of one population as one number per architecture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas.selection.criteria import Floats
from znas_engine.errors import InvalidValueError
from znas_engine.scores import get_score


def combined(values: Floats) -> Floats:
    """float64 [S, n], a row per score, larger is better -> [n], comparable within this population only.

    one score: the score itself
    several:   sum_s log(rank_s / n), rank n the largest of a row, ties sharing the mean of theirs
    """
    if len(values) == 1:
        only: Floats = values[0]
        return only
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=1)
    total: Floats = np.log(ranks / values.shape[1]).sum(0)
    return total


def parse_scores(text: str, also: Sequence[str] = ()) -> tuple[str, ...]:
    """`a+b+c` -> its names, scores or one of `also`; InvalidValueError for an unknown or a repeated one."""
    names = tuple(text.split("+"))
    for name in names:
        if name not in also:
            get_score(name)
    if len(set(names)) < len(names):
        raise InvalidValueError(f"a set of scores must name each once but got {text!r}")
    return names
