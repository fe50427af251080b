from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from znas.selection.operations import argmax_random_ties, select_operations
from znas.selection.topology import connect, contested_edges, one_hot, select_edges
from znas_engine.spaces import Darts, NasBench201, NasBench201Genotype

NB201, DARTS = NasBench201(), Darts()
finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(arrays(np.float64, (6, 5), elements=finite), st.integers(0, 2**32))
def test_the_largest_score_wins_every_edge(scores: Any, seed: int) -> None:
    selected = select_operations(scores, np.random.default_rng(seed))
    assert (scores[np.arange(6), selected] == scores.max(1)).all()


def test_operations_that_may_not_be_selected_never_are() -> None:
    scores = np.zeros((28, 8))
    scores[:, 0] = np.nan
    assert (select_operations(scores, np.random.default_rng(0)) > 0).all()


def test_ties_are_broken_evenly() -> None:
    """3,000 draws among three: each within 4.9 standard errors of 1,000."""
    rng = np.random.default_rng(0)
    counts = np.bincount(
        [argmax_random_ties(np.array([1.0, 0, 1, 1]), rng) for _ in range(3000)], minlength=4
    )
    assert counts[1] == 0
    assert (np.abs(counts[[0, 2, 3]] - 1000) < 4.9 * np.sqrt(3000 * 2 / 9)).all()


def test_only_darts_edges_with_competition_are_contested() -> None:
    assert contested_edges(NB201) == []
    contested = contested_edges(DARTS)
    assert len(contested) == 24
    assert {DARTS.edges[e].target for e in contested} == {3, 4, 5}


@given(arrays(np.float64, 28, elements=finite), st.integers(0, 2**32))
@settings(max_examples=50)
def test_two_edges_per_node_whose_loss_hurts_most(dropped: Any, seed: int) -> None:
    kept = select_edges(DARTS, dropped, np.random.default_rng(seed))
    for cell, target in itertools.product(("normal", "reduce"), (2, 3, 4, 5)):
        into = [e for e, edge in enumerate(DARTS.edges) if (edge.cell, edge.target) == (cell, target)]
        stay = [e for e in into if kept[e]]
        assert len(stay) == 2
        if target > 2:
            worst_kept = max(dropped[e] for e in stay)
            assert all(dropped[e] >= worst_kept for e in into if e not in stay)


@given(arrays(np.float64, 28, elements=finite), st.integers(0, 2**32))
@settings(max_examples=50)
def test_selected_darts_masks_are_genotypes(dropped: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = one_hot(rng.integers(1, 8, 28), 8)
    mask[~select_edges(DARTS, dropped, rng)] = 0
    genotype = DARTS.genotype(mask)
    assert DARTS.parse(str(genotype)) == genotype


@given(arrays(np.float64, (6, 5), elements=finite))
def test_disconnected_winners_are_repaired_at_the_least_loss(scores: Any) -> None:
    """Against brute force over all 15,625 cells that differ from the winners only where those are none."""
    selected = scores.argmax(1)
    found = connect(NB201, scores, selected)
    best = scores[:, 1:].argmax(1) + 1

    def genotype(choice: Any) -> NasBench201Genotype:
        return NasBench201Genotype(tuple(NB201.operations[o] for o in choice))

    def loss(choice: Any) -> float:
        return float(sum(scores[e, selected[e]] - scores[e, o] for e, o in enumerate(choice)))

    assert NB201.connected(genotype(found))
    options = [(s, b) if s == 0 else (s,) for s, b in zip(selected, best, strict=True)]
    connected = [c for c in itertools.product(*options) if NB201.connected(genotype(c))]
    assert loss(found) == pytest.approx(min(map(loss, connected)))
    if NB201.connected(genotype(selected)):
        assert np.array_equal(found, selected)


def test_all_none_is_repaired_by_its_cheapest_path() -> None:
    scores = np.zeros((6, 5))
    scores[:, 0] = 10
    scores[3, 2] = 9  # edge 0 -> 3 loses one point, every other path at least twenty
    repaired = connect(NB201, scores, scores.argmax(1))
    assert repaired.tolist() == [0, 0, 0, 2, 0, 0]
