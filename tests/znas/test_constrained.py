"""`reproduce constrained`: regrets and broken limits are those of the tables, and a job goes on."""

from __future__ import annotations

import csv
import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from znas.cli import run
from znas_engine.spaces.nasbench201 import NasBench201Genotype
from znas_engine.spaces.nasbench201.genotype import OPERATIONS

pytestmark = pytest.mark.ours
TINY = [
    "--preset",
    "naswot",
    "--supernet-cells",
    "1",
    "--finalists",
    "8",
    "--images",
    "10",
    "--data",
    "gaussian",
]
#: Of one operation on one edge.
ACCURACY = dict(zip(OPERATIONS, (0.0, 1.0, 4.0, 7.0, 2.0), strict=True))
MS = dict(zip(OPERATIONS, (0.0, 0.1, 1.0, 3.0, 0.5), strict=True))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cells with an accuracy and a latency that add up."""
    folder = tmp_path_factory.mktemp("tables")
    with (folder / "cells.csv").open("w") as cells, (folder / "devices.csv").open("w") as devices:
        cells.write("arch,cifar10_test\n")
        devices.write("arch,phone_ms\n")
        for operations in product(OPERATIONS, repeat=6):
            arch = NasBench201Genotype(operations)
            cells.write(f"{arch},{40 + sum(ACCURACY[o] for o in operations)}\n")
            devices.write(f"{arch},{1 + sum(MS[o] for o in operations)}\n")
    return folder


def constrained(tables: Path, out: Path, *options: str) -> int:
    given = ["--table", str(tables / "cells.csv"), "--latency", str(tables / "devices.csv")]
    return run(["reproduce", "constrained", *given, "--out", str(out), *TINY, "--quiet", *options])


def test_regrets_are_those_of_the_tables_and_the_same_command_goes_on(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert constrained(tables, out, "--costs", "params", "--seeds", "1") == 0
    before = (out / "limited.work").read_text()
    capsys.readouterr()
    assert constrained(tables, out, "--costs", "phone,params", "--seeds", "2", "--json") == 0
    assert (out / "limited.work").read_text().startswith(before)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["cost"], row["percentile"]) for row in rows] == [
        (cost, q) for cost in ("phone", "params") for q in (25, 50, 75)
    ]
    for row in rows:
        archs = [re.findall(r"\|?([a-z_0-9]+)~", arch) for arch in row["architectures"]]
        found = [40 + sum(ACCURACY[o] for o in arch) for arch in archs]
        assert row["found"]["mean"] == pytest.approx(np.mean(found))
        assert row["regret"]["mean"] == pytest.approx(row["best"] - np.mean(found))
        assert row["regret"]["mean"] >= 0 or row["broken"]
        if row["cost"] == "phone":
            over = sum(1 + sum(MS[o] for o in arch) > row["limit"] + 1e-9 for arch in archs)
            assert row["broken"] == over
        else:
            assert row["broken"] == 0
    with (tmp_path / "out" / "constrained.csv").open() as file:
        assert [row["cost"] for row in csv.DictReader(file)] == [row["cost"] for row in rows]
    # The best by hand: as many milliseconds as the limit allows, spent where they buy most.
    quarter = rows[0]
    best = max(
        40 + sum(ACCURACY[o] for o in cell)
        for cell in product(OPERATIONS, repeat=6)
        if 1 + sum(MS[o] for o in cell) <= quarter["limit"]
    )
    assert quarter["best"] == pytest.approx(best)
    assert constrained(tables, out, "--costs", "phone", "--seeds", "2", "--measured", "9") == 2
    assert "limited.work" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--costs", "fone"], "phone"),
        (["--measured", "3"], "`measured` must be at least 6"),
        (["--seeds", "0"], "seeds"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], said: str, tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert constrained(tables, tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
