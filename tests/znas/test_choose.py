"""`reproduce choose`: in worlds where it is known which score is accuracy, and where."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from tests.command import here, refused, supernet
from znas.contest import Contest
from znas.files import Album
from znas.method import Method
from znas.reproduce.choose import choose, every_set
from znas.reproduce.chosen import left_out, sheet
from znas.reproduce.correlation import Scored, correlation, environments_csv, scores_csv
from znas.reproduce.figures import ENVIRONMENTS_FILE, SCORES_FILE
from znas.reproduce.halves import read
from znas.reproduce.measured import Measured
from znas.reproduce.played import Half, play, players, taus
from znas.reproduce.sets import sets
from znas.reproduce.sheet import Sheet
from znas.request import Request
from znas.selection.aggregate import log_rank
from znas.selection.criteria import Floats
from znas.setup import Setup
from znas_engine.scores import Score
from znas_engine.spaces import Genotype, Mask, get_space
from znas_engine.tables import Table

SPACE = get_space("nasbench201")
FUNCTIONS = list(SPACE.functions() or ())
REQUEST = Request(space="nasbench201", finalists=10)
#: What compares more than half of a half, so that what passes measure decides.
WIDE = replace(REQUEST, finalists=40)
ENVS = 3


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("znas.reproduce.statistics.RESAMPLES", 2)


def some(seed: int, count: int = 300) -> list[Genotype]:
    """Architectures of different functions."""
    return [FUNCTIONS[i] for i in np.random.default_rng(seed).permutation(len(FUNCTIONS))[:count]]


def left(folder: Path, genotypes: list[Genotype], truth: Floats, scores: dict[str, Floats]) -> Path:
    """What a correlation leaves that measured these scores, float64 [n], with some noise per environment."""
    rng = np.random.default_rng(len(genotypes))
    several = {
        name: np.stack([values + 1e-6 * rng.random(len(values)) for _ in range(ENVS)])
        for name, values in scores.items()
    }
    costs = dict.fromkeys(scores, 1)
    scored = Scored(genotypes, several, {"test_accuracy": truth}, costs, dict.fromkeys(scores, 1.0))
    table = Table(Path("accuracies.csv"), genotypes, scored.accuracies)
    album = Album(folder)
    album.write(ENVIRONMENTS_FILE, environments_csv(scored).encode())
    album.write(SCORES_FILE, scores_csv(scored).encode())
    correlation(scored, list(scores), table, REQUEST).save(album, "correlation")
    return folder


def accuracies(seed: int, count: int = 300) -> Floats:
    return np.random.default_rng(seed).uniform(50, 95, count)


def entry(found: Sheet, name: str) -> dict[str, Any]:
    """The record of one set."""
    (own,) = (record for record in found.records if record["scores"] == name)
    return own


def test_a_score_that_is_accuracy_everywhere_wins_and_one_of_a_single_table_does_not(tmp_path: Path) -> None:
    """naswot is accuracy on both tables, with noise; zen is it exactly on one and its opposite on the other.
    Chosen without the other table, zen wins, and fails there on the half that was not looked at."""
    folders = []
    for seed, (name, sign) in enumerate((("one", 1), ("two", -1))):
        truth, rng = accuracies(seed), np.random.default_rng(seed + 10)
        noise = 8 * rng.normal(size=300)
        scores = {"params": rng.random(300), "zen": sign * truth, "naswot": truth + noise}
        folders.append(left(tmp_path / name, some(3), truth, scores))
    tables = read(folders, None, WIDE)
    names = every_set(["params", "zen", "naswot"], 5)
    found = choose(tables, names, seeds=4, seed=0, work=tmp_path / "work")
    made = sheet(found, "worst", 3, "params+naswot", [])
    assert made.data["rows"][0]["scores"] == "params+naswot"
    assert made.data["sets"] == 4  # every one has params
    best, other = entry(made, "params+naswot"), entry(made, "params+zen")
    assert best["worst_B"] < 0.15 < 0.3 < other["worst_B"]
    assert best["two_tau_B"] > 0.2 > -0.2 > other["two_tau_B"]
    assert "number 1 of 4" in made.notes[-1]
    a, b = (found.criteria(half)["worst"] for half in (0, 1))
    assert any(f"tau: {kendalltau(a, b).statistic:.3f} by worst, " in note for note in made.notes)
    one, two = left_out(found, "worst").data["rows"]
    assert two["table"] == "two"
    assert two["without"]["scores"] == "params+zen"
    assert two["with"]["scores"] == one["with"]["scores"] == "params+naswot"
    assert two["without"]["share"] == other["two_share_B"] > 0.3 > two["with"]["share"]
    assert two["without"]["accuracy"] < two["with"]["accuracy"] == best["two_accuracy_B"]


def test_what_wins_one_half_by_chance_is_reported_on_the_other(tmp_path: Path) -> None:
    """swap is accuracy in half A and its opposite in half B."""
    truth, rng = accuracies(4), np.random.default_rng(0)
    scores = {"params": rng.random(300), "swap": truth, "naswot": truth + 20 * rng.normal(size=300)}
    (table,) = read([left(tmp_path / "a", some(5), truth, scores)], None, WIDE)
    in_b = np.isin(truth, table.halves[1].accuracy)
    assert 100 < in_b.sum() < 200
    folder = left(tmp_path / "a", some(5), truth, scores | {"swap": np.where(in_b, -truth, truth)})
    tables = read([folder], None, WIDE)
    names = every_set(["params", "swap", "naswot"], 2)
    found = choose(tables, names, seeds=4, seed=0, work=tmp_path / "work")
    made = sheet(found, "worst", 3, "naswot", [])
    first = made.records[0]
    assert first["scores"] == "params+swap"
    assert first["worst_A"] < 0.1 < 0.3 < first["worst_B"]
    assert first["a_accuracy_B"] < 60 < 85 < first["a_accuracy_A"]
    assert left_out(found, "worst").cells == []


def test_criteria_are_those_of_the_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folders = [
        left(
            tmp_path / str(k),
            some(6),
            accuracies(k),
            {n: rng.random(300) for n in ("params", "flops", "naswot")},
        )
        for k in range(3)
    ]
    tables = read(folders, None, REQUEST)
    found = choose(
        tables, every_set(["params", "flops", "naswot"], 3), seeds=2, seed=3, work=tmp_path / "work"
    )
    assert found.sets == [
        *(("params",), ("flops",), ("params", "flops"), ("params", "naswot"), ("flops", "naswot")),
        ("params", "flops", "naswot"),
    ]
    for half in (0, 1):
        sizes = [len(table.halves[half].accuracy) for table in tables]
        for n in range(len(found.sets)):
            shares = found.figures[:, half, 0, n]
            assert found.criteria(half)["worst"][n] == max(shares)
            expected = np.prod([share + 1 / size for share, size in zip(shares, sizes, strict=True)]) ** (
                1 / 3
            )
            assert found.criteria(half)["geometric"][n] == pytest.approx(expected)
            assert found.criteria(half, without=1)["worst"][n] == max(shares[0], shares[2])
    for by in ("worst", "geometric"):
        values = found.criteria(0)[by][found.order(by)]
        assert (np.diff(values) >= 0).all()


@given(st.integers(0, 2**32))
def test_figures_are_those_of_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    scores = {name: rng.integers(0, 9, (2, n)).astype(float) for name in ("params", "naswot")}
    half = Half(scores, rng.integers(0, 9, n).astype(float), np.ones(n, dtype=np.int64))
    for i in range(n):
        assert half.shares[i] == pytest.approx(sum(a > half.accuracy[i] for a in half.accuracy) / n)
    values = log_rank(np.stack([scores[name].mean(0) for name in scores]))
    (tau,) = taus(half, [("params", "naswot")])
    if np.ptp(values) and np.ptp(half.accuracy):
        assert tau == pytest.approx(kendalltau(values, half.accuracy).statistic)
    else:
        assert tau == 0


class Lookup(Setup):
    """Measures by looking up: values by score, float64 [K, n], of known masks."""

    def know(self, masks: Sequence[Mask], values: dict[str, Floats]) -> None:
        self.rows = {mask.tobytes(): i for i, mask in enumerate(masks)}
        self.values = values

    def measure(
        self,
        masks: Mask,
        rows: slice = slice(None),
        *,
        scores: Sequence[Score] | None = None,
        environments: slice = slice(None),
    ) -> Floats:
        at = [self.rows[mask.tobytes()] for mask in masks]
        own = self.scores if scores is None else scores
        count = range(self.envs)[environments]
        return np.stack([self.values[score.name][k][at] for k in count for score in own])


@pytest.mark.parametrize("names", ["params+naswot", "params+flops+naswot+swap"])
def test_it_is_what_a_search_does(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The winner is that of `Contest` with the same pool and random architectures. The largest architecture,
    which a search compares too, is made the worst."""
    split = tuple(names.split("+"))
    free = [name for name in split if name in ("params", "flops")]
    winners = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        genotypes = some(seed, 200)
        masks = [SPACE.mask(genotype) for genotype in genotypes]
        largest = SPACE.mask(SPACE.parse([SPACE.operations.index("nor_conv_3x3")] * 6))
        if not any(np.array_equal(mask, largest) for mask in masks):
            masks[0] = largest
        at = next(i for i, mask in enumerate(masks) if np.array_equal(mask, largest))
        values = {name: rng.normal(size=(ENVS, 200)) for name in split}
        for name in split:
            values[name][:, at] = -9
        request = Request(
            space="nasbench201", data="gaussian", score=names, finalists=12, envs=ENVS, seed=seed
        ).settled()
        setup = Lookup(request)
        setup.know(masks, values)
        half = Half(values, np.arange(200.0), np.ones(200, dtype=np.int64))
        (won,) = play(half, [split], free, finalists=12, envs=ENVS, seed=ENVS * seed)
        ahead = np.sum([log_rank(values[name][:1]) for name in free], axis=0)
        both = players(half, ahead, {}, 12, ENVS * seed)
        random = [masks[i] for i in both.rows[both.random]]
        monkeypatch.setattr("znas.contest.pool", lambda *_, masks=masks: masks)
        monkeypatch.setattr("znas.contest.references", lambda *_, random=random: random)
        outcome = Contest(setup, Method.of(request, SPACE, setup.scores), None)()
        assert outcome.masks[0].tobytes() == masks[won].tobytes()
        winners.add(won)
    assert len(winners) > 1


def test_random_ones_are_drawn_as_the_architectures_of_a_table_are() -> None:
    """A function that a hundred architectures compute is met before one that one computes."""
    copies = np.where(np.arange(200) % 2, 100, 1)
    half = Half({"params": np.zeros((1, 200))}, np.zeros(200), copies)
    rows = [players(half, np.arange(200.0), {}, 10, seed).rows for seed in range(50)]
    assert all((row[:10] == np.arange(199, 189, -1)).all() for row in rows)
    odd = np.mean([row[10:] % 2 for row in rows])
    assert odd == pytest.approx(100 / 101, abs=0.03)


def test_a_function_is_in_the_same_half_of_every_table(tmp_path: Path) -> None:
    """Though the tables have different architectures of it, in another order."""
    known = some(8)
    truth = dict(zip(map(str, known), accuracies(8), strict=True))
    folders = []
    for name, genotypes in (("a", known), ("b", known[:150][::-1] + some(9, 100))):
        genotypes = list(dict.fromkeys(genotypes))
        values = np.array([truth.get(str(g), 60.0) + (name == "b") for g in genotypes])
        folders.append(left(tmp_path / name, genotypes, values, {"params": values}))
    a, b = read(folders, None, REQUEST)
    for half, other in ((0, 1), (1, 0)):
        own = set(a.halves[half].accuracy + 1)
        assert not own & set(b.halves[other].accuracy) - {61.0}
        assert own & set(b.halves[half].accuracy)
    again = read(folders, None, Request(space="nasbench201", finalists=10, seed=1))
    assert set(again[0].halves[0].accuracy) != set(a.halves[0].accuracy)


def test_the_command_writes_all_sets_and_goes_on(tmp_path: Path) -> None:
    """From a real correlation, whose environments are kept."""
    folders = []
    for seed in ("0", "1"):
        table = tmp_path / f"{seed}.csv"
        lines = [
            f"{g},{a}" for g, a in zip(some(int(seed), 60), accuracies(int(seed), 60).tolist(), strict=True)
        ]
        table.write_text("\n".join(["arch,accuracy", *lines]))
        folders.append(tmp_path / f"c{seed}")
        done = here(
            *("reproduce", "correlation", "--data", "gaussian", *supernet(2, 1, 8, 8), "--envs", "2", "-q"),
            *("--table", table, "--scores", "naswot,params,path_norm", "--out", folders[-1]),
        )
        assert done.returncode == 0, done.stderr
        measured = Measured.of(folders[-1])
        assert {name: len(values) for name, values in measured.scores.items()} == {
            "naswot": 2,
            "params": 2,
            "path_norm": 2,
        }
        assert not np.array_equal(*measured.scores["naswot"])
        with (folders[-1] / SCORES_FILE).open(newline="") as file:
            means = [float(line["naswot"]) for line in csv.DictReader(file)]
        assert measured.scores["naswot"].mean(0).tolist() == means
        sets(folders[-1], SPACE, largest=1, top=1, by="tau", show=1, column=None)
    out = tmp_path / "out"
    asked = ("reproduce", "choose", *folders, "--out", out, "--finalists", "8", "--seeds", "2", "-q")
    done = here(*asked, "--json")
    assert done.returncode == 0, done.stderr
    found, work = json.loads(done.stdout), (out / "choices.work").read_bytes()
    assert found.pop("choose-left-out") == json.loads((out / "choose-left-out.json").read_text())
    assert found == json.loads((out / "choose.json").read_text())
    with (out / "choose.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == found["sets"] == 6
    again = here(*asked)
    assert (out / "choices.work").read_bytes() == work
    assert "6 sets of scores on 2 tables, by worst on half A" in again.stdout
    assert "One table left out" in again.stdout
    assert here(*asked, "--by", "geometric", "--scores", "params,naswot", "--show", "1").returncode == 0
    assert json.loads((out / "choose.json").read_text())["sets"] == 2


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    def folder(name: str, seed: int, *scores: str) -> Path:
        truth = accuracies(seed, 80)
        return left(tmp_path / name, some(seed, 80), truth, dict.fromkeys(scores, truth))

    one, two = folder("one", 1, "params", "naswot"), folder("two", 2, "flops", "naswot")
    three, four = folder("three", 3, "zen"), folder("four", 1, "params", "naswot", "swap")
    old = folder("old", 4, "params")
    (old / ENVIRONMENTS_FILE).unlink()
    other = folder("other", 5, "params")
    said = json.loads((other / "correlation.json").read_text())
    (other / "correlation.json").write_text(json.dumps(said | {"space": "darts"}))
    for arguments, message in (
        ([tmp_path / "none"], "correlation.json does not exist: run znas-engine reproduce correlation"),
        ([old], f"{ENVIRONMENTS_FILE} does not exist: run"),
        ([other], "made with another space"),
        ([one, four], "are of one table, which would count twice"),
        ([one, one], "are of one table"),
        ([one, three], "the folders share no score"),
        ([one, two], "naswot all need one"),
        ([one, "--scores", "params,zen"], "'zen'"),
        ([one, "--scores", "params,params"], "names 'params' twice"),
        ([one, "--finalists", "70"], "pass --finalists"),
        ([one, "--finalists", "0"], "`finalists` must be"),
        ([one, "--envs", "0"], "`envs` must be"),
        ([one, "--most", "0"], "`most` must be"),
        ([one, "--seeds", "0"], "`seeds` must be"),
        ([one, "--by", "best"], "'best'"),
        ([one, "--show", "0"], "`show` must be"),
    ):
        line = refused(here("reproduce", "choose", *arguments, "--out", tmp_path / "out", "-q"))
        assert message in line, line
    assert not (tmp_path / "out" / "choose.json").exists()
