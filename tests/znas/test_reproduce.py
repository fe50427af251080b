"""Reproduced tables: statistics against scipy, searches that survive a kill, numbers that are looked up."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.command import supernet
from znas import priors
from znas.cli import main
from znas.files import Album
from znas.hooks import Hooks
from znas.interventions.query import Query
from znas.interventions.scorer import Answer
from znas.output import markdown
from znas.reproduce import one_shot
from znas.reproduce.correlation import Scored, correlation, score_table, scores_csv, unique_rows
from znas.reproduce.evaluation import Evaluation
from znas.reproduce.figures import SCORES_FILE
from znas.reproduce.looked_up import looked_up
from znas.reproduce.permuted import Permuted
from znas.reproduce.published import column_key, methods, published, space_of
from znas.reproduce.rows import choose, proxied, rows
from znas.reproduce.sets import sets
from znas.reproduce.sizes import sizes
from znas.reproduce.statistics import (
    EXACT_PAIRS,
    compared,
    over_environments,
    over_functions,
    paired_p,
    rank_correlations,
    summary,
)
from znas.reproduce.trained import Plan, train_rows
from znas.reproduce.trials import Trial, run_trials
from znas.request import SHIPPED, Request
from znas.result import Seconds
from znas.scoring.batches import BATCH
from znas.selection.aggregate import log_rank, mean
from znas.selection.criteria import KeepOne
from znas.selection.strategies import AllAtOnce
from znas.setup import Setup
from znas_engine.errors import DataError, InvalidValueError
from znas_engine.scores import Score, get_score
from znas_engine.spaces import Macro, SearchSpace, get_space
from znas_engine.spaces.darts import Darts
from znas_engine.spaces.nasbench201 import NasBench201, NasBench201Genotype
from znas_engine.spaces.nasbench201.genotype import OPERATIONS
from znas_engine.spaces.nasbench201.isomorphism import canonical
from znas_engine.tables import read_table

ROOT = Path(__file__).parents[2]
NB201 = NasBench201()
TINY = {"supernet_channels": 2, "supernet_cells": 1, "resolution": 8, "images": 10}
FREE = "random,most-parameters,paper-prior-p1,paper-g-prior-p1"


def tiny(**changes: Any) -> Request:
    return Request(**({"preset": "naswot"} | TINY | changes))


def scores(*names: str) -> list[Score]:
    return [get_score(name) for name in names]


@pytest.fixture(scope="session")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cells, with two made-up accuracies: one by the number of 3x3 convolutions, one constant."""
    path = tmp_path_factory.mktemp("tables") / "cells.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "arch", "cifar10_test_200ep", "other_acc"])
        for i, operations in enumerate(product(OPERATIONS, repeat=6)):
            accuracy = 50 + 7 * operations.count("nor_conv_3x3")
            writer.writerow([i, str(NasBench201Genotype(operations)), accuracy, 1.5])
    return path


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["reproduce", *arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


# --- statistics ---


@settings(max_examples=30)
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=9))
def test_intervals_are_those_of_students_t(values: list[float]) -> None:
    from scipy.stats import sem, t

    found = summary(np.array(values))
    half = t.ppf(0.975, len(values) - 1) * sem(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.low == pytest.approx(np.mean(values) - half, abs=1e-6)
    assert found.high == pytest.approx(np.mean(values) + half, abs=1e-6)


def test_one_repeat_has_no_spread() -> None:
    found = summary(np.array([3.0]))
    assert (found.n, found.mean, found.std, found.low, found.high) == (1, 3.0, None, None, None)


@settings(max_examples=30)
@given(st.lists(st.integers(-30, 30).filter(bool), min_size=3, max_size=9, unique_by=abs))
def test_the_paired_test_is_wilcoxons(differences: list[int]) -> None:
    """scipy's exact distribution, where there are neither ties nor zeros."""
    from scipy.stats import wilcoxon

    d = np.array(differences, dtype=np.float64)
    assert paired_p(d + 5, np.full(len(d), 5.0)) == pytest.approx(wilcoxon(d, method="exact").pvalue)


def test_the_paired_test_at_its_ends() -> None:
    same = np.arange(6.0)
    assert paired_p(same, same) == 1.0
    assert paired_p(same + 1, same) == 2 / 2**6
    assert paired_p(same[:2] + 1, same[:2]) == 0.5
    many = np.random.default_rng(0).normal(size=30)
    assert paired_p(many + 3, np.zeros(30)) < 0.001
    assert paired_p(np.abs(many) * np.resize([1, -1], 30), np.zeros(30)) > 0.05


def test_many_pairs_have_a_p_that_is_exact_and_never_0() -> None:
    """All of one sign: 2 / 2^n, as far as that can be computed; beyond, the smallest that the draws can give.
    Near the middle the normal distribution of W is close."""
    from scipy.stats import wilcoxon

    ones = np.arange(1.0, 60)
    assert paired_p(ones, np.zeros(59)) == pytest.approx(2 / 2**59)
    noise = np.random.default_rng(1).normal(0.2, 1, EXACT_PAIRS)
    expected = wilcoxon(noise, method="approx").pvalue
    assert 0.001 < expected < 0.2
    assert paired_p(noise, np.zeros(EXACT_PAIRS)) == pytest.approx(expected, abs=0.001)
    many = np.append(noise, 0.3)
    assert paired_p(many, np.zeros(len(many))) == pytest.approx(wilcoxon(many).pvalue, abs=0.01)
    assert paired_p(np.arange(1.0, 250), np.zeros(249)) == 1 / 10_000


def test_a_comparison_has_a_direction() -> None:
    worse, better = np.array([90.0, 91, 92, 93]), np.array([94.0, 93, 94, 93.5])
    assert compared(better, worse).difference == -compared(worse, better).difference == 2.125
    assert compared(better, worse).p == compared(worse, better).p == 0.125


def test_rank_correlations_and_their_intervals() -> None:
    """Bivariate normal at correlation 0.5: tau = 2/pi asin(0.5) = 1/3, inside an interval that 300 points
    make narrower than 0.2."""
    rng = np.random.default_rng(0)
    x, e = rng.normal(size=(2, 300))
    every = np.arange(300)

    def both(*ranked: Any) -> Any:
        return rank_correlations(ranked, over_functions(ranked, every, 1))

    kendall, spearman = both(x, 0.5 * x + np.sqrt(0.75) * e)
    assert kendall.low < 1 / 3 < kendall.high
    assert kendall.low < kendall.value < kendall.high < kendall.low + 0.2
    assert spearman.low < spearman.value < spearman.high
    perfect, _ = both(x, np.exp(x))
    assert (perfect.low, perfect.value, perfect.high) == pytest.approx((1.0, 1.0, 1.0))
    constant, _ = both(x, np.zeros(300))
    assert constant.value == 0


def test_copies_of_a_function_do_not_narrow_an_interval() -> None:
    """Each of 60 functions ten times: the interval is that of 60 and not of 600."""
    x, e = np.random.default_rng(0).normal(size=(2, 60))
    once, tenfold = (x, x + e), (np.repeat(x, 10), np.repeat(x + e, 10))
    widths = [
        found.high - found.low
        for ranked, which in (
            (once, np.arange(60)),
            (tenfold, np.repeat(np.arange(60), 10)),
            (tenfold, np.arange(600)),
        )
        for found in rank_correlations(ranked, over_functions(ranked, which, 1))[:1]
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)
    assert widths[2] < 0.5 * widths[1]


def test_intervals_over_environments_hold_what_environments_change() -> None:
    """Without noise nothing; with noise, the tau of one environment lies within what two of them span."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200)
    same = np.tile(truth, (1, 3, 1))
    noisy = same + rng.normal(size=same.shape)
    found = []
    for scores in (same, noisy):
        ranked = (scores[0].mean(0), truth)
        found.append(rank_correlations(ranked, over_environments(scores, truth, lambda m: m[0], 1))[0])
    assert (found[0].low, found[0].high) == pytest.approx((1, 1))
    assert found[1].low + 0.01 < found[1].value <= found[1].high < 1


# --- published numbers ---


def test_published_numbers_name_their_source() -> None:
    assert all(entry["source"] for entry in published()["correlation"]["scores"])
    for table in published()["tables"]:
        known = rows(get_space(space_of(table)), one_shot=Path("one-shot.json"))
        besides = [row for entry in methods(table) for row in entry["rows"]]
        assert len(set(besides)) == len(besides) > 0
        assert set(besides) <= set(known)
        for entry in methods(table):
            assert entry["source"]
            assert entry["method"]


@pytest.mark.parametrize(
    ("column", "key"),
    [
        ("cifar10_test_200ep", "cifar10-test"),
        ("CIFAR100TestAccuracy200Epochs", "cifar100-test"),
        ("imagenet16-120_val_200ep", "imagenet16-val"),
        ("cifar10_test_12ep", None),
        ("accuracy", None),
    ],
)
def test_columns_are_matched_to_published_ones(column: str, key: str | None) -> None:
    assert column_key(column) == key


# --- table 2 ---


def test_table2_looks_every_column_up(table_file: Path, tmp_path: Path) -> None:
    """Each row's accuracies are those of its architectures; the largest cell has six 3x3 convolutions."""
    chosen = choose(NB201, FREE.split(","))
    trials = run_trials(chosen, Setup(tiny()), seeds=4, work=tmp_path / "work")
    sheet = looked_up("table2", chosen, trials, read_table(table_file, NB201), tiny())
    for entry in sheet.data["rows"]:
        expected = [50 + 7 * arch.count("nor_conv_3x3") for arch in entry["architectures"]]
        found = entry["accuracy"]["cifar10_test_200ep"]
        assert found["values"] == expected
        assert found["mean"] == pytest.approx(np.mean(expected))
        assert entry["accuracy"]["other_acc"]["values"] == [1.5] * 4
        if entry["row"] == "paper-prior-p1":
            values = {e["row"]: e["accuracy"]["cifar10_test_200ep"]["values"] for e in sheet.data["rows"]}
            for name in ("random", "most-parameters"):
                known = compared(np.array(expected), np.array(values[name]))
                assert found["against"][name] == asdict(known)
                assert f"{known.difference:+.2f}, p = {known.p:.3f}" in markdown.render(sheet.document())
    (largest,) = (e for e in sheet.data["rows"] if e["row"] == "most-parameters")
    assert largest["accuracy"]["cifar10_test_200ep"]["values"] == [92.0] * 4
    page = markdown.render(sheet.document())
    assert "93.49 ± 0.71" in page
    assert "(RZ-NAS)" in page


def test_table2_refuses_a_table_without_the_cell(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text(f"arch,acc\n{NasBench201Genotype(('none',) * 6)},10.0\n")
    chosen = choose(NB201, ["most-parameters"])
    trials = run_trials(chosen, Setup(tiny()), seeds=1, work=tmp_path / "work")
    with pytest.raises(DataError, match=r"one.csv does not have the architecture \|nor_conv_3x3~0"):
        looked_up("table2", chosen, trials, read_table(path, NB201), tiny())


def test_rows_are_chosen_by_name() -> None:
    assert [row.name for row in choose(NB201, ["default", "random"])] == ["random", "default"]
    with pytest.raises(InvalidValueError, match=r"unknown row 'defualt'.*did you mean 'default'"):
        choose(NB201, ["defualt"])


@pytest.mark.ours
@pytest.mark.parametrize("space", ["nasbench201", "darts"])
def test_every_row_finds_an_architecture(space: str, test_data: Path, tmp_path: Path) -> None:
    """On the smallest supernet and real images; rows that only repeat another at length are left out."""
    skipped = {"naswot-100", "naswot-1000", "evolution", "exhaustive", "paper-g-p0.5", "paper-g-prior-p0.5"}
    skipped |= {"default", "default-permuted", "shortlist"}
    if space == "darts":
        skipped |= {"paper-p0", "paper-p0.5", "paper-prior-p0.5", "zero-cost-pt", "te-nas-like"}
    available = rows(get_space(space)).items()
    chosen = [row for name, row in available if name not in skipped and not name.endswith("default-score")]
    for row in rows(get_space(space)).values():
        row.adapt(tiny(space=space, data="cifar10", data_dir=test_data))
    given = tiny(
        space=space, data="cifar10", data_dir=test_data, supernet_cells=1 if space == "nasbench201" else 3
    )
    trials = run_trials(chosen, Setup(given), seeds=1, work=tmp_path / "work")
    for row in chosen:
        (trial,) = trials[row.name]
        free = row.name in ("random", "most-parameters", "most-flops", "prior-argmax") or row.name.endswith(
            "p1"
        )
        assert (trial.evaluations == 0) == free, row.name


def test_one_search_has_as_many_masks_as_the_random_ones() -> None:
    """`random-N-by-default-score` and `do-finalists` at the passes of the default, a shortlist of 30 that is
    halved twice beside 30 random ones and the largest."""
    count = 61 + (15 + 31) + (8 + 31)
    found = rows(NB201)
    assert f"random-{count}-by-default-score" in found
    asked = found["do-finalists"].adapt(Request(space=NB201)).settled()
    assert asked.finalists is not None
    assert count - 1 <= len(NB201.neurons()) + 2 * asked.finalists <= count


def test_permuted_worths_are_the_same_numbers_elsewhere() -> None:
    """Every row of scores moves alike, with whether it was drawn; each edge selects the best that it got."""
    masks = np.stack([NB201.do(e, o) for e, o in NB201.neurons()])
    truth = np.random.default_rng(0).normal(size=(2, len(masks)))
    place = {mask.tobytes(): i for i, mask in enumerate(masks)}

    def ask(queries: Sequence[Query]) -> list[Answer]:
        found = [place[query.mask.tobytes()] for query in queries]
        return [Answer(truth[:, i], intervened=i % 3 == 0) for i in found]

    strategy = Permuted(AllAtOnce(KeepOne()), np.random.default_rng(1))
    decision = strategy.decide(ask, NB201, mean, np.random.default_rng(2))
    values = np.concatenate([worth.values for worth in decision.worths], axis=1)
    order = [truth[0].tolist().index(value) for value in values[0]]
    assert sorted(order) == list(range(len(masks)))
    assert sum(i == k for i, k in enumerate(order)) < len(masks) // 2
    assert np.array_equal(values[1], truth[1, order])
    drawn = [flag for worth in decision.worths for flag in worth.intervened or ()]
    assert drawn == [i % 3 == 0 for i in order]
    best = [int(worth.values.mean(0).argmax()) for worth in decision.worths]
    assert decision.selected.tolist() == best


BRIEF = one_shot.Training(images=400, pixels=8, epochs=1, batch=32, batches=6, validated=100)


@pytest.mark.ours
def test_the_one_shot_prior_of_a_folder(test_data: Path, table_file: Path, tmp_path: Path) -> None:
    """Trained once; its rows draw from it and nothing else; another training is refused, another prior's
    searches are other searches; what it is worth is said by the ranks of the table."""
    from scipy.stats import kendalltau

    path, steps = tmp_path / "one-shot.json", []
    setup = Setup(tiny(data="cifar10", data_dir=test_data))
    found = one_shot.trained(setup, path, BRIEF, lambda done, total: steps.append(done))
    assert steps[-1] == 200 // 32
    written = path.read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    again = one_shot.trained(setup, path, BRIEF, lambda done, total: pytest.fail("trained again"))
    assert np.array_equal(again.mean, found.mean)
    assert path.read_bytes() == written
    with pytest.raises(
        InvalidValueError, match=r"is of another training: its seed is 0, not 1; pass another"
    ):
        one_shot.trained(Setup(tiny(data="cifar10", data_dir=test_data, seed=1)), path, BRIEF)
    assert one_shot.place(tmp_path, NB201, SHIPPED) == one_shot.place(tmp_path, NB201, str(path)) == path
    assert one_shot.place(tmp_path, NB201, str(NB201.prior)) == path  # which is of naswot

    names = ["paper-one-shot-p1", "paper-g-one-shot-p1", "one-shot-argmax"]
    chosen = choose(NB201, names, one_shot=path)
    work = tmp_path / "work"
    trials = run_trials(chosen, setup, seeds=3, work=work)
    assert {trial.evaluations for each in trials.values() for trial in each} == {0}
    best = [NB201.operations[o] for o in found.mean.argmax(1)]
    assert trials["one-shot-argmax"][0].arch == str(NasBench201Genotype(tuple(best)))
    assert len({trial.arch for trial in trials["paper-one-shot-p1"]}) > 1
    assert run_trials(chosen, setup, seeds=3, work=work) == trials
    changed = replace(found, mean=found.mean[:, ::-1])
    path.unlink()
    priors.save(changed, path)
    other = run_trials(chosen, setup, seeds=1, work=work)
    assert other["one-shot-argmax"][0].arch != trials["one-shot-argmax"][0].arch

    table = read_table(table_file, NB201)
    tau = kendalltau(found.predict(table.masks(NB201)), table.columns["cifar10_test_200ep"]).statistic
    said = one_shot.remark(found, table)
    assert f"Kendall {tau:.3f} over 15,625 architectures of table:cifar10_test_200ep" in said
    sheet = looked_up("table2", chosen, trials, table, setup.conditions(), [said])
    assert sheet.notes[-1] == said


def test_trials_are_kept_and_added_to(tmp_path: Path) -> None:
    """Finished searches are not repeated; more seeds and rows join them; another setting is another job."""
    work = tmp_path / "work"
    first = run_trials(choose(NB201, ["random"]), Setup(tiny()), seeds=2, work=work)
    more = run_trials(choose(NB201, ["random", "prior-argmax"]), Setup(tiny()), seeds=3, work=work)
    assert more["random"][:2] == first["random"]  # the seconds too: they were not measured again
    assert len(more["prior-argmax"]) == 3
    lines = work.read_text().splitlines()
    assert len(lines) == 1 + 6
    with pytest.raises(InvalidValueError, match=r"belongs to another job.*its images is 10, not 12"):
        run_trials(choose(NB201, ["random"]), Setup(tiny(images=12)), seeds=1, work=work)
    with pytest.raises(InvalidValueError, match=r"belongs to another job.*its data is .*1 channels"):
        run_trials(choose(NB201, ["random"]), Setup(tiny(channels_in=1)), seeds=1, work=work)
    with pytest.raises(InvalidValueError, match="`seeds` must be between 1 and 10,000"):
        run_trials(choose(NB201, ["random"]), Setup(tiny()), seeds=0, work=work)


@pytest.mark.ours
def test_a_killed_table_goes_on_to_the_same_result(table_file: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of the searches; the second run ends with what an undisturbed one finds."""
    arguments = [
        *(sys.executable, "-m", "znas", "reproduce", "table2", "--data", "gaussian", "--seeds", "3", "-q"),
        *("--rows", "random,naswot-p0.5,naswot-10", *supernet(2, 1, 8)),
        *("--images", "10", "--table", str(table_file), "--out"),
    ]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with subprocess.Popen([*arguments, str(killed)], stdout=subprocess.DEVNULL) as process:
        work = killed / "searches.work"
        while process.poll() is None and not (work.is_file() and work.read_bytes().count(b"\n") >= 3):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "table2.json").exists()
    recorded = work.read_bytes()
    for folder in (killed, whole):
        subprocess.run([*arguments, str(folder)], check=True, stdout=subprocess.DEVNULL)
    assert work.read_bytes().startswith(recorded[: recorded.rfind(b"\n") + 1])
    found = [
        {row["row"]: row["architectures"] for row in json.loads((f / "table2.json").read_text())["rows"]}
        for f in (killed, whole)
    ]
    assert found[0] == found[1]
    assert len(found[0]["naswot-p0.5"]) == 3


# --- correlation ---


def test_scores_are_those_of_the_observer_and_are_kept(table_file: Path, tmp_path: Path) -> None:
    """A seeded sample in batches; a second run measures nothing, another score joins the same file."""
    table = read_table(table_file, NB201)
    given = tiny(seed=3)
    work = tmp_path / "work"
    count = BATCH + 6
    first = score_table(table, scores("naswot"), given, architectures=count, work=work)
    again = score_table(table, scores("naswot", "params"), given, architectures=count, work=work)
    assert np.array_equal(first.scores["naswot"], again.scores["naswot"])
    assert first.seconds["naswot"] == again.seconds["naswot"]
    assert len(work.read_text().splitlines()) == 1 + 2 * 2
    setup = Setup(given)
    macro = setup.macro
    masks = np.stack([NB201.mask(genotype) for genotype in again.genotypes])
    first_of: dict[Any, int] = {}
    for i, genotype in enumerate(again.genotypes):
        first_of.setdefault(canonical(genotype), i)  # type: ignore[arg-type]
    measured = setup.measure(masks[list(first_of.values())])[0]
    for function, value in zip(first_of, measured, strict=True):
        same = [i for i, g in enumerate(again.genotypes) if canonical(g) == function]  # type: ignore[arg-type]
        assert (again.scores["naswot"][0, same] == value).all()
    assert again.measured == {"naswot": len(first_of), "params": count}
    for genotype, params in zip(again.genotypes, again.scores["params"][0], strict=True):
        assert NB201.network(genotype, macro).parameters == params
    with pytest.raises(InvalidValueError, match=r"belongs to another job.*its seed is 3, not 4"):
        score_table(table, scores("naswot"), tiny(seed=4), architectures=count, work=work)
    with pytest.raises(InvalidValueError, match="between 2 and the 15,625"):
        score_table(table, scores("naswot"), given, architectures=1, work=work)


@pytest.mark.ours
def test_correlation_of_sets_and_protocols(table_file: Path, tmp_path: Path) -> None:
    """Against scipy on the written numbers; unique is the first cell of every function."""
    from scipy.stats import kendalltau

    table = read_table(table_file, NB201)
    scored = score_table(table, scores("params", "flops"), tiny(), architectures=200, work=tmp_path / "work")
    sheet = correlation(scored, ["params", "params+flops"], table, proxied(tiny()))
    first = {}
    for i, genotype in enumerate(scored.genotypes):
        first.setdefault(canonical(genotype), i)  # type: ignore[arg-type]
    kept = {"all": list(range(200)), "unique": sorted(first.values())}
    assert unique_rows(NB201, scored.genotypes) == kept["unique"]
    for entry in sheet.data["rows"]:
        at = kept[entry["protocol"]]
        values = log_rank(np.stack([scored.scores[name][0, at] for name in entry["score"].split("+")]))
        truth = scored.accuracies[entry["column"]][at]
        expected = kendalltau(values, truth).statistic if np.ptp(truth) else 0.0
        assert entry["kendall"]["value"] == pytest.approx(expected)
        assert entry["architectures"] == len(at)
        assert entry["interval"] == "functions"
        reported = entry["published_kendall"]
        assert (reported == 0.576) == (
            (entry["score"], entry["protocol"], entry["column"]) == ("params", "all", "cifar10_test_200ep")
        )


def test_intervals_of_a_whole_space_are_of_environments(
    table_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of two environments, the second of which ranks backwards, made up for every cell."""
    monkeypatch.setattr("znas.reproduce.statistics.RESAMPLES", 15)
    table = read_table(table_file, NB201)
    truth = table.columns["cifar10_test_200ep"]
    values = np.stack([truth, -2 * truth])
    accuracies = {"cifar10_test_200ep": truth}
    scored = Scored(list(table.genotypes), {"swap": values}, accuracies, {"swap": 1}, {"swap": 1.0})
    sheet = correlation(scored, ["swap"], table, proxied(tiny(envs=2)))
    assert sheet.headings[3] == "Kendall tau [environments]"
    assert "of which nothing was sampled" in sheet.notes[0]
    for entry in sheet.data["rows"]:
        assert entry["interval"] == "environments"
        assert entry["kendall"] == {
            "value": pytest.approx(-1),
            "low": pytest.approx(-1),
            "high": pytest.approx(1),
        }
    once = replace(scored, scores={"swap": values[:1]})
    assert "this is no sampling error" in correlation(once, ["swap"], table, proxied(tiny())).notes[0]
    part = scored.subset(range(500))
    assert (
        correlation(part, ["swap"], table, proxied(tiny(envs=2))).data["rows"][0]["interval"] == "functions"
    )


def test_sets_are_every_combination_by_its_ranking_and_its_winners(table_file: Path, tmp_path: Path) -> None:
    """Against plain loops: every set's tau and the mean of the cells that it puts first."""
    from scipy.stats import kendalltau

    table = read_table(table_file, NB201)
    rng = np.random.default_rng(3)
    rows = rng.permutation(len(table.genotypes))[:300]
    first: dict[Any, int] = {}
    for i in rows:
        first.setdefault(canonical(table.genotypes[i]), int(i))  # type: ignore[arg-type]
    truth = {i: float(table.columns["cifar10_test_200ep"][i] + rng.random()) for i in rows.tolist()}
    measured = {
        name: dict(zip(rows.tolist(), rng.random(300), strict=True)) for name in ("swap", "zen", "flops")
    }
    measured["zen"] = {i: truth[i] for i in rows.tolist()}
    lines = ["arch,swap,zen,flops,measured_accuracy"]
    for i in rows.tolist():
        values = [repr(float(measured[name][i])) for name in measured]
        lines.append(",".join([str(table.genotypes[i]), *values, repr(truth[i])]))
    (tmp_path / "correlation-scores.csv").write_text("\n".join(lines))

    sheet = sets(tmp_path, NB201, largest=2, top=7, by="top", show=4, column=None)
    kept = list(first.values())
    expected = {}
    for names in (("swap",), ("zen",), ("flops",), ("swap", "zen"), ("swap", "flops"), ("zen", "flops")):
        total = {
            i: sum(
                math.log(sum(measured[name][j] <= measured[name][i] for j in kept) / len(kept))
                for name in names
            )
            for i in kept
        }
        best = sorted(kept, key=lambda i: -total[i])[:7]
        tau = kendalltau([total[i] for i in kept], [truth[i] for i in kept]).statistic
        expected["+".join(names)] = (tau, sum(truth[i] for i in best) / 7)
    found = {row["scores"]: (row["tau"], row["top"]) for row in sheet.data["rows"]}
    assert found.keys() == expected.keys()
    for name, numbers in expected.items():
        assert found[name] == pytest.approx(numbers)
    assert sheet.data["rows"][0]["scores"] == "zen"  # the accuracy itself
    assert [row["top"] for row in sheet.data["rows"]] == sorted(
        (t for _, t in expected.values()), reverse=True
    )
    assert len(sheet.cells) == 4
    usual = sets(tmp_path, NB201, largest=1, top=None, by="tau", show=1, column=None)
    assert usual.data["top"] == 10


@pytest.mark.ours
def test_a_score_of_ones_own_is_no_accuracy_of_the_sets(table_file: Path, tmp_path: Path) -> None:
    """Whatever it is called: which columns are scores, the correlation says."""
    request = proxied(tiny())
    table = read_table(table_file, NB201)
    for name in ("spread", "accuracy_like", "val"):
        mine = type("Mine", (type(get_score("naswot")),), {"name": name})()
        out = tmp_path / name
        scored = score_table(
            table, [get_score("params"), mine], request, architectures=12, work=tmp_path / f"{name}.work"
        )
        sheet = correlation(scored, ["params", name], table, request)
        album = Album(out)
        album.write(SCORES_FILE, scores_csv(scored).encode())
        sheet.save(album, "correlation", None)
        found = sets(out, NB201, largest=2, top=3, by="tau", show=4, column=None)
        assert found.data["column"] == table.column(None)[0]
        assert {row["scores"] for row in found.data["rows"]} == {"params", name, f"params+{name}"}
    (out / SCORES_FILE).write_text((out / SCORES_FILE).read_text().replace("val", "other"))
    with pytest.raises(DataError, match="are of two runs"):
        sets(out, NB201, largest=2, top=3, by="tau", show=4, column=None)


def test_sets_of_few_architectures_and_of_another_space(tmp_path: Path) -> None:
    cells = [str(NB201.parse([o] * 6)) for o in range(1, 5)]
    lines = [f"{cell},{i},{i}" for i, cell in enumerate(cells)]
    (tmp_path / "correlation-scores.csv").write_text("\n".join(["arch,flops,test", *lines]))

    def first_of(space: SearchSpace[Any], top: int | None) -> int:
        found = sets(tmp_path, space, largest=None, top=top, by="tau", show=1, column=None)
        return int(found.data["top"])

    assert first_of(NB201, None) == 4
    with pytest.raises(InvalidValueError, match=r"^--top must be between 1 and 4 but got 5$"):
        first_of(NB201, 5)
    with pytest.raises(DataError, match=r"was it made with another space than darts\? pass --space$"):
        first_of(get_space("darts"), None)


def test_published_correlations_stand_beside_their_own_space_only(tmp_path: Path) -> None:
    space = Darts()
    rng = np.random.default_rng(0)
    lines = [f'"{space.genotype(space.random_path(rng))}",{accuracy}' for accuracy in (90, 91, 92)]
    path = tmp_path / "darts.csv"
    path.write_text("\n".join(["arch,cifar10_test_200ep", *lines]))
    given = proxied(tiny(space="darts", supernet_cells=3))
    scored = score_table(
        read_table(path, space), scores("params"), given, architectures=None, work=tmp_path / "work"
    )
    (entry,) = correlation(scored, ["params"], read_table(path, space), given).data["rows"]
    assert entry["published_kendall"] is None


def test_parameters_rank_the_real_table_as_published(test_data: Path, tmp_path: Path) -> None:
    """Kendall's tau of the parameter count, 0.576 over all cells, lies in the interval of 1,000 cells."""
    table = read_table(test_data / "nasbench201" / "cifar10.csv", NB201)
    scored = score_table(table, scores("params"), tiny(), architectures=1000, work=tmp_path / "work")
    ranked = scored.scores["params"][0], next(iter(scored.accuracies.values()))
    kendall, _ = rank_correlations(ranked, over_functions(ranked, np.arange(1000), 0))
    assert kendall.low < 0.576 < kendall.high


# --- the command ---


def test_commands_write_every_format(
    table_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [*("--data", "gaussian", *supernet(2, 1, 8, 8))]
    out = tmp_path / "out"
    code, text, _ = command(
        capsys,
        *("table2", "--rows", "random,paper-p1", "--seeds", "2", "--table", str(table_file)),
        *("--data", "gaussian", "--out", str(out), "-q"),
    )
    assert code == 2  # the paper's score needs labels
    assert not text
    code, text, _ = command(
        capsys,
        *("table2", "--rows", "random,naswot-p0.5", "--seeds", "2", "--table", str(table_file), "--json"),
        *(*small, "--out", str(out), "-q"),
    )
    assert code == 0
    assert json.loads(text) == json.loads((out / "table2.json").read_text())
    code, text, _ = command(
        capsys,
        *("correlation", "--scores", "params,naswot,params+naswot", "--architectures", "40"),
        *("--table", str(table_file), *small, "--out", str(out), "-q"),
    )
    assert code == 0
    assert "params+naswot" in text
    code, text, _ = command(capsys, "figures", "--out", str(out))
    assert code == 0
    written = {path.name for path in out.iterdir()}
    for name in ("table2", "correlation"):
        assert {f"{name}.{suffix}" for suffix in ("md", "html", "csv", "json", "png")} <= written
    assert {"figure-cost.png", "figure-scatter.png"} <= written
    code, text, _ = command(
        capsys, "sets", "--out", str(out), "--by", "top", "--column", "other_acc", "--json"
    )
    assert code == 0
    assert json.loads(text) == json.loads((out / "sets.json").read_text())
    for wrong, message in ((["--largest", "3"], "between 1 and 2"), (["--by", "rho"], "'rho'")):
        code, _, err = command(capsys, "sets", "--out", str(out), "--largest", "2", *wrong)
        assert code == 2
        assert message in err
    for path in out.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    with (out / "correlation-scores.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 40
    assert set(lines[0]) == {"arch", "params", "naswot", "cifar10_test_200ep", "other_acc"}
    with (out / "table2.csv").open(newline="") as file:
        assert {line["row"] for line in csv.DictReader(file)} == {"random", "naswot-p0.5"}


def test_a_prior_of_accuracy_is_the_one_shot_prior(
    table_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--prior FILE` instead of a training; how it ranks stands beside the rows."""
    assert NB201.prior is not None
    path = tmp_path / "accuracy.json"
    priors.save(replace(priors.load(NB201.prior), score="accuracy", check=None), path)
    out = tmp_path / "out"
    code, text, _ = command(
        capsys,
        *("table2", "--rows", "one-shot-argmax", "--prior", str(path), "--seeds", "1", "--data", "gaussian"),
        *("--table", str(table_file), *supernet(2, 1, 8), "--out", str(out), "-q", "--json"),
    )
    assert code == 0
    found = json.loads(text)
    assert "over 15,625 architectures of table:cifar10_test_200ep, better than chance" in found["notes"][-1]
    best = [NB201.operations[o] for o in priors.load(path).mean.argmax(1)]
    assert found["rows"][0]["architectures"] == [str(NasBench201Genotype(tuple(best)))]
    assert not (out / "one-shot.json").exists()


@pytest.mark.ours
def test_darts_tables_name_what_is_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes are those of the genotypes as they are trained; test errors are named, never given."""
    out = tmp_path / "out"
    for table, epochs, macro in (
        ("table1", 600, Darts().evaluation_macro(resolution=32, classes=10)),
        ("table3", 250, Darts().evaluation_macro(resolution=224, classes=1000)),
    ):
        code, text, _ = command(
            capsys,
            *(table, "--rows", "random,most-parameters", "--seeds", "2", "--data", "gaussian"),
            *("--out", str(out), "-q", "--json"),
        )
        assert code == 0
        found = json.loads(text)
        assert found["test_error"] == f"needs {epochs} epochs of training: not measured"
        assert found["published"][0]["error"][0] > 2
        for row in found["rows"]:
            networks = [Darts().network(Darts().parse(arch), macro) for arch in row["architectures"]]
            assert row["params"]["mean"] == pytest.approx(np.mean([n.parameters for n in networks]))
            assert row["flops"]["mean"] == pytest.approx(np.mean([n.flops for n in networks]))
        for suffix in ("md", "html", "csv", "json", "png"):
            assert (out / f"{table}.{suffix}").is_file()
        assert "not measured" in (out / f"{table}.md").read_text()


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], table_file: Path) -> None:
    place = ["--out", str(tmp_path / "a")]
    for arguments, message in (
        (["figures"], "holds no accuracies to draw"),
        (["sets"], "correlation-scores.csv does not exist"),
        (["table2", "--rows", "naswot-11", "--data", "gaussian"], "unknown row"),
        (["table2"], "`data_dir` is required for cifar10"),
        (["table2", "--data", "gaussian", "--rows", "paper-p0"], "needs labels"),
        (["table2", "--data", "gaussian", "--rows", "one-shot-argmax"], "needs labels"),
        (
            ["correlation", "--table", str(table_file), "--scores", "nope", "--data", "gaussian"],
            "score 'nope'",
        ),
    ):
        code, out, err = command(capsys, *arguments, *place)
        assert code == 2
        assert not out
        assert message in err
        assert err.strip().count("\n") == 0
    assert not (tmp_path / "a" / "table2.json").exists()
    assert not (tmp_path / "a" / "searches.work").exists()


def test_importing_the_command_loads_nothing_heavy() -> None:
    program = "import sys, znas.cli; print([m for m in ('torch', 'scipy', 'matplotlib') if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert found.stdout.strip() == "[]"


class Small(Darts):
    """DARTS, trained at a size that takes seconds."""

    def evaluation_macro(self, *, resolution: int, classes: int) -> Macro:
        macro = super().evaluation_macro(resolution=resolution, classes=classes)
        return replace(macro, channels=2, cells=3)


@pytest.mark.ours  # nor are its packages among the oldest
def test_rows_are_trained_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained is not trained again; the table holds its errors, and says of how many epochs."""
    pictures = ROOT / "examples" / "five-classes"
    evaluation = replace(Evaluation.of("table1"), space=f"{__name__}:Small")
    rng = np.random.default_rng(0)
    spent = Seconds(1.0, 0.1, 0.8, 0.1)
    archs = [str(Darts().genotype(Darts().random_path(rng))) for _ in range(2)]
    trials = {"random": [Trial(seed, arch, 3, spent, "cpu") for seed, arch in enumerate(archs)]}
    request = Request(space=evaluation.space, data="imagefolder", data_dir=pictures, threads=1)
    said: list[str] = []
    hooks = Hooks(report=said.append)
    plan = Plan(2, epochs=1)
    drawn = replace(request, data="gaussian", data_dir=None)
    with pytest.raises(InvalidValueError, match="have no labels to learn"):
        train_rows(evaluation, trials, drawn, plan, tmp_path, hooks)
    said.clear()
    found = train_rows(evaluation, trials, request, plan, tmp_path / "trained", hooks)
    assert "to train: 2 networks for 1 epochs of 300 images" in said[0]
    assert [each.arch for each in found["random"]] == archs
    assert {(each.epochs, each.images, each.learned) for each in found["random"]} == {(1, 100, 300)}
    kept = {path: path.read_bytes() for path in tmp_path.rglob("weights.safetensors")}
    assert train_rows(evaluation, trials, request, plan, tmp_path / "trained", hooks) == found
    assert "to train: 0 networks" in said[-1]
    assert {path: path.read_bytes() for path in tmp_path.rglob("weights.safetensors")} == kept
    with pytest.raises(DataError, match="another architecture, recipe or number of epochs"):
        train_rows(evaluation, trials, request, Plan(1, epochs=2), tmp_path / "trained", hooks)
    chosen = choose(Darts(), ["random"], SHIPPED)
    sheet = sizes(evaluation, chosen, trials, Setup(tiny(data="gaussian")).conditions(), found)
    errors = [100 - 100 * each.accuracy for each in found["random"]]
    assert f"{np.mean(errors):.2f} ± {np.std(errors, ddof=1):.2f}" in sheet.cells[0][1]
    assert "after 1 epochs by the recipe darts-cifar on 300 images" in sheet.notes[0]
    assert sheet.records[0]["test_error"] == pytest.approx(np.mean(errors))


def test_training_is_asked_for_as_it_is_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["table1", "--data", "gaussian", "--seeds", "1", "--out", str(tmp_path / "a")]
    for more, message in (
        (["--train", "2"], "`train` must be between 0 and 1"),
        (["--train-epochs", "3"], "pass --train N too"),
        (["--train", "1", "--train-epochs", "0"], "`train_epochs` must be"),
    ):
        code, out, err = command(capsys, *place, *more)
        assert (code, out) == (2, "")
        assert message in err
