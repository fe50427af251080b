from __future__ import annotations

import contextlib
import copy
import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import znas
from tests.command import Done, here, supernet
from tests.conftest import SPACES, small
from znas import priors
from znas.interventions.knowledge import FromPrior, Observed
from znas.interventions.query import coalition, drop, together
from znas.output import markdown
from znas.priors.check import checked, rank_check
from znas.priors.random import fit_random
from znas.priors.table import fit_table
from znas_engine.backends import get_backend
from znas_engine.data import load
from znas_engine.errors import DataError, InvalidValueError, StorageError
from znas_engine.scores import get_score
from znas_engine.spaces import get_space
from znas_engine.tables import read_table

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]
SIZE = {"supernet_channels": 4, "supernet_cells": 1, "resolution": 16, "images": 8}


def make(space: Any = NB201, seed: int = 0, passed: bool = True, **changes: Any) -> priors.Prior:
    """A valid prior with random numbers."""
    rng = np.random.default_rng(seed)
    mean, variance = rng.normal(700, 20, space.shape), rng.uniform(1, 9, space.shape)
    mean[~space.candidates] = variance[~space.candidates] = np.nan
    facts: dict[str, Any] = {"truth": "table:x", "architectures": 50, "kendall": 0.4, "p_value": 1e-5}
    facts["spearman"] = 0.5 if passed else -0.5
    fields = {
        "space": space,
        "score": "naswot",
        "mean": mean,
        "variance": variance,
        "drop_mean": None,
        "drop_variance": None,
        "provenance": {"source": "random"},
        "check": facts | {"passed": passed},
    }
    return priors.Prior(**(fields | changes))


def random_masks(space: Any, count: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return np.eye(5, dtype=np.float32)[rng.integers(0, 5, (count, 6))]


# --- the file ---


@pytest.mark.parametrize("space", [NB201, DARTS], ids=["nasbench201", "darts"])
def test_a_prior_survives_its_file(space: Any, tmp_path: Path) -> None:
    drops = np.where(np.arange(len(space.edges)) % 2, 3.5, np.nan)
    prior = make(space, drop_mean=drops, drop_variance=drops)
    priors.save(prior, tmp_path / "deep" / "prior.json")
    assert priors.load(tmp_path / "deep" / "prior.json").to_dict() == prior.to_dict()


CHECK = {
    "truth": "table:t",
    "architectures": 100,
    "spearman": 0.5,
    "kendall": 0.4,
    "p_value": 1e-6,
    "passed": True,
}
MUTATIONS: list[tuple[str, Any]] = [
    ("format", "other"),
    ("version", 2),
    ("version", True),
    ("space", "nasbench101"),
    ("space", ["nasbench201"]),
    ("score", "zenn"),
    ("edges", []),
    ("operations", ["none"]),
    ("mean", None),
    ("mean", [1, 2]),
    ("mean", [[1.0] * 5] * 5),
    ("mean", [[1.0] * 4 + [None]] * 6),
    ("mean", [[1.0] * 4 + ["2"]] * 6),
    ("mean", [[1.0] * 4 + [True]] * 6),
    ("mean", [[1.0] * 4 + [1e200]] * 6),
    ("color", 3),
    ("check", {**CHECK, "passed": False}),
    ("check", {**CHECK, "spearman": -0.5}),
    ("check", {**CHECK, "p_value": 0.5}),
    ("check", {**CHECK, "p_value": 2}),
    ("check", {**CHECK, "truth": "\x1b[31mred"}),
    ("check", {**CHECK, "architectures": 10**30}),
    ("variance", [[1.0] * 4 + [0.0]] * 6),
    ("variance", [[1.0] * 4 + [-1.0]] * 6),
    ("drop_mean", [1.0]),
    ("drop_variance", {"a": 1}),
    ("provenance", None),
    ("check", {"spearman": 0.5}),
    ("check", []),
]


@pytest.mark.parametrize(("field", "value"), MUTATIONS)
def test_every_field_is_validated(field: str, value: Any, tmp_path: Path) -> None:
    data = make(drop_mean=np.ones(6), drop_variance=np.ones(6)).to_dict() | {field: value}
    (tmp_path / "p.json").write_text(json.dumps(data))
    with pytest.raises(
        InvalidValueError, match=rf"prior .*p.json: `{field}(\.passed)?` must be |is not JSON"
    ) as error:
        priors.load(tmp_path / "p.json")
    assert "\n" not in str(error.value)


def test_a_zero_variance_names_its_entry(tmp_path: Path) -> None:
    data = make().to_dict()
    data["variance"][2][3] = 0.0
    (tmp_path / "p.json").write_text(json.dumps(data))
    with pytest.raises(InvalidValueError, match=r"`variance` must be above 0, but at \[2, 3\] it is 0"):
        priors.load(tmp_path / "p.json")


@given(data=st.data())
def test_any_mutated_file_is_valid_or_a_clear_error(data: st.DataObject, tmp_path_factory: Any) -> None:
    content = copy.deepcopy(make().to_dict())
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    )
    content[data.draw(st.sampled_from(sorted(content)))] = data.draw(junk)
    path = tmp_path_factory.getbasetemp() / "mutated.json"
    path.write_text(json.dumps(content))
    with contextlib.suppress(InvalidValueError):
        loaded = priors.load(path)
        assert np.isfinite(loaded.mean).all()
        assert (loaded.variance > 0).all()


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        priors.load(tmp_path / "absent.json")
    (tmp_path / "p.json").write_text("{")
    with pytest.raises(InvalidValueError, match="is not JSON"):
        priors.load(tmp_path / "p.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        priors.save(make(), tmp_path / "file" / "p.json")


@pytest.mark.parametrize("name", SPACES)
def test_what_ships_is_valid_checked_and_free_of_table_accuracies(name: str) -> None:
    path = get_space(name).prior
    if path is None:
        pytest.skip(f"no prior is shipped for {name}")
    prior = priors.load(path)
    priors.require(prior, force=False)
    assert prior.space.name == name
    assert prior.provenance["source"] == "random"


# --- the check ---


def test_a_prior_that_knows_the_truth_passes_and_its_opposite_does_not() -> None:
    prior = make()
    masks = random_masks(NB201, 200)
    truth = prior.predict(masks)
    good = rank_check(prior, masks, truth, truth="table:t")
    assert (good.spearman, good.kendall, good.passed) == (pytest.approx(1), pytest.approx(1), True)
    backwards = rank_check(prior, masks, -truth, truth="table:t")
    assert not backwards.passed
    assert backwards.spearman == pytest.approx(-1)
    flat = rank_check(make(mean=np.ones((6, 5))), masks, truth, truth="table:t")
    assert not flat.passed


def test_chance_passes_at_the_level_of_the_test() -> None:
    """500 checks of unrelated numbers at level 0.01: more than 17 passes have probability below 1e-5."""
    rng = np.random.default_rng(1)
    masks = random_masks(NB201, 60)
    prior = make()
    passes = sum(rank_check(prior, masks, rng.normal(size=60), truth="table:t").passed for _ in range(500))
    assert passes <= 17


def test_prediction_is_the_mean_over_neurons() -> None:
    prior = make()
    masks = random_masks(NB201, 5)
    for mask, value in zip(masks, prior.predict(masks), strict=True):
        assert value == pytest.approx(np.mean([prior.mean[e, mask[e].argmax()] for e in range(6)]))


def test_unfit_priors_are_refused_unless_forced() -> None:
    priors.require(make(), force=False)
    failed = checked(
        make(),
        rank_check(make(), random_masks(NB201, 20), -make().predict(random_masks(NB201, 20)), truth="t"),
    )
    with pytest.raises(InvalidValueError, match=r"no better than chance \(Spearman -1.00 over 20 arch"):
        priors.require(failed, force=False)
    with pytest.raises(InvalidValueError, match="never checked on held-out"):
        priors.require(make(check=None), force=False)
    priors.require(failed, force=True)
    with pytest.raises(InvalidValueError, match="at least 10 held-out"):
        rank_check(make(), random_masks(NB201, 9), np.arange(9.0), truth="t")


# --- the sources ---


def write_table(path: Path, count: int, accuracy: Any, seed: int = 3) -> Path:
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "arch", "test", "other"])
        for i, number in enumerate(rng.choice(5**6, count, replace=False)):
            operations = number // 5 ** np.arange(6) % 5
            genotype = NB201.genotype(np.eye(5, dtype=np.float32)[operations])
            writer.writerow([i, genotype, accuracy(genotype, rng), 1])
    return path


def test_table_priors_are_means_and_variances_over_architectures(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", 300, lambda g, rng: rng.uniform(10, 95))
    table = read_table(path, NB201)
    name, accuracies = table.column(None)
    assert name == "test"
    prior = fit_table(NB201, table.masks(NB201), accuracies, provenance={})
    for e, o in np.ndindex(6, 5):
        having = [
            a / 100
            for g, a in zip(table.genotypes, accuracies, strict=True)
            if g.operations[e] == NB201.operations[o]  # type: ignore[attr-defined]
        ]
        assert prior.mean[e, o] == pytest.approx(np.mean(having))
        assert prior.variance[e, o] == pytest.approx(np.var(having, ddof=1))


def test_tables_without_what_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for text, message in (
        ("", "no rows"),
        ("a,b\n1,2\n", "no text column"),
        ("arch,acc\n|x~0|,1\n", "unknown NAS-Bench-201 operation"),
        ("arch\n" + str(NB201.genotype(random_masks(NB201, 1)[0])) + "\n", "no numeric column"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_table(path, NB201)
    cells = [str(NB201.genotype(mask)) for mask in random_masks(NB201, 3)]
    path.write_text("\n".join(f"{cell},{k}" for k, cell in enumerate(cells)))
    with pytest.raises(DataError, match="has no header but begins with"):
        read_table(path, NB201)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "absent.csv", NB201)
    table = read_table(write_table(path, 3, lambda g, rng: 50), NB201)
    with pytest.raises(InvalidValueError, match="did you mean 'other'"):
        table.column("others")
    with pytest.raises(InvalidValueError, match="at least 2 are needed"):
        fit_table(NB201, table.masks(NB201), table.column("test")[1], provenance={})


def fit(work: Path, space: Any = NB201, environments: int = 3) -> priors.Prior:
    return fit_random(
        get_backend("native")(space, small(space)),
        load("gaussian", resolution=16),
        score=get_score("naswot"),
        environments=environments,
        images=6,
        init="gaussian",
        seed=4,
        provenance={},
        work=work,
    )


@pytest.mark.parametrize("space", [NB201, DARTS], ids=["nasbench201", "darts"])
def test_random_priors_are_moments_over_environments(space: Any, tmp_path: Path) -> None:
    prior = fit(tmp_path / "work", space)
    from znas_engine.environment import draw_environments

    environments = draw_environments(
        load("gaussian", resolution=16), count=3, images=6, init="gaussian", seed=4
    )
    o = len(space.operations) - 1
    masks = np.stack([space.do(3, o), space.drop(len(space.edges) - 1)])
    values = (
        get_backend("native")(space, small(space))
        .evaluate(masks, score=get_score("naswot"), environments=environments)
        .values
    )
    assert prior.mean[3, o] == pytest.approx(values[:, 0].mean())
    assert prior.variance[3, o] == pytest.approx(values[:, 0].var(ddof=1))
    if space is DARTS:
        assert prior.drop_mean is not None
        assert prior.drop_mean[-1] == pytest.approx(values[:, 1].mean())
        assert np.isnan(prior.mean[:, 0]).all()
        assert np.isnan(prior.drop_mean[:2]).all()
    else:
        assert prior.drop_mean is None


def test_a_work_file_continues_and_belongs_to_one_fit(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole")
    fit(tmp_path / "part", environments=2)
    assert fit(tmp_path / "part").to_dict() == whole.to_dict()
    with pytest.raises(InvalidValueError, match=r"belongs to another job.*space is"):
        fit(tmp_path / "part", DARTS)
    with pytest.raises(InvalidValueError, match="`envs` must be at least 2"):
        fit(tmp_path / "one", environments=1)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "znas", "prior", *map(str, arguments)]


@pytest.mark.ours
def test_a_killed_fit_resumes_to_the_same_prior(tmp_path: Path) -> None:
    size = [*supernet(8, 2, 16, 16), "--envs", "15", "-q"]
    whole, broken = tmp_path / "whole.json", tmp_path / "broken.json"
    work = tmp_path / "broken.json.work"
    process = subprocess.Popen(command("fit", "--out", broken, *size))
    while not (work.exists() and work.read_bytes().count(b"\n") > 1):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not broken.exists()
    assert 1 < work.read_bytes().count(b"\n") < 16
    for out in (broken, whole):
        subprocess.run(command("fit", "--out", out, *size), check=True, capture_output=True)
    assert broken.read_bytes() == whole.read_bytes()
    assert not work.exists()


# --- in a search ---


def test_beliefs_come_from_the_prior_as_it_is_or_aligned() -> None:
    prior = make(drop_mean=np.arange(6.0), drop_variance=np.full(6, 2.0))
    base = NB201.mixture()
    queries = [
        coalition(base, 1, [3]),
        coalition(base, 2, [0, 4]),
        drop(base, [5]),
        together(base, [(0, 1), (4, 2)]),
    ]
    raw = FromPrior(prior, aligned=False).belief(queries, Observed.nothing(2))
    expected = [
        prior.mean[1, 3],
        prior.mean[2, [0, 4]].mean(),
        5.0,
        (prior.mean[0, 1] + prior.mean[4, 2]) / 2,
    ]
    assert raw.mean.tolist() == [pytest.approx(expected)] * 2
    every = [coalition(base, e, [o]) for e in range(6) for o in range(5)]
    observed = np.random.default_rng(1).normal(-3, 0.01, (1, 50))
    aligned = FromPrior(prior, aligned=True).belief(every, Observed(every + every[:20], observed))
    assert aligned.mean.mean() == pytest.approx(observed.mean(), abs=1e-9)
    total = aligned.mean.var() + aligned.variance.mean()
    assert total == pytest.approx(observed.var(ddof=1), rel=1e-6)
    assert (aligned.mean[0].argsort() == prior.mean.ravel().argsort()).all()


def test_at_p_one_a_sharp_prior_decides_everything(tmp_path: Path) -> None:
    prior = make(variance=np.full((6, 5), 1e-12))
    priors.save(prior, tmp_path / "p.json")
    result = znas.search(preset="naswot", prior=tmp_path / "p.json", p=1, **SIZE)
    best = [NB201.operations[o] for o in prior.mean.argmax(1)]
    repaired = any("disconnected" in note for note in result.notes)
    assert repaired or [edge.selected for edge in result.edges] == best
    assert result.evaluations == 0


def test_p_auto_reports_proposition_1(tmp_path: Path) -> None:
    given: dict[str, Any] = {"preset": "naswot", "p": "auto", "prior_scale": "raw", "envs": 2, **SIZE}
    priors.save(make(), tmp_path / "p.json")
    result = znas.search(prior=tmp_path / "p.json", **given)
    assert result.auto is not None
    assert result.p == result.auto.p
    assert 0 <= result.auto.p <= 1
    assert result.auto.pilot == 8
    assert result.evaluations >= 2 * 8
    assert result.to_dict()["method"]["auto"]["estimate"] == result.auto.estimate
    assert f"observed, {result.auto.mu_true:.4g} ± " in markdown.render(result.document())
    same = make(mean=np.full((6, 5), result.auto.mu_observed))
    priors.save(same, tmp_path / "same.json")
    with pytest.raises(InvalidValueError, match="observed and the interventional mean are equal"):
        znas.search(prior=tmp_path / "same.json", **given)


def test_p_auto_needs_a_raw_prior_and_noise_to_measure() -> None:
    """A prior that is moved to what was observed has its mean: Proposition 1 divides by nothing."""
    given: dict[str, Any] = {"preset": "naswot", "p": "auto", "prior": "shipped", **SIZE}
    with pytest.raises(InvalidValueError, match="got --prior-scale aligned: pass --prior-scale raw"):
        znas.search(envs=2, **given)
    with pytest.raises(InvalidValueError, match=r"at least 2 environments.*pass --envs 2"):
        znas.search(prior_scale="raw", **given)


def test_priors_that_do_not_fit_the_search(tmp_path: Path) -> None:
    priors.save(make(DARTS), tmp_path / "darts.json")
    priors.save(make(score="accuracy"), tmp_path / "accuracy.json")
    priors.save(make(passed=False), tmp_path / "failed.json")
    for name, message in (
        ("darts", "is for darts, not for nasbench201"),
        ("accuracy", "is of the score 'accuracy', not of 'naswot'"),
        ("failed", "--force-prior uses it all the same"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            znas.search(preset="naswot", prior=tmp_path / f"{name}.json", **SIZE)
    forced = znas.search(preset="naswot", prior=tmp_path / "failed.json", force_prior=True, **SIZE)
    assert forced.request.force_prior


# --- the command ---


def run(*arguments: str | Path) -> Done:
    return here("prior", *arguments)


def test_fit_show_and_check(tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "t.csv",
        400,
        lambda g, rng: 20 + 10 * sum(o == "nor_conv_3x3" for o in g.operations) + rng.normal(),
    )
    out = tmp_path / "prior.json"
    done = run("fit", "--source", "table", "--table", table, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "ranks better than chance" in done.stdout
    assert priors.load(out).check["passed"] is True  # type: ignore[index]
    done = run("show", out, "--plot", tmp_path / "p.png")
    assert done.returncode == 0, done.stderr
    assert "nor_conv_3x3" in done.stdout
    assert "p.png exists already" in run("show", out, "--plot", tmp_path / "p.png").stderr
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size[0] > 800
    assert json.loads(run("show", out, "--json").stdout)["space"] == "nasbench201"
    assert "check it on another table" in run("check", out, "--table", table).stderr
    backwards = write_table(
        tmp_path / "b.csv",
        100,
        lambda g, rng: 80 - 10 * sum(o == "nor_conv_3x3" for o in g.operations) + rng.normal(),
    )
    done = run("check", out, "--table", backwards, "--record")
    assert done.returncode == 1
    assert "does NOT rank better than chance: Spearman -" in done.stdout
    with pytest.raises(InvalidValueError, match="no better than chance"):
        priors.require(priors.load(out), force=False)


@pytest.mark.ours
def test_what_a_prior_learnt_is_known_by_its_content(tmp_path: Path) -> None:
    """By any name, in any order, beside other columns; and another table may have the same name."""

    def accuracy(genotype: Any, rng: Any) -> float:
        return float(20 + 10 * sum(o == "nor_conv_3x3" for o in genotype.operations) + rng.normal())

    table = write_table(tmp_path / "cifar10.csv", 400, accuracy)
    out = tmp_path / "prior.json"
    assert run("fit", "--source", "table", "--table", table, "--out", out).returncode == 0
    head, *lines = table.read_text().splitlines()
    copies = {
        "renamed.csv": [head, *lines],
        "sorted.csv": [head, *sorted(lines)],
        "wider.csv": [f"{head},other_acc", *(f"{line},{90 - k / 9}" for k, line in enumerate(lines))],
    }
    for name, content in copies.items():
        (tmp_path / name).write_text("\n".join(content))
        done = run("check", out, "--table", tmp_path / name, *(["--column", "other_acc"] * (name[0] == "w")))
        assert done.returncode == 2, name
        assert f"was fitted to the accuracies of {tmp_path / name}: check it on another" in done.stderr
    (tmp_path / "elsewhere").mkdir()
    other = write_table(tmp_path / "elsewhere" / "cifar10.csv", 100, accuracy, seed=5)
    done = run("check", out, "--table", other)
    assert done.returncode == 0, done.stderr
    old = json.loads(out.read_text())
    del old["provenance"]["content"]
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert "was fitted to" in run("check", tmp_path / "old.json", "--table", other).stderr


@pytest.mark.ours
def test_a_sorted_table_does_not_teach_its_row_numbers(tmp_path: Path) -> None:
    """pandas' unnamed column in front: the prior is that of the plain table."""
    rng = np.random.default_rng(8)
    cells = list(dict.fromkeys(str(NB201.genotype(mask)) for mask in random_masks(NB201, 300)))
    pairs = [(cell, round(float(rng.uniform(10, 95)), 4)) for cell in cells]
    ways = {
        "plain": ["arch,cifar10_test_200ep", *(f"{cell},{value}" for cell, value in pairs)],
        "indexed": [",arch,params,acc", *(f"{i},{c},{9 - i},{v}" for i, (c, v) in enumerate(pairs))],
    }
    found = {}
    for name, lines in ways.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
        out = tmp_path / f"{name}.json"
        done = run("fit", "--source", "table", "--table", tmp_path / f"{name}.csv", "--out", out)
        assert done.returncode == 0, done.stderr
        found[name] = priors.load(out)
    assert "'acc'; left out: 'column 1' (row numbers or ranks), 'params' (a cost)" in done.stderr
    assert np.array_equal(found["plain"].mean, found["indexed"].mean, equal_nan=True)
    (tmp_path / "ranks.csv").write_text("\n".join([",arch", *(f"{i},{c}" for i, c in enumerate(cells))]))
    done = run("fit", "--source", "table", "--table", tmp_path / "ranks.csv", "--out", tmp_path / "r.json")
    assert done.returncode == 2
    assert "has no accuracy by the names of its columns" in done.stderr
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--source", "dream", "--out", "x.json"], "unknown source 'dream'"),
        (["fit", "--score", "naswot+flops", "--out", "x.json"], "one score but got 'naswot+flops'"),
        (["fit", "--source", "table", "--out", "x.json"], "needs --table FILE"),
        (["fit", "--out", "x.json", "--envs", "1"], "`envs` must be at least 2"),
        (["show", "absent.json"], "cannot be read"),
        (["check", "shipped", "--record", "--table", "t.csv"], "prior.json prior.json) and check the copy"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x.json").exists()


WRONG: dict[str, dict[str, Any]] = {
    "no space": {"space": "nasbench201"},
    "no score": {"score": 5},
    "no mean": {"mean": None},
    "text": {"mean": "x"},
    "another shape": {"mean": np.zeros((1, 5))},
    "infinite": {"mean": np.full((6, 5), np.inf)},
    "half a drop": {"drop_mean": np.zeros(6)},
    "negative": {"variance": np.full((6, 5), -1.0)},
    "an object inside": {"provenance": {"x": object()}},
    "NumPy inside": {"provenance": {"x": np.int64(3)}},
    "NaN inside": {"provenance": {"x": float("nan")}},
    "no provenance": {"provenance": None},
    "half a check": {"check": {"passed": True}},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_no_prior_is_written_that_could_not_be_read(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError):
        priors.save(replace(make(), **changes), tmp_path / "prior.json")
    assert not list(tmp_path.iterdir())


def test_priors_take_what_people_have(tmp_path: Path) -> None:
    prior = replace(make(), mean=make().mean.tolist())
    priors.save(prior, str(tmp_path / "prior.json"))
    found = priors.load(tmp_path / "prior.json", "nasbench201")
    np.testing.assert_array_equal(found.mean, make().mean)
    masks = random_masks(NB201, 3)
    np.testing.assert_array_equal(found.predict(masks.tolist()), found.predict(masks))
    for wrong in (None, "x", NB201.mixture(), [[1], [2, 3]]):
        with pytest.raises(InvalidValueError):
            found.predict(wrong)
    for path in (None, b"x", "", "a\0b"):
        with pytest.raises(InvalidValueError):
            priors.save(prior, path)
    with pytest.raises(InvalidValueError):
        priors.save(5, tmp_path / "other.json")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError):
        priors.load(tmp_path / "prior.json", 5)  # type: ignore[arg-type]
