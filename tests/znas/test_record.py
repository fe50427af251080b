"""The same seed gives the same search as before the house was opened."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.znas.record import CLOSE, RECORD, SEARCHES, arithmetic, pictures, search

RECORDED: dict[str, Any] = json.loads(RECORD.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pictures") / "pictures"
    pictures(made)
    return made


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.ours) if "darts" in name else name for name in SEARCHES]
)
def test_a_search_gives_what_it_gave(name: str, folder: Path) -> None:
    differences = list(
        compare(RECORDED[name], search(name, folder), exact=RECORDED["arithmetic"] == arithmetic())
    )
    assert not differences, "\n".join(differences[:10])


def compare(before: Any, now: Any, *, exact: bool, at: str = "") -> list[str]:
    """Where `now` differs; keys and notes that only it has are no difference."""
    if at == ".notes":
        return [f"{at}: {note!r} is gone" for note in before if note not in now]
    if isinstance(before, dict) and isinstance(now, dict):
        found = [f"{at}.{key} is gone" for key in before.keys() - now.keys()]
        for key in before.keys() & now.keys():
            found += compare(before[key], now[key], exact=exact, at=f"{at}.{key}")
        return found
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [
            d
            for i, pair in enumerate(zip(before, now, strict=True))
            for d in compare(*pair, exact=exact, at=f"{at}[{i}]")
        ]
    if isinstance(before, float) and isinstance(now, float) and not exact:
        same = math.isclose(before, now, rel_tol=CLOSE, abs_tol=CLOSE)
    else:
        same = type(before) is type(now) and before == now
    return [] if same else [f"{at}: {before!r} became {now!r}"]


def test_the_comparison_sees_what_changed() -> None:
    before = {"a": [1, 2.0, "x"], "b": {"c": None}, "notes": ["x", "y"]}
    assert not compare(before, before | {"new": 1}, exact=True)
    assert not compare(before, before | {"notes": ["x", "new", "y"]}, exact=True)
    for now in (
        {**before, "notes": ["y", "new"]},
        {"a": [1, 2.0, "x"]},
        {**before, "a": [1, 2.0]},
        {**before, "a": [1, 2.1, "x"]},
        {**before, "b": {"c": 0}},
    ):
        assert compare(before, now, exact=True)
    assert not compare({"a": 1.0}, {"a": 1.0 + CLOSE / 10}, exact=False)
    assert compare({"a": 1.0}, {"a": 1.0 + CLOSE / 10}, exact=True)
