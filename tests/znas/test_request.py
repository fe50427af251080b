"""Every field of a request has a type, whoever asks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import znas
from tests.znas.test_show import CELL, TINY
from znas_engine.errors import InvalidValueError
from znas_engine.scores.naswot import Naswot

WRONG: list[tuple[str, Any, str]] = [
    ("norm", 5, "unknown norm 5: choose one of calibrated"),
    ("game", 5, "unknown game 5: choose one of none"),
    ("init", None, "unknown init None: choose one of gaussian"),
    ("order", None, "unknown order None"),
    ("selection", [], r"unknown selection \[\]"),
    ("aggregate", 5, "unknown aggregate 5: choose one of auto, mean"),
    ("intervention", 5, "unknown intervention 5"),
    ("device", 5, "`device` must be text but got 5: cpu | cuda:N"),
    ("dtype", None, "`dtype` must be text but got None"),
    ("prior", 5, "`prior` must be text but got 5"),
    ("data_dir", 5, "`data_dir` must be a path but got 5"),
    ("force_prior", "no", "`force_prior` must be True or False but got 'no'"),
    ("score", 5, "`score` must be a name, a Score or a list of them, .* but got 5"),
    ("score", {"naswot"}, "`score` must be a name"),
    ("precision", "x", "`precision` must be finite and above 0 but got 'x'"),
    ("race", True, "`race` must be at least 0.5 and below 1 but got True"),
    ("supernet_cells", 1.5, "`supernet_cells` must be a whole number but got 1.5"),
    ("supernet_channels", "x", "`supernet_channels` must be a whole number but got 'x'"),
    ("seed", True, "`seed` must be a whole number but got True"),
    ("seed", None, "`seed` must be a whole number but got None"),
    ("max_evaluations", 2.0, "`max_evaluations` must be a whole number but got 2.0"),
    ("p", "x", "`p` must be a number in"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_another_type_is_one_line(name: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message) as refused:
        znas.search(**{name: value})
    assert "\n" not in str(refused.value)


def test_older_names_are_taken_with_a_remark() -> None:
    now = znas.search(**TINY | {"p": 1.0})
    older = {name.removeprefix("supernet_"): value for name, value in TINY.items()}
    with pytest.warns(FutureWarning) as said:
        before = znas.search(**older | {"p": 1.0})
    assert before.request == now.request
    assert before.arch == now.arch
    assert {str(warning.message) for warning in said} == {
        f"`{name}` is called `supernet_{name}` now" for name in ("channels", "cells")
    }
    assert {warning.filename for warning in said} == {__file__}
    with pytest.raises(
        InvalidValueError, match="`cells` is called `supernet_cells` now, and both were given"
    ):
        znas.search(cells=1, supernet_cells=1)
    with pytest.raises(InvalidValueError, match="`supernet_cells` must be between 1 and 64 but got 0"):
        znas.Request.from_dict({"cells": 0})


def test_what_is_no_request_is_one_line() -> None:
    with pytest.raises(InvalidValueError, match=r"`request` must be a znas\.Request but got 'nasbench201'"):
        znas.search("nasbench201")  # type: ignore[arg-type]


def test_numbers_paths_and_lists_are_of_one_type_each() -> None:
    request = znas.Request(
        seed=np.int64(3),
        images=np.uint8(8),
        race=np.float32(0.75),
        precision=Fraction(1, 4),
        force_prior=np.bool_(True),
        data_dir="data",
        prior=Path("prior.json"),
        score=(Naswot(), "zen"),
        p=[0.5, np.float64(0.25)],
    )
    plain = (request.seed, request.images, request.race, request.precision, request.force_prior, request.p)
    assert plain == (3, 8, 0.75, 0.25, True, (0.5, 0.25))
    assert [type(value) for value in plain] == [int, int, float, float, bool, tuple]
    assert (request.data_dir, request.prior) == (Path("data"), "prior.json")
    assert type(request.score) is list
    assert znas.search(**TINY | {"seed": np.int64(3)}).request == znas.Request(**TINY | {"seed": 3})


def test_requests_with_pictures_can_be_compared() -> None:
    pictures = (np.zeros((4, 8, 8, 3), np.uint8), np.arange(4))
    one, same = (znas.Request(data=pictures, score=["naswot"]) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != znas.Request(data=tuple(array.copy() for array in pictures), score=["naswot"])
    assert one != znas.Request(data=pictures, score=["zen"])
    assert one != znas.Request(score=["naswot"])
    assert znas.Request(p=0) == znas.Request(p=0.0)
    assert hash(znas.Request(p=0)) == hash(znas.Request(p=0.0))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"channels": "x"}, "`channels` must be a whole number but got 'x'"),
        ({"channels": 2.5}, "`channels` must be a whole number but got 2.5"),
        ({"cells": 1.5}, "`cells` must be a whole number but got 1.5"),
        ({"cells": 0}, "`cells` must be between 1 and 64 but got 0"),
        ({"resolution": 7}, "`resolution` must be a multiple of 4 pixels for nasbench201 but got 7"),
        ({"classes": True}, "`classes` must be a whole number but got True"),
    ],
)
def test_a_network_has_a_size_that_there_is(size: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        znas.network("nasbench201", CELL, **size)


def test_the_network_of_a_result_has_a_size_that_there_is() -> None:
    result = znas.search(**TINY)
    for size, message in (
        ({"classes": "x"}, "`classes` must be a whole number but got 'x'"),
        ({"classes": 0}, "`classes` must be between 1 and 1,000,000 but got 0"),
        ({"classes": -1}, "`classes` must be between 1 and 1,000,000 but got -1"),
        ({"channels": "x"}, "`channels` must be a whole number but got 'x'"),
        ({"cells": 1.5}, "`cells` must be a whole number but got 1.5"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            result.to_torch(**size)
    network = result.to_torch(classes=np.int64(7), channels=np.int64(4), cells=1)
    assert next(reversed(list(network.parameters()))).shape == (7,)
