"""Latencies beside a known network: from small networks that are measured, to page and picture."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.znas.test_pictures import readable
from znas.costs import latencies
from znas_engine.errors import StorageError

pytestmark = pytest.mark.ours

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("latency_front", ROOT / "bench" / "latency_front.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_found_networks_stand_beside_the_known_one(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TEACHING", 0.02), ("MEASURED", 8), ("PROCESSES", 1)):
        monkeypatch.setattr(latencies, name, value)
    monkeypatch.setattr(script, "PROCESSES", 1)
    monkeypatch.setattr(script, "REFERENCES", 4)
    result, page = tmp_path / "front.json", tmp_path / "front.md"
    convolutions = (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    )
    words = [
        "--space",
        "nasbench201",
        "--beside",
        convolutions,
        "--named",
        "the largest",
        "--channels",
        "4",
    ]
    words += ["--resolution", "16", "--rounds", "2"]
    monkeypatch.setattr(sys, "argv", ["bench/latency_front.py", str(result), str(page), *words])
    script.main()
    data = json.loads(result.read_text())
    known, found = data["rows"][::2], data["rows"][1::2]
    assert [row["channels"] for row in known] == [row["channels"] for row in found] == [4]
    assert all(row["arch"] == convolutions and row["limit"] is None for row in known)
    assert all(mine["flops"] <= row["flops"] for mine, row in zip(found, known, strict=True))
    assert all(len(row["ms"]) == 2 and min(row["ms"]) > 0 for row in data["rows"])
    assert "nothing was trained here" in page.read_text()
    assert page.with_suffix(".png").read_bytes() == script.draw(data, "front.png").png
    readable(script.drawing(data))
    with pytest.raises(StorageError):
        script.main()
