"""A setting without meaning is refused, and a part of the answer that is chance is said to be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import znas
from tests.conftest import SPACES
from tests.ragged import EDGES, Ragged
from znas.meaning import NORM, RULES, WORKERS, always, drawn, never, reaching, ties
from znas.selection.criteria import Worth
from znas_engine.errors import InvalidValueError
from znas_engine.graph import Graph
from znas_engine.scores.cost import Params
from znas_engine.spaces import Macro

TINY: dict[str, Any] = {
    "preset": "naswot",
    "supernet_channels": 4,
    "supernet_cells": 1,
    "resolution": 16,
    "images": 8,
    "threads": 1,
}


class Late(Ragged):
    """Its last edge is there from four cells on: a rule of its own, as DARTS has one."""

    def supernet(self, macro: Macro) -> Graph:
        if macro.cells < 4:
            whole = self.mixed.copy()
            whole[1] = False
            return type("Less", (Ragged,), {"mixed": whole})().supernet(macro)
        return super().supernet(macro)

    def search_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=8, cells=4, resolution=resolution, classes=classes)

    def proxy_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=4, cells=4, resolution=resolution, classes=classes)


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("preset", ["naswot", "shortlist", "paper"])
def test_darts_without_a_normal_cell_is_refused(cells: int, preset: str) -> None:
    with pytest.raises(
        InvalidValueError, match=r"14 of its 28 edges, normal:0->2 .* --supernet-cells 3 or more"
    ):
        znas.Setup(
            znas.Request(
                space="darts", preset=preset, supernet_cells=cells, score="naswot", supernet_channels=4
            )
        )


@pytest.mark.parametrize("cells", [1, 3])
def test_a_foreign_space_is_held_to_the_same(cells: int) -> None:
    with pytest.raises(
        InvalidValueError, match=r"1 of its 3 edges, cell:0->2 first, .* --supernet-cells 4 or more"
    ):
        znas.Setup(znas.Request(space=Late(), preset="naswot", supernet_cells=cells))
    znas.Setup(znas.Request(space=Late(), preset="naswot", supernet_cells=4))


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_spaces_of_ours_have_all_their_operations_at_their_own_sizes(name: str) -> None:
    space = SPACES[name]
    for macro in (space.proxy_macro, space.search_macro, space.evaluation_macro):
        there = reaching(space.supernet(replace(macro(resolution=32, classes=10), channels=4)))
        assert there == set(map(tuple, np.argwhere(space.computing & space.mixed).tolist()))


UNREAD = [
    ({"intervention": "bayesian", "p": 0}, "--intervention bayesian is of what is drawn"),
    ({"intervention": "cdf_difference", "p": (0.0,) * 6}, "--intervention cdf_difference is of what is"),
    ({"prior": "shipped", "p": 0.0}, "--prior shipped is of what is drawn"),
    ({"prior_scale": "raw"}, "--prior-scale raw is of a prior, and there is none"),
    ({"force_prior": True}, "--force-prior is of a prior, and there is none.* or drop --force-prior"),
    ({"order": "node"}, "--order node is of edges one after another"),
    ({"precision": 0.5}, "--precision 0.5 is of a sampled game: pass --game shapley"),
    ({"max_evaluations": 9}, "--max-evaluations 9 is of a sampled game"),
    ({"game": "shapley", "precision": 0.5}, "all coalitions of 5 operations are valued"),
    ({"game": "shapley", "estimator": "exact", "max_evaluations": 99}, "all coalitions of 5 operations"),
    ({"game": "interaction", "precision": 0.5}, "--precision 0.5 is of a sampled game"),
    ({"score": "params", "norm": "batch"}, "--norm batch is not used by params"),
    ({"score": "flops+params", "norm": "identity"}, r"--norm identity is not used by flops\+params"),
    ({"score": "path_norm", "norm": "batch"}, "--norm batch is not used by path_norm"),
    ({"score": "zen", "norm": "batch"}, "--norm batch is not used by zen"),
    ({"score": "swap+expressivity", "init": "uniform"}, r"--init uniform is not used by swap\+expressivity"),
    (
        {"prior": "shipped", "p": 1, "prior_scale": "raw"},
        "--prior-scale raw is of a prior beside what is obs",
    ),
    (
        {"estimator": "bandit"},
        "--estimator bandit is of Shapley values: it needs --game shapley, or drop --e",
    ),
    ({"game": "interaction", "estimator": "exact"}, "--estimator exact is of Shapley values"),
    (
        {"criterion": "leave-one-out", "game": "shapley"},
        "leave-one-out and --game shapley exclude each other",
    ),
    (
        {"game": "shapley", "estimator": "permutation", "max_evaluations": 26, "aggregate": "lcb", "envs": 2},
        "--aggregate lcb is of environments, which a sampled game has averaged before",
    ),
    (
        {"score": "params", "p": 0, "envs": 2, "images": None},
        "--envs 2 is of images and weights, and params r",
    ),
    (
        {"latency_table": "t.csv"},
        "--latency-table t.csv is of a limit of latency, and there is none: pass --max",
    ),
    ({"score": "params", "p": 0}, "--images 8 is of images and weights, and params reads neither"),
    ({"score": "flops+params", "p": 0, "init": "uniform", "images": None}, "--init uniform is of images and"),
    ({"score": "params", "p": 0, "dtype": "bfloat16", "images": None}, "--dtype bfloat16 is of images and w"),
    ({"actors": 2}, "--actors 2 is of workers of a cluster: pass --on ray too, or drop --actors"),
    ({"threads_per_actor": 1, "on": "local"}, "--threads-per-actor 1 is of workers of a cluster"),
    ({"p": (1.0,) * 6, "finalists": 3}, "`finalists` are compared by measuring them"),
    ({"p": (1.0,) * 6, "race": 0.9, "images": 64}, "--race needs a number below 1"),
]


@pytest.mark.parametrize(("options", "message"), UNREAD)
def test_an_option_that_nothing_reads_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message) as refused:
        znas.search(**TINY | options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"intervention": "bayesian", "p": (0.0,) * 5 + (0.5,)},
        {"prior": "shipped", "prior_scale": "raw", "force_prior": True},
        {"selection": "sequential", "order": "node"},
        {"game": "shapley", "estimator": "permutation", "max_evaluations": 26, "precision": 9.0},
        {"norm": "batch", "score": "naswot+params", "p": 0, "envs": 2, "init": "uniform"},
        {"score": "params", "p": 0.5, "envs": 2},
        {"prior": "shipped", "p": 0.5, "intervention": "bayesian"},
        {"criterion": "leave-one-out", "aggregate": "lcb", "envs": 2},
        {"game": "shapley", "aggregate": "lcb", "envs": 2, "estimator": "exact"},
    ],
)
def test_the_same_options_where_they_are_read(options: dict[str, Any]) -> None:
    setup = znas.Setup(request := znas.Request(**TINY | options))
    znas.Method.of(request.settled(), setup.space, setup.scores)


#: Fields that something reads whatever the others are, or whose reader refuses them itself: `load` those of
#: images, `Method` a final round and a race, `Setup` limits and sizes, `choose_backend` what a machine lacks.
ELSEWHERE = {
    *(
        "space",
        "data",
        "data_dir",
        "channels_in",
        "resolution",
        "supernet_channels",
        "supernet_cells",
        "supernet_resolution",
        "seed",
    ),
    *("preset", "score", "p", "game", "selection", "finalists", "race"),
    *("backend", "device", "threads", "on", "network_channels", "network_cells"),
    *("max_params", "max_flops", "max_memory", "max_latency"),
}


def test_every_option_has_a_rule_or_a_reader_that_refuses_it() -> None:
    fields = set(znas.Request.__dataclass_fields__)
    ruled = {rule.option for rule in (*RULES, NORM, *WORKERS)}
    assert ruled <= fields
    assert not ruled & ELSEWHERE
    assert fields == ruled | ELSEWHERE


def test_the_value_that_an_option_has_anyway_is_not_refused() -> None:
    """A request cannot tell it from nothing."""
    request = znas.Request(**TINY | {"order": "random", "images": 64, "score": "params", "p": 0, "envs": 1})
    setup = znas.Setup(request)
    znas.Method.of(request.settled(), setup.space, setup.scores)


def test_what_is_not_measured_is_said_at_p_one() -> None:
    asked = {"preset": "naswot", "resolution": 16, "p": 1, "seed": 4}
    assert not any("changed nothing" in note for note in znas.search(**asked).notes)
    notes = znas.search(**asked, supernet_channels=4, images=8, norm="batch").notes
    assert "at p = 1 nothing is measured: --images, --norm, --supernet-channels changed nothing" in notes


def test_a_drawn_winner_is_named() -> None:
    """By the marks of the table, on every edge that stays."""
    said = 0
    for seed in range(3):
        result = znas.search(**TINY | {"p": 0.6, "seed": seed})
        won = [e.edge for e in result.edges if e.kept and e.operations[e.selected].intervened]
        notes = [note for note in result.notes if "by a draw (~)" in note]
        count = f"{len(won)} of 6 edges were won by a draw (~), not by a measurement"
        assert notes == [f"{count}: {', '.join(won)}; --p 0 measures all"] * bool(won)
        assert json.loads(result.to_json())["notes"] == list(result.notes)
        said += bool(won)
    assert said
    assert not any("~" in note for note in znas.search(**TINY | {"p": 0}).notes)


def test_many_drawn_winners_are_counted() -> None:
    darts = SPACES["darts"]
    edges = range(len(darts.edges))
    worths = [Worth(np.zeros((1, 7)), (True,) * 7) for _ in edges]
    selected = np.array([darts.options(e)[0] for e in edges])
    (said,) = drawn(darts, worths, selected, np.ones(len(darts.edges), dtype=bool))
    assert said.startswith("28 of 28 edges were won by a draw (~)")
    assert "normal:0->4 and 22 more; --p 0" in said
    assert not list(drawn(darts, worths, selected, np.zeros(len(darts.edges), dtype=bool)))


class Same(Params):
    """A score that knows nothing."""

    name = "same"

    def prepare(self, graph: Any, environment: Any) -> Any:
        return lambda mask: 1.0


def test_a_constant_score_is_a_uniform_draw_and_says_so() -> None:
    notes = znas.search(**TINY | {"score": Same(), "p": 0, "images": None}).notes
    assert "on every edge all operations scored the same: they are a uniform draw" in notes
    assert any("same reads neither images nor weights" in note for note in notes)
    assert not any("uniform draw" in note for note in znas.search(**TINY | {"p": 0}).notes)


def test_nothing_measured_is_said_for_a_p_per_edge_too() -> None:
    for p in (1, (1.0,) * 6):
        assert any("nothing was measured" in note for note in znas.search(**TINY | {"p": p}).notes)


def test_fewer_images_than_classes_are_said() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    asked = {name: value for name, value in TINY.items() if name != "resolution"}
    asked |= {"data": (pictures, np.arange(40) % 10), "score": "accuracy", "p": 0}
    assert any("8 images of 10 classes: 2 classes have none" in n for n in znas.search(**asked).notes)
    assert not any("classes have none" in n for n in znas.search(**asked | {"images": 10}).notes)


def test_edges_that_tie_are_named() -> None:
    space = Ragged()
    scores = np.array([[1, -np.inf, -np.inf, 1], [-np.inf, 1, 2, 3], [-np.inf, -np.inf, -np.inf, 5]])
    (said,) = ties(space, scores, {})
    assert said.startswith(f"on {EDGES[0].label} all operations scored the same")
    scores[1, 1:] = 0
    (said,) = ties(space, scores, {})
    assert said.startswith("on every edge")
    darts = SPACES["darts"]
    even = {e: 1.0 for into in darts.contested_nodes() for e in into}
    distinct = np.where(darts.candidates, np.arange(8.0), -np.inf)
    (said,) = ties(darts, distinct, even)
    assert "at 6 of 6 nodes all edges" in said


@pytest.mark.parametrize(
    ("p", "is_never", "is_always"),
    [(0, True, False), (1, False, True), (0.5, False, False), ("auto", False, False), (None, False, False),
     ((0.0, 0.0), True, False), ((1.0, 1.0), False, True), ((0.0, 1.0), False, False)],
)  # fmt: skip
def test_never_and_always(p: Any, is_never: bool, is_always: bool) -> None:
    assert (never(p), always(p)) == (is_never, is_always)
