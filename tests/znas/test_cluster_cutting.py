"""Masks become units for any workers, and values of units those of the works, whatever comes when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from znas.cluster.bench import Shared
from znas.cluster.cutting import FIRST, LEAST, USUAL, Cutter, Work
from znas.cluster.unit import Measurement
from znas_engine.evaluator import Scores
from znas_engine.spaces import Mask

pytestmark = pytest.mark.ours

#: Of every environment.
ROWS = 2


def value(environment: int, mask: NDArray[np.float32]) -> list[float]:
    """What a mask measures: a row for each of two scores."""
    return [environment * 1e6 + float(mask.sum()), -float(mask.sum())]


def work(number: int, masks: int, environments: int) -> Work:
    """No mask is like another of any work."""
    found = np.zeros((masks, 1, 2), np.float32)
    found[:, 0, 0], found[:, 0, 1] = np.arange(masks), 1000 * number
    of: Any = [number * 100 + k for k in range(environments)]
    return Work(found, of, Shared("scores", None), slice(None), lambda each: Shared(str(each), each))


def backwards(masks: Mask) -> NDArray[np.intp]:
    return np.arange(len(masks))[::-1]


def measured(unit: Measurement) -> list[Scores]:
    found = []
    for cell in unit.cells:
        values = np.array([value(cell.environment.held, mask) for mask in cell.masks]).T
        found.append(Scores(values, len(cell.masks), 3, 0.5, 0.25))
    return found


def masks_of(units: Sequence[Measurement]) -> Counter[tuple[int, bytes]]:
    return Counter(
        (cell.environment.held, mask.tobytes())
        for unit in units
        for cell in unit.cells
        for mask in cell.masks
    )


@given(
    sizes=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 4)), max_size=8),
    speeds=st.lists(st.floats(0.1, 1e4), min_size=1, max_size=5),
    data=st.data(),
)
def test_every_mask_in_every_environment_once(
    sizes: list[tuple[int, int]], speeds: list[float], data: st.DataObject
) -> None:
    works = [work(number, *size) for number, size in enumerate(sizes)]
    cutter = Cutter(works, Shared("supernet", None), backwards, lambda: len(speeds))
    flying: list[tuple[int, Measurement]] = []
    units: list[Measurement] = []
    whole: dict[int, Scores] = {}
    more = True
    while more or flying:
        if more and (not flying or data.draw(st.booleans())):
            worker = data.draw(st.integers(0, len(speeds) - 1))
            unit = cutter.take(worker)
            more = unit is not None
            if unit is not None:
                units.append(unit)
                flying.append((worker, unit))
        elif flying:
            worker, unit = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            cutter.timed(worker, unit.masks, unit.masks / speeds[worker])
            for number, found in cutter.put(unit, measured(unit)):
                assert number not in whole
                whole[number] = found
    assert set(whole) == set(range(len(works)))
    assert len({unit.key for unit in units}) == len(units)
    wanted = Counter((each, mask.tobytes()) for of in works for each in of.environments for mask in of.masks)
    assert masks_of(units) == wanted
    for number, of in enumerate(works):
        found = whole[number]
        rows = [np.array([value(each, mask) for mask in of.masks]).T for each in of.environments]
        np.testing.assert_array_equal(found.values, np.concatenate(rows))
        assert found.values.shape == (ROWS * len(of.environments), len(of.masks))
        assert found.evaluations == len(of.masks) * len(of.environments)
        assert found.images == 3


def test_a_unit_takes_a_worker_as_long_as_any_other() -> None:
    """A slow one gets less; of whom nothing is known, as much as they do on average."""
    cutter = Cutter([work(0, 900, 100)], Shared("supernet", None), backwards, lambda: 3)
    first = cutter.take("fast")
    assert first is not None
    assert first.masks == FIRST
    cutter.timed("fast", 1000, 1.0)
    cutter.timed("slow", 10, 1.0)
    sizes = {}
    for worker in ("fast", "slow", "new"):
        unit = cutter.take(worker)
        assert unit is not None
        sizes[worker] = unit.masks
    assert sizes["fast"] == pytest.approx(USUAL * 1000, abs=FIRST)
    assert sizes["slow"] == pytest.approx(USUAL * 10, abs=FIRST)
    assert sizes["new"] == pytest.approx(USUAL * 505, abs=FIRST)


def test_units_are_smaller_at_the_end() -> None:
    cutter = Cutter([work(0, 900, 10)], Shared("supernet", None), backwards, lambda: 4)
    cutter.timed(0, 1000, 1.0)
    sizes = []
    while (unit := cutter.take(0)) is not None:
        sizes.append(unit.masks)
    assert sum(sizes) == 9000
    assert sizes[0] == pytest.approx(9000 / 8, abs=FIRST)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-2] <= LEAST * 1000


def test_works_are_drawn_as_they_are_needed() -> None:
    drawn = 0

    def works() -> Any:
        nonlocal drawn
        while True:
            yield work(drawn % 9, 100, 2)
            drawn += 1

    cutter = Cutter(works(), Shared("supernet", None), backwards, lambda: 2)
    cutter.timed(0, 100, 1.0)
    assert cutter.take(0) is not None
    assert drawn <= 2 * USUAL * 100 * 2 / 200 + 1
