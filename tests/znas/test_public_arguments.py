"""Every public function of `znas` converts what it is given exactly, or refuses it in one line at once."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import znas
from tests.conftest import SPACES
from tests.znas.test_show import CELL, TINY
from znas.games import GAMES, Bandit, Game, Permutation, get_game, get_interactions
from znas.interventions import get_intervention
from znas.interventions.probability import SMALLEST, check_p, parse_p
from znas.searchers import SEARCHERS, Evolution, Naswot, OfPrior, Shortlist, ZeroCostPT, run
from znas.selection.aggregate import get_aggregate
from znas.selection.race import check_race
from znas_engine.errors import InvalidValueError

ONE = np.random.default_rng(0)


def unreached(done: int, total: int) -> None:
    raise AssertionError("work has begun")


REQUESTS: list[dict[str, Any]] = [
    {"seed": 1.0}, {"seed": True}, {"seed": np.bool_(True)}, {"seed": np.array([1])}, {"seed": "1"},
    {"seed": -1}, {"seed": 2**63}, {"seed": 10**5000}, {"seed": Decimal(1)}, {"seed": np.float64(1)},
    {"images": "8"}, {"images": 8.0}, {"images": True}, {"images": 0}, {"images": None, "envs": 0},
    {"envs": 10_001}, {"envs": 1.5}, {"envs": False}, {"threads": 10**9}, {"threads": "all"},
    {"resolution": 2**63}, {"resolution": 100_000}, {"resolution": 0}, {"resolution": -4},
    {"supernet_channels": 10**9}, {"supernet_channels": 0}, {"supernet_cells": 10**9},
    {"supernet_cells": True}, {"channels_in": 0},
    {"channels_in": 2**40}, {"max_evaluations": 0}, {"max_evaluations": -3}, {"max_evaluations": 10**30},
    {"precision": np.nan}, {"precision": 0}, {"precision": -1}, {"precision": np.inf},
    {"precision": Decimal("0.1")}, {"race": np.nan}, {"race": np.inf}, {"race": Fraction(2, 3)},
    {"finalists": 0}, {"finalists": 2.0}, {"force_prior": 1}, {"force_prior": None},
    {"p": np.nan}, {"p": np.inf}, {"p": -0.1}, {"p": 5e-324}, {"p": True}, {"p": "0.5"}, {"p": b"auto"},
    {"p": []}, {"p": np.full((2, 3), 0.5)}, {"p": [0.5, None]}, {"p": {0.5}}, {"p": [True] * 6},
    {"p": np.array([0.5, np.nan])}, {"p": Decimal("0.1")}, {"p": [0.5] * 7}, {"space": None}, {"space": 5},
    {"space": []}, {"data": 5}, {"backend": None}, {"backend": 5}, {"device": None},
    {"preset": None}, {"preset": 5}, {"score": b"naswot"}, {"score": 5}, {"score": []}, {"score": [None]},
    {"data_dir": "a\0b"}, {"data_dir": b"x"}, {"data_dir": ""}, {"norm": []}, {"game": {}}, {"init": ()},
    {"seeds": 3}, {"image": 8}, {"on": None}, {"on": 5}, {"on": "dask"}, {"on": "ray:"}, {"on": "ray://head"},
    {"actors": 2}, {"actors": 0}, {"threads_per_actor": 1.0}, {"on": "ray", "actors": "all"},
]  # fmt: skip


@pytest.mark.parametrize("options", REQUESTS)
def test_a_search_refuses_before_it_works(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError) as refused:
        znas.search(**TINY | options, progress=unreached)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) <= 300


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ({"seed": np.int64(1)}, {"seed": 1}),
        ({"seed": np.array(1)}, {"seed": 1}),
        ({"images": np.uint8(8)}, {"images": 8}),
        ({"p": np.full(6, 0.5)}, {"p": (0.5,) * 6}),
        ({"p": np.array(0.5)}, {"p": 0.5}),
        ({"p": np.float16(0.5)}, {"p": 0.5}),
        ({"p": Fraction(1, 2)}, {"p": 0.5}),
        ({"p": Decimal("0.5")}, {"p": 0.5}),
        ({"p": -0.0}, {"p": 0.0}),
        ({"p": np.int64(1)}, {"p": 1.0}),
        ({"race": np.float32(0.75)}, {"race": 0.75}),
        ({"force_prior": np.bool_(False)}, {"force_prior": False}),
    ],
)
def test_numbers_are_converted_exactly(written: dict[str, Any], same: dict[str, Any]) -> None:
    one, other = znas.Request(**written), znas.Request(**same)
    assert one == other
    assert one.to_dict() == other.to_dict()
    assert str(one.p) == str(other.p)  # -0.0 equals 0.0


CALLS: dict[str, Callable[[], Any]] = {
    "search: no request": lambda: znas.search(5),  # type: ignore[arg-type]
    "search: progress": lambda: znas.search(**TINY, progress=5),
    "search: report": lambda: znas.search(**TINY, report="x"),
    "select": lambda: znas.select(None, None),  # type: ignore[arg-type]
    "select: method": lambda: znas.select(znas.Setup(znas.Request(**TINY)), None),  # type: ignore[arg-type]
    "Setup": lambda: znas.Setup(None),  # type: ignore[arg-type]
    "Setup: hooks": lambda: znas.Setup(znas.Request(**TINY), 5),  # type: ignore[arg-type]
    "Setup.measure": lambda: znas.Setup(znas.Request(**TINY)).measure("x"),  # type: ignore[arg-type]
    "Setup.measure: rows": lambda: znas.Setup(znas.Request(**TINY)).measure(
        SPACES["nasbench201"].mixture()[None], slice(3, 3)
    ),
    "Method.of": lambda: znas.Method.of(None, None, ()),  # type: ignore[arg-type]
    "network: nothing": lambda: znas.network("nasbench201", None),
    "network: a number": lambda: znas.network("nasbench201", 5),
    "network: no space": lambda: znas.network(None, CELL),  # type: ignore[arg-type]
    "network: one pixel": lambda: znas.network("nasbench201", CELL, resolution=1),
    "network: 1e5 pixels": lambda: znas.network("nasbench201", CELL, resolution=100_000),
    "network: classes": lambda: znas.network("nasbench201", CELL, classes=2**63),
    "network: channels_in": lambda: znas.network("nasbench201", CELL, channels_in=2**40),
    "network: channels": lambda: znas.network("nasbench201", CELL, channels=10**9),
    "game: players": lambda: GAMES["exact"].estimate(len, 2.0, rng=ONE),  # type: ignore[arg-type]
    "game: many players": lambda: GAMES["permutation"].estimate(len, 10**9, rng=ONE, max_evaluations=9),  # type: ignore[arg-type]
    "game: value": lambda: GAMES["exact"].estimate(None, 2, rng=ONE),  # type: ignore[arg-type]
    "game: rng": lambda: GAMES["exact"].estimate(len, 2, rng=0),  # type: ignore[arg-type]
    "game: precision": lambda: GAMES["exact"].estimate(len, 2, rng=ONE, precision=True),  # type: ignore[arg-type]
    "game: text": lambda: GAMES["exact"].estimate(lambda c: "x", 2, rng=ONE),  # type: ignore[arg-type,return-value]
    "game: coalitions": lambda: Game(len, 3)([[True, False, True]]),  # type: ignore[arg-type]
    "game: confidence": lambda: (
        GAMES["exact"]
        .estimate(lambda c: c.sum(1), 2, rng=ONE)  # type: ignore[arg-type,return-value]
        .interval("x")
    ),  # type: ignore[arg-type]
    "permutation: truncation": lambda: Permutation(truncation="x"),  # type: ignore[arg-type]
    "permutation: antithetic": lambda: Permutation(antithetic="no"),  # type: ignore[arg-type]
    "bandit: top": lambda: Bandit(top=1.5),  # type: ignore[arg-type]
    "get_game": lambda: get_game([]),  # type: ignore[arg-type]
    "get_interactions": lambda: get_interactions(None),  # type: ignore[arg-type]
    "get_intervention": lambda: get_intervention({}),  # type: ignore[arg-type]
    "get_aggregate": lambda: get_aggregate([]),  # type: ignore[arg-type]
    "check_race": lambda: check_race("x", 64, 2),  # type: ignore[arg-type]
    "parse_p": lambda: parse_p("0.5,,0.5"),
    "Naswot": lambda: Naswot(samples=1.5),  # type: ignore[arg-type]
    "Naswot: many": lambda: Naswot(samples=10**12),
    "Evolution": lambda: Evolution(budget=True),
    "Evolution: tournament": lambda: Evolution(tournament="5"),  # type: ignore[arg-type]
    "Shortlist": lambda: Shortlist(others=0),
    "ZeroCostPT": lambda: ZeroCostPT(iterations=0),
    "OfPrior": lambda: OfPrior("prior.json"),  # type: ignore[arg-type]
    "run": lambda: run(SEARCHERS["random"], "x"),  # type: ignore[arg-type]
    "run: a name": lambda: run("random", znas.Request()),  # type: ignore[arg-type]
    "run: hooks": lambda: run(SEARCHERS["random"], znas.Request(), None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_other_public_functions(call: Callable[[], Any]) -> None:
    with pytest.raises(InvalidValueError) as refused:
        call()
    assert "\n" not in str(refused.value)


def test_p_has_a_domain() -> None:
    assert check_p(SMALLEST) == SMALLEST
    assert check_p(1 - SMALLEST) == 1 - SMALLEST
    assert str(check_p(-0.0)) == "0.0"
    for wrong in (SMALLEST / 2, 2.3e-308, 5e-324):
        with pytest.raises(InvalidValueError, match="`p` must be 0 or at least"):
            check_p(wrong)
