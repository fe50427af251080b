"""Published scores against what their authors' code gives: numbers of `published.json`, made outside."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import SPACES
from znas_engine.backends import get_backend
from znas_engine.environment import Environment
from znas_engine.scores import get_score
from znas_engine.testing.agreement import noise

pytestmark = pytest.mark.ours

PUBLISHED = json.loads(Path(__file__).with_name("published.json").read_text())
ROWS = PUBLISHED["rows"]
#: Relative. zen: running variances are unbiased ones, n / (n - 1) times ours, in every normalisation.
TOLERANCE = {"zen": 1e-3, "swap": 1e-3, "expressivity": 1e-4, "progressivity": 1e-3, "trainability": 1e-4}
SIZES = [
    (size, list(rows)) for size, rows in groupby(ROWS, lambda r: (r["space"], r["channels"], r["cells"]))
]


@pytest.mark.parametrize(("size", "rows"), SIZES, ids=[size[0] for size, _ in SIZES])
@pytest.mark.parametrize("name", TOLERANCE)
def test_as_the_authors_code_computes_it(
    name: str, size: tuple[str, int, int], rows: list[dict[str, Any]]
) -> None:
    """In value, and so in order; whatever weights and normalisation are asked of other scores."""
    space = SPACES[size[0]]
    macro = replace(space.proxy_macro(resolution=16, classes=10), channels=size[1], cells=size[2])
    masks = np.stack([space.mask(space.parse(row["arch"])) for row in rows])
    environment = Environment(7, "uniform", noise(macro, 16, labelled=False))
    evaluator = get_backend("torch")(space, macro, norm="identity")
    found = evaluator.evaluate(masks, score=get_score(name), environments=[environment]).values[0]
    for row, value in zip(rows, found, strict=True):
        expected = row["values"][name]
        if expected is not None:
            assert value == pytest.approx(expected, rel=TOLERANCE[name]), row["arch"]
    assert len({row["values"][name] for row in rows}) == len(rows)


def test_where_every_number_comes_from() -> None:
    """Repository, commit and file, and the weights: of every score that is checked."""
    named = {name for names in PUBLISHED["sources"] for name in names.split(", ")}
    assert named == set(PUBLISHED["init"]) == set(TOLERANCE)
