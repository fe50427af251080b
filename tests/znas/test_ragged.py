"""A space that nothing of ours knows, with other candidates on every edge, in all that searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import znas
from tests.ragged import OPERATIONS, Ragged
from znas import Request as Asked
from znas.bench.contenders import Request
from znas.bench.plan import MASK_KINDS, masks_at
from znas.diagnose.distributions import random_architectures
from znas.priors.table import fit_table
from znas.searchers import SEARCHERS, Evolution, Naswot, run
from znas.selection.aggregate import mean
from znas.selection.finalists import finalists, references
from znas.selection.strategies import best_joint
from znas_engine.backends.checks import check_masks
from znas_engine.backends.self_check import masks, smallest
from znas_engine.errors import DataError, InvalidValueError
from znas_engine.spaces import get_space

pytestmark = pytest.mark.ours

SPACE = get_space("tests.ragged:Ragged")
TINY: dict[str, Any] = {"space": "tests.ragged:Ragged", "images": 8, "resolution": 8, "supernet_channels": 4}


def test_names_and_objects_are_spaces() -> None:
    assert isinstance(SPACE, Ragged)
    mine = Ragged()
    assert get_space(mine) is mine
    with pytest.raises(InvalidValueError, match=r"no znas_engine\.spaces\.base\.SearchSpace"):
        get_space(3)  # type: ignore[arg-type]


def test_a_mask_cannot_keep_what_is_not_there() -> None:
    absent = SPACE.mixture()[None]
    e, o = np.argwhere(~SPACE.mixed)[0]
    absent[0, e, o] = 0.5
    with pytest.raises(InvalidValueError, match=f"keep {SPACE.operations[o]} on {SPACE.edges[e].label}"):
        check_masks(absent, SPACE)
    check_masks(SPACE.mixture()[None], SPACE)


def test_the_mixture_is_even_over_what_is_mixed() -> None:
    third = np.float32(1) / np.float32(3)
    expected = [[third, 0, third, third], [0, third, third, third], [0, 0, 0.5, 0.5]]
    assert SPACE.mixture().tolist() == np.array(expected, np.float32).tolist()
    assert SPACE.neurons() == [(0, 0), (0, 3), (1, 1), (1, 2), (1, 3), (2, 3)]
    assert SPACE.computing.tolist() == (SPACE.mixed & (np.array(OPERATIONS) != "none")).tolist()


def test_random_paths_are_uniform_over_the_candidates() -> None:
    rng = np.random.default_rng(0)
    counts = sum(SPACE.random_path(rng) for _ in range(3000)) / 3000
    shares = SPACE.candidates / SPACE.candidates.sum(1, keepdims=True)
    assert np.allclose(counts, shares, atol=0.04)
    assert not counts[~SPACE.candidates].any()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"finalists": 3},
        {"preset": "naswot", "p": 0},
        {"preset": "naswot", "p": 1},
        {"preset": "naswot", "game": "shapley", "p": 0.2},
        {"preset": "naswot", "game": "interaction", "p": 0},
        {"preset": "naswot", "selection": "sequential", "order": "confidence", "criterion": "leave-one-out"},
        {"preset": "naswot", "race": 0.6, "p": 0, "images": 64},
    ],
)
def test_searches(arguments: dict[str, Any]) -> None:
    for seed in range(3):
        result = znas.search(**TINY | arguments, seed=seed, backend="torch")
        mask = SPACE.mask(result.genotype)
        assert SPACE.admits(mask)
        assert not mask[~SPACE.candidates].any()
        reported = [list(edge.operations) for edge in result.edges]
        assert reported == [[OPERATIONS[o] for o in SPACE.options(e)] for e in range(3)]


@pytest.mark.parametrize("name", [name for name in SEARCHERS if name != "exhaustive"])
def test_searchers(name: str) -> None:
    searcher = {"naswot": Naswot(5), "evolution": Evolution(8, 3, 2)}.get(name, SEARCHERS[name])
    found = run(searcher, Asked(preset="naswot", **TINY, backend="torch", seed=3))
    mask = SPACE.mask(found.genotype)
    assert not mask[~SPACE.candidates].any()
    assert name == "random" or SPACE.admits(mask)


def test_the_largest_is_that_of_the_costs() -> None:
    macro = SPACE.proxy_macro(resolution=8, classes=10)
    costs = SPACE.costs(macro)
    assert (np.isfinite(costs) == SPACE.candidates).all()
    found = SPACE.network(SPACE.genotype(np.eye(4, dtype=np.float32)[costs.argmax(1)]), macro).parameters
    every = ("-".join((a, b, "conv_3")) for a in ("conv_1", "conv_3") for b in ("identity", "none", "conv_3"))
    assert found == max(SPACE.network(SPACE.parse(arch), macro).parameters for arch in every)


def test_the_final_round_keeps_the_rule() -> None:
    scores = np.where(SPACE.candidates, np.random.default_rng(0).normal(size=SPACE.shape), -np.inf)
    found = finalists(SPACE, scores, np.ones(3, bool), 10, np.array([0, 3, 3]))
    assert len(found) == 5  # six, but for the one that the rule forbids
    assert all(SPACE.admits(mask) for mask in found)
    others = references(SPACE, 2, found[:3], np.random.default_rng(1))
    assert {str(SPACE.genotype(m)) for m in others}.isdisjoint(str(SPACE.genotype(m)) for m in found[:3])


@pytest.mark.parametrize("edges", [3, 12])
def test_joint_choices_are_candidates(edges: int) -> None:
    """Small problems are enumerated, large ones climbed."""
    rng = np.random.default_rng(0)
    allowed = np.tile(SPACE.candidates, (edges // 3, 1)) | (np.arange(4) == 3)
    allowed[:, 0] |= edges > 3
    single = np.where(allowed, rng.normal(size=(edges, 4)), -np.inf)
    chosen = best_joint(single[None], {(0, 1): np.full((1, 4, 4), 0.1)}, mean, rng)
    assert allowed[np.arange(edges), chosen].all()


def test_masks_of_bench_self_check_and_diagnose() -> None:
    for kind in MASK_KINDS:
        assert not masks_at(SPACE, kind, 0, 20)[:, ~SPACE.mixed].any()
    macro, environment = smallest(SPACE)
    assert macro.cells == 1
    assert environment.batch.images.shape[2:] == (macro.resolution,) * 2
    for mask in masks(SPACE).values():
        assert not mask[~SPACE.mixed].any()
    paths = random_architectures(SPACE, 20, np.random.default_rng(0))
    assert all(SPACE.admits(path) for path in paths)


def test_a_prior_has_numbers_where_candidates_stand() -> None:
    rng = np.random.default_rng(0)
    paths = np.stack([SPACE.random_path(rng) for _ in range(60)])
    prior = fit_table(SPACE, paths, rng.uniform(50, 90, 60), provenance={})
    assert (np.isnan(prior.mean) == ~SPACE.candidates).all()


def test_what_a_space_does_not_bring_is_said_in_one_line(tmp_path: Path) -> None:
    from znas.bench.eager import eager

    macro, environment = smallest(SPACE)
    with pytest.raises(InvalidValueError, match="the space ragged brings no eager supernet"):
        eager(Request(SPACE, macro, environment, "float32"))
    with pytest.raises(DataError, match="has no reader in the space ragged"):
        SPACE.read_folder(tmp_path)
    with pytest.raises(InvalidValueError, match="lists its functions; ragged does not"):
        run(SEARCHERS["exhaustive"], Asked(preset="naswot", **TINY))
    with pytest.raises(InvalidValueError, match="no prior is shipped for"):
        znas.search(**TINY, preset="naswot", prior="shipped")


def test_a_run_folder_holds_its_network(tmp_path: Path) -> None:
    result = znas.search(**TINY, preset="naswot", p=1)
    result.save(tmp_path / "run")
    scope: dict[str, Any] = {"__name__": "architecture"}
    text = (tmp_path / "run" / "architecture.py").read_text()
    exec(compile(text, "architecture.py", "exec"), scope)
    assert sum(p.numel() for p in scope["build"]().parameters()) == result.params
