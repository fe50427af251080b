"""A place of work of one's own, docs/extending.md's: processes of this machine give what one process does."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import znas
from tests.znas.test_show import TINY
from znas.cluster.place import Here, Place
from znas.hooks import Hooks
from znas.request import Request
from znas.setup import Setup
from znas_engine.errors import InvalidValueError, ZnasError
from znas_engine.scores import get_scores

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
CELLS: dict[str, Any] = {"random": 40, "references": 30, "score": "naswot+zen", "envs": 3}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page's `Pool` of two processes, which import it."""
    (source,) = re.findall(r"^```python\n(# my_package/pool\.py\n.*?)^```$", PAGE.read_text(), re.M | re.S)
    folder = tmp_path_factory.mktemp("pool")
    (folder / "pool_of_processes.py").write_text(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        found = import_module("pool_of_processes").Pool(2)
        yield found
        found.executor.shutdown()
        del sys.modules["pool_of_processes"]


def plain(result: Any) -> dict[str, Any]:
    """Without what a clock says."""
    found: dict[str, Any] = result.to_dict()
    del found["seconds"]
    return found


def test_a_search_finds_the_same(pool: Place) -> None:
    asked = {**TINY, "preset": "naswot", "p": 0.2, "envs": 2, "finalists": 5}
    lines: list[str] = []
    found = znas.search(**asked, on=pool, report=lines.append)
    assert plain(found) == plain(znas.search(**asked))
    assert [line for line in lines if line.startswith("here: ")] == lines[-1:]
    assert re.fullmatch(
        r"here: \d+ units, \d+ masks, [12] workers? busy \d+% of the time, in .* s", lines[-1]
    )


def test_a_table_of_scores_is_the_same(pool: Place) -> None:
    """Of a data set by name; and of images and a score that are objects."""
    counts: list[tuple[int, int]] = []
    found = znas.score(**TINY, **CELLS, on=pool, progress=lambda *each: counts.append(each))
    assert found.rows == znas.score(**TINY, **CELLS).rows
    assert counts == sorted(counts)
    assert counts[-1] == (70, 70)
    images = np.random.default_rng(0).random((16, 3, 16, 16), np.float32)
    asked = {**TINY, "random": 5, "references": 0, "score": list(get_scores("naswot"))}
    asked["data"] = images, np.arange(16) % 4
    assert znas.score(**asked, on=pool).rows == znas.score(**asked).rows


def test_what_is_wrong_on_a_worker_is_said_here(pool: Place) -> None:
    black = np.zeros((16, 3, 16, 16), np.float32), np.arange(16) % 4
    asked = {**TINY, "data": black, "random": 5, "references": 0}
    with pytest.raises(ZnasError) as here:
        znas.score(**asked)
    with pytest.raises(type(here.value)) as there:
        znas.score(**asked, on=pool)
    assert str(there.value) == str(here.value)


def test_a_place_in_this_process_does() -> None:
    """The least that a place has to do; a request that was written down is done in one process."""
    place = Here(threads=1)
    asked = znas.Request(**TINY, on=place)
    assert asked == znas.Request(**TINY, on=place)
    assert asked != znas.Request(**TINY)
    assert znas.Request.from_dict(asked.to_dict()) == znas.Request(**TINY)
    masks = np.stack([znas.Setup(asked).space.mixture()] * 3)
    here, there = (znas.Setup(each, Hooks()).measure(masks) for each in (znas.Request(**TINY), asked))
    assert here.tolist() == there.tolist()


@pytest.mark.parametrize("on", ["", "spark", "ray:", "ray://", "ray://host", None, 5, Place, Here])
def test_no_other_place(on: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"`on` must be local \| ray"):
        znas.Request(on=on)


def test_a_place_of_ones_own_has_its_own_workers() -> None:
    with pytest.raises(InvalidValueError, match="--actors 2 is of workers of a cluster"):
        znas.Setup(znas.Request(**TINY, on=Here(threads=1), actors=2))


def test_of_no_masks_nothing_is_found() -> None:
    """Alone, and beside others."""
    one, other = (Setup(Request(**TINY, envs=2, on=on)) for on in (Here(1), "local"))
    masks = one.space.mixture()[None]
    assert one.measure(masks[:0]).shape == other.measure(masks[:0]).shape
    groups = [masks[:0], masks, masks[:0]]
    found = dict(one.measure_each(groups))
    for number, values in other.measure_each(groups):
        np.testing.assert_array_equal(found[number], values)
