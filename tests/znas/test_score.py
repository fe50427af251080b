"""Scores of given architectures: what a search would measure, where that stands, and jobs that survive."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import znas
from tests.ragged import Ragged, Uneven
from znas.cli import main
from znas.costs.counts import COUNTS
from znas.costs.limits import Counted
from znas.meaning import flag
from znas.score import counted
from znas.scoring.batches import BATCH
from znas.scoring.standing import intervals, percentiles, ranks
from znas.selection.aggregate import AGGREGATES, log_rank, mean
from znas.selection.members import count, members
from znas_engine.environment import Environment
from znas_engine.errors import DataError, InvalidValueError, MissingDependencyError, StorageError
from znas_engine.graph import Graph
from znas_engine.scores import StaticScore
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.spaces.darts import Darts
from znas_engine.spaces.nasbench201 import NasBench201, NasBench201Genotype
from znas_engine.spaces.nasbench201.genotype import OPERATIONS
from znas_engine.tables import read_architectures

pytestmark = pytest.mark.ours

NB201, DARTS = NasBench201(), Darts()
#: For scores that read no images, and for others.
SIZE: dict[str, Any] = {"supernet_channels": 4, "supernet_cells": 1, "resolution": 8, "seed": 3}
TINY = SIZE | {"images": 4}
CELLS = ["[3, 3, 3, 1, 2, 3]", "[1, 3, 0, 4, 2, 1]", "[0, 0, 0, 0, 0, 3]"]
#: The last of them has no way from images to logits.
DEAD = str(NB201.parse(CELLS[2]))


class Asked(StaticScore):
    """A score that knows how often it was asked."""

    name = "asked"
    asked = 0

    def prepare(self, graph: Graph, environment: Environment) -> Callable[[Mask], float]:
        def value(mask: Mask) -> float:
            Asked.asked += 1
            return float((mask * np.arange(mask.size).reshape(mask.shape)).sum())

        return value


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["score", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def small(*arguments: str | Path) -> list[str | Path]:
    size = SIZE if "params" in arguments else TINY
    return [*arguments, *(f"{flag(name)}={value}" for name, value in size.items())]


# --- what is measured ---


def test_values_are_those_that_a_search_measures() -> None:
    """Of each architecture as itself, on the supernet, images and weights of the same request."""
    request = znas.Request(score="naswot+path_norm", envs=2, **TINY)
    table = znas.score(CELLS, request, references=5)
    masks = np.stack([NB201.mask(NB201.parse(cell)) for cell in CELLS])
    measured = znas.Setup(request).measure(masks).reshape(2, 2, 3)
    for i, row in enumerate(table.rows):
        assert row.values == {"naswot": tuple(measured[:, 0, i]), "path_norm": tuple(measured[:, 1, i])}
        network = NB201.network(NB201.parse(row.arch), table.macro)
        assert (row.params, row.flops) == (network.parameters, network.flops)
    assert table.macro == znas.Setup(request).trained
    assert [row.arch for row in table.rows] == [str(NB201.parse(cell)) for cell in CELLS]
    assert [row.admitted for row in table.rows] == [True, True, False]
    assert any("1 are not admitted" in note for note in table.notes)


def test_what_is_said_of_an_architecture_does_not_depend_on_the_others() -> None:
    options = SIZE | {"score": "params+flops"}
    together = znas.score(CELLS, random=70, references=20, **options)
    alone = znas.score([CELLS[1]], references=20, **options)
    (row,), other = alone.rows, together.rows[1]
    assert (row.arch, row.values, row.percentile) == (other.arch, other.values, other.percentile)
    assert row.aggregate == other.aggregate
    assert alone.references == together.references
    assert len(together.rows) == 73
    assert sorted(each.rank for each in together.rows)[0] == 1
    assert row.rank == 1


def test_a_whole_request_of_a_search_is_read_as_far_as_it_matters() -> None:
    request = znas.Request(score="params", p=0.5, game="shapley", finalists=1, **SIZE)
    assert (
        znas.score([CELLS[0]], request, references=0).rows
        == znas.score([CELLS[0]], score="params", references=0, **SIZE).rows
    )


def test_without_references_ranks_are_among_those_given() -> None:
    table = znas.score(CELLS, score="params+flops", references=0, **SIZE)
    values = np.array([[row.values[name][0] for row in table.rows] for name in ("params", "flops")])
    assert [row.aggregate for row in table.rows] == log_rank(values).tolist()
    assert {row.percentile for row in table.rows} == {None}


def test_one_environment_has_no_interval_and_says_so() -> None:
    one = znas.score([CELLS[0]], score="naswot", references=4, **TINY)
    assert (one.rows[0].low, one.rows[0].high) == (None, None)
    assert any("one environment gives percentiles no interval" in note for note in one.notes)
    several = znas.score([CELLS[0]], score="naswot", references=4, envs=3, **TINY)
    (row,) = several.rows
    assert row.percentile is not None
    assert row.low is not None
    assert row.high is not None
    assert 0 <= row.low <= row.high <= 100
    assert {"naswot", "naswot_std", "percentile_low", "percentile_high"} <= row.record().keys()


def test_all_of_a_small_space_and_their_sizes() -> None:
    """Parameters of 15,625 networks are sums, which some networks confirm."""
    table = znas.score(everything=True, score="params", references=10, **SIZE)
    assert [row.arch for row in table.rows] == [
        str(NasBench201Genotype(operations)) for operations in product(OPERATIONS, repeat=6)
    ]
    for row in np.random.default_rng(0).choice(np.array(table.rows, dtype=object), 20, replace=False):
        network = NB201.network(NB201.parse(row.arch), table.macro)
        assert (row.params, row.flops) == (network.parameters, network.flops)
    best = [row for row in table.rows if row.rank == 1]
    assert [row.arch for row in best] == [str(NasBench201Genotype(("nor_conv_3x3",) * 6))]
    with pytest.raises(InvalidValueError, match=r"up to 1,000,000, but darts has 1\.08e\+18: draw some"):
        znas.score(space="darts", everything=True, **TINY | {"supernet_cells": 3})


@pytest.mark.parametrize("space", [NB201, DARTS, Uneven()], ids=["nasbench201", "darts", "no sums"])
def test_sizes_of_many_are_those_of_their_networks(space: SearchSpace[Any]) -> None:
    macro = space.proxy_macro(resolution=8, classes=10)
    rng = np.random.default_rng(0)
    genotypes = [space.genotype(space.random_path(rng)) for _ in range(2 * len(space.neurons()) + 1)]
    for name in ("params", "flops"):
        cost = Counted(space, macro, COUNTS[name].of)
        found = counted(cost, genotypes)
        for i in range(0, len(genotypes), 7):
            assert found[i] == cost.of(genotypes[i])


# --- where it stands ---

floats = st.integers(-4, 4).map(float)


@given(st.lists(floats, min_size=1, max_size=8), st.lists(floats, min_size=1, max_size=8))
def test_percentiles_and_ranks_are_scipys(given_: list[float], others: list[float]) -> None:
    from scipy.stats import percentileofscore, rankdata

    found = percentiles(np.array([given_]), np.array([others]), mean)
    assert found == pytest.approx(percentileofscore(others, given_, kind="mean"))
    assert ranks(np.array(given_)).tolist() == rankdata(-np.array(given_), method="min").tolist()


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([name for name in AGGREGATES if name != "lcb"]))
def test_two_environments_leave_three_percentiles(seed: int, name: str) -> None:
    """Drawn again they are the first twice, the second twice, or both: what a bootstrap can see."""
    rng = np.random.default_rng(seed)
    scores = 1 if name == "mean" else 2
    values, among = rng.normal(size=(2 * scores, 3)), rng.normal(size=(2 * scores, 9))
    combine = AGGREGATES[name]
    parts = [slice(0, scores), slice(scores, None), slice(None)]
    possible = np.stack([percentiles(values[part], among[part], combine) for part in parts])
    found = intervals(values, among, combine, scores, rng)
    assert found is not None
    low, high = found
    assert np.allclose(low, possible.min(0))  # each of the two has a quarter of the draws
    assert np.allclose(high, possible.max(0))
    assert intervals(values[:scores], among[:scores], combine, scores, rng) is None


# --- jobs ---


def interrupted_after(batches: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done >= batches * BATCH:
            raise KeyboardInterrupt

    return progress


def test_a_killed_job_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    options: dict[str, Any] = TINY | {"random": 3 * BATCH, "references": 7, "score": Asked, "envs": 2}
    whole, killed = tmp_path / "whole.csv", tmp_path / "killed.csv"
    table = znas.score(out=whole, **options)
    with pytest.raises(KeyboardInterrupt):
        znas.score(out=killed, progress=interrupted_after(2), **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.csv.work", "whole.csv"]
    with pytest.raises(InvalidValueError, match="belongs to another job"):
        znas.score(out=killed, **options | {"seed": 4})
    Asked.asked = 0
    znas.score(out=killed, **options)
    assert Asked.asked == 2 * (BATCH + 7)  # the last two of four batches, in two environments
    assert killed.read_bytes() == whole.read_bytes() == table.to_csv().encode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.csv", "whole.csv"]
    with pytest.raises(StorageError, match="exists already"):
        znas.score(out=killed, **options)


def test_progress_grows_to_all(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    znas.score(random=70, references=0, score="naswot", progress=lambda *now: told.append(now), **TINY)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {70}
    assert told.count((70, 70)) == 1
    assert len(told) > 50  # not only after each batch


# --- which architectures ---


def test_files_of_architectures(tmp_path: Path) -> None:
    """One per line, a table without a number, a table with accuracies; doubles are for the caller."""
    first, second = (str(NB201.parse(cell)) for cell in CELLS[:2])
    lines, table = tmp_path / "lines.txt", tmp_path / "table.csv"
    lines.write_text(f"# mine\n{first}\n\n{CELLS[1]}\n{first}\n")
    wanted = [NB201.parse(each) for each in (first, second, first)]
    assert read_architectures(lines, NB201) == wanted
    for text in (f"arch\n{first}\n{second}\n{first}", f"name,cell\na,{first}\nb,{second}\nc,{first}",
                 f"cell;accuracy\n{first};90\n{second};91.5\n{first};n/a"):  # fmt: skip
        table.write_text(text)
        assert read_architectures(table, NB201) == wanted
    said: list[str] = []
    found = znas.score(file=lines, score="params", references=0, report=said.append, **SIZE)
    assert [row.arch for row in found.rows] == [first, second]
    assert "1 of 3 architectures repeat another and count once" in said
    genotypes = tmp_path / "genotypes.txt"
    rng = np.random.default_rng(0)
    drawn = [DARTS.genotype(DARTS.random_path(rng)) for _ in range(3)]
    genotypes.write_text("\n".join(map(str, drawn)))  # with commas, and no header
    assert read_architectures(genotypes, DARTS) == drawn


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (f"{CELLS[0]}\n{DEAD}x\n", r"line 2: not a NAS-Bench-201 architecture"),
        (f"cell,a\n{DEAD},1\n[1, 2],3\n", "line 3"),
        ("cell\nhello\n", "line 2"),
        ("", "is empty"),
        ("1,2\n3,4\n", "no text column"),
    ],
)
def test_files_that_hold_something_else(text: str, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=wrong):
        read_architectures(path, NB201)


def test_members_of_a_space_are_all_of_it() -> None:
    class OneInput(Ragged):
        in_edges = 1

    for space, number in ((Ragged(), 6), (OneInput(), 8)):
        found = [mask.tobytes() for mask in members(space)]
        assert len(found) == len(set(found)) == count(space) == number
        rng = np.random.default_rng(0)
        assert {space.random_path(rng).tobytes() for _ in range(300)} == set(found)
    assert count(NB201) == 15625
    assert count(DARTS) == (1 * 3 * 6 * 10 * 49**4) ** 2


def test_a_space_with_few_architectures_gives_what_it_has() -> None:
    said: list[str] = []
    table = znas.score(random=9, space=Ragged(), score="params", report=said.append, **SIZE)
    assert len(table.rows) == len(table.references) == 5  # one of six is not admitted
    assert "ragged gave 5 random architectures that differ, 9 were asked" in said


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({}, "there is nothing to score"),
        ({"architectures": CELLS[0]}, "must be a list of architectures"),
        ({"architectures": [CELLS[0], "x"]}, "not a NAS-Bench-201 architecture: 'x'"),
        ({"architectures": [None]}, "`architecture` must be a text"),
        ({"random": -1}, "`random` must be between 0 and 100,000"),
        ({"random": 1, "references": 10**6}, "`references` must be between 0"),
        ({"random": 1, "game": "shapley"}, "unknown option 'game'"),
        ({"random": 1, "everything": 1}, "`everything` must be True or False"),
        ({"random": 1, "progress": 5}, "`progress` must be a function"),
        ({"random": 1, "aggregate": "lcb"}, "needs at least 2 environments"),
        ({"random": 1, "out": "scores.txt"}, r"must be called \.csv or \.json"),
    ],
)
def test_what_cannot_be_scored_is_refused(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidValueError, match=wrong):
        znas.score(**TINY | options)


# --- what comes out ---


def test_csv_json_and_frame_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    table = znas.score(CELLS, score="params+flops", references=5, **SIZE)
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    plain = json.loads(table.to_json())
    assert [row["arch"] for row in rows] == [row["arch"] for row in plain["rows"]]
    assert [float(row["percentile"]) for row in rows] == [row["percentile"] for row in plain["rows"]]
    assert [int(row["network_params"]) for row in rows] == [row["params"] for row in plain["rows"]]
    assert (
        float(rows[0]["params"]) == plain["rows"][0]["values"]["params"][0] < float(rows[0]["network_params"])
    )
    assert list(rows[0]) == [
        *("arch", "params", "flops", "aggregate", "rank", "percentile"),
        *("admitted", "network_params", "network_flops"),
    ]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="pip install pandas"):
        table.to_frame()


def test_a_frame_has_the_records() -> None:
    pytest.importorskip("pandas", reason="no dependency: to_frame alone needs it")
    table = znas.score(CELLS, score="params", references=5, **SIZE)
    assert table.to_frame().to_dict("records") == table.records()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "scores.json"
    asked = small(CELLS[0], CELLS[2], "--score", "params", "--references", "5")
    code, said, err = command(capsys, *asked, "--out", out)
    assert (code, err) == (0, "")
    lines = said.splitlines()
    assert lines[0].split()[:2] == ["rank", "params"]
    assert lines[0].endswith("percentile  network params  network flops  architecture")
    assert lines[2].endswith(str(NB201.parse(CELLS[0])))
    assert lines[3].endswith(f"{DEAD} (not admitted)")
    assert f"written     {out}" in said
    code, said, _ = command(capsys, *asked, "--json")
    assert json.loads(out.read_text()) == json.loads(said)
    many = command(capsys, *small("--random", "30", "--score", "params", "--references", "0"))[1]
    assert many.startswith("the best 20 of 30; --out FILE.csv has all\n")


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ([], "there is nothing to score: name architectures, or pass --file FILE, --random N or --all"),
        (["--file", "absent.csv"], "absent.csv"),
        (["--random", "2", "--out", "x.parquet"], "must be called .csv or .json"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, *small(*arguments))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert wrong in err
