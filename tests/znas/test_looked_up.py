"""Finds looked up in a table that lacks some of them; do-scores against accuracy; scores at resolutions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.command import supernet
from znas.cli import main
from znas.reproduce.do_scores import SUM, TRUTH, against_accuracy, do_scores, of_architectures
from znas.reproduce.looked_up import looked_up
from znas.reproduce.resolutions import at, drawn, sides
from znas.reproduce.restricted import Among, restricted
from znas.reproduce.rows import choose
from znas.reproduce.trials import Trial, run_trials
from znas.request import Request
from znas.result import Seconds
from znas.searchers import Evolution, MostFlops, MostParameters, run
from znas.selection.finalists import losses
from znas.selection.operations import one_hot
from znas.setup import Setup
from znas_engine.errors import DataError, InvalidValueError
from znas_engine.spaces import Genotype, get_space
from znas_engine.spaces.nasbench_macro.genotype import OPERATIONS, NasBenchMacroGenotype
from znas_engine.tables import Table, read_table

MACRO = get_space("nasbench_macro")
EVERY = ["".join(map(str, digits)) for digits in product(range(3), repeat=8)]
TINY: dict[str, Any] = {"supernet_channels": 2, "supernet_cells": 1, "resolution": 8, "images": 6}


def tiny(**changes: Any) -> Request:
    return Request(**({"preset": "naswot", "space": "nasbench_macro"} | TINY | changes))


def accuracy(arch: str) -> float:
    """Made up; the same for chains that compute the same."""
    return 50 + sum((1 + 0.01 * i) * int(digit) for i, digit in enumerate(str(canonical(arch))))


def canonical(arch: str) -> Genotype:
    found: Genotype = MACRO.function_of(MACRO.parse(arch))  # type: ignore[assignment]
    return found


def table_of(archs: Sequence[str], folder: Path) -> Table:
    path = folder / "macro.csv"
    path.write_text("\n".join(["arch,test", *(f"{arch},{accuracy(arch)}" for arch in archs)]))
    return read_table(path, MACRO)


def half(folder: Path) -> Table:
    """A random half of the space without its largest."""
    rng = np.random.default_rng(0)
    return table_of([arch for arch in EVERY if rng.random() < 0.5 and arch != "22222222"], folder)


# --- the space of a table ---


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(EVERY), min_size=1, max_size=40, unique=True), st.integers(0, 2**32 - 1))
def test_a_restricted_space_holds_what_the_table_has(archs: list[str], seed: int) -> None:
    genotypes = [MACRO.parse(arch) for arch in archs]
    space, rng = restricted(MACRO, genotypes), np.random.default_rng(seed)
    known = {canonical(arch) for arch in archs}
    for arch in [*archs[:5], *rng.choice(EVERY, 5)]:
        assert space.admits(MACRO.mask(MACRO.parse(str(arch)))) == (canonical(str(arch)) in known)
    assert str(space.genotype(space.random_path(rng))) in archs
    assert set(space.functions() or ()) == known
    assert space.supernet(space.proxy_macro(resolution=8, classes=3)) == MACRO.supernet(
        MACRO.proxy_macro(resolution=8, classes=3)
    )
    scores = rng.normal(size=MACRO.shape)
    selected = scores.argmax(1)
    found = NasBenchMacroGenotype(tuple(OPERATIONS[o] for o in space.repair(scores, selected)))
    behind = losses(scores)
    sums = [behind[range(8), [int(digit) for digit in arch]].sum() for arch in archs]
    if MACRO.function_of(MACRO.genotype(one_hot(selected, 3))) in known:
        assert found == MACRO.genotype(one_hot(selected, 3))
    else:
        assert str(found) == archs[int(np.argmin(sums))]


def test_the_largest_of_a_table_is_found_there(tmp_path: Path) -> None:
    """By parameters and by FLOPs, of what is admitted; of the whole space the same chain is both."""
    table = half(tmp_path)
    macro = MACRO.evaluation_macro(resolution=32, classes=10)
    for searcher, size in ((MostParameters(), "parameters"), (MostFlops(), "flops")):
        found = run(searcher, tiny(space=restricted(MACRO, table.genotypes))).genotype
        sizes = [getattr(MACRO.network(genotype, macro), size) for genotype in table.genotypes]
        assert getattr(MACRO.network(found, macro), size) == max(sizes)
        assert str(run(searcher, tiny()).genotype) == "22222222"


def test_evolution_says_where_nothing_is_near() -> None:
    """Two chains that differ in every layer: no change of one leads to the other."""
    space = restricted(MACRO, [MACRO.parse("00000000"), MACRO.parse("22222222")])
    with pytest.raises(InvalidValueError, match="nasbench_macro admits none of 10,000"):
        run(Evolution(4, 2, 2), tiny(space=space))


def test_where_none_wins_and_no_edge_that_gives_it_up_is_there() -> None:
    """The space's own rule finds nothing among what the table has: then its best sum stands."""
    space = get_space("nasbench201")
    cells = [space.parse(str([operation] * 6)) for operation in (3, 4)]
    scores = np.tile([9.0, 8.0, 0.0, 1.0, 2.0], (6, 1))  # of a cell of none, whose edges become skips
    chosen = restricted(space, cells).repair(scores, scores.argmax(1))
    assert chosen.tolist() == [4] * 6


# --- finds ---

ROWS = ["random", "most-parameters", "most-flops", "naswot-p0.5", "naswot-10"]


def test_what_a_table_lacks_is_searched_again_where_it_is(tmp_path: Path) -> None:
    """What is found stays what is found without a table; only for what is absent stands another, of the
    table, and of a selection of operations the best sum of scores; a second run repeats nothing."""
    table, chosen = half(tmp_path), choose(MACRO, ROWS)
    setup = Setup(tiny())
    alone = run_trials(chosen, setup, seeds=3, work=tmp_path / "alone")
    found = run_trials(chosen, setup, seeds=3, table=table, work=tmp_path / "work")
    again = run_trials(chosen, setup, seeds=3, table=table, work=tmp_path / "work")
    assert again == found
    known = {canonical(str(genotype)) for genotype in table.genotypes}
    absent = 0
    for name, trials in found.items():
        assert [trial.arch for trial in trials] == [trial.arch for trial in alone[name]]
        for trial in trials:
            assert (trial.instead is None) == (canonical(trial.arch) in known)
            if trial.instead is not None:
                absent += 1
                assert canonical(trial.instead) in known
    assert 3 < absent < 3 * len(ROWS)
    assert all(trial.instead for trial in found["most-flops"])
    sheet = looked_up("table-macro", chosen, found, table, setup.conditions())
    assert any(f"{absent} of {3 * len(ROWS)} searches here" in note for note in sheet.notes)


def trials(*archs: tuple[str, str | None]) -> list[Trial]:
    spent = Seconds(1.0, 0.1, 0.8, 0.1)
    return [Trial(seed, arch, 3, spent, "cpu", instead) for seed, (arch, instead) in enumerate(archs)]


def test_accuracies_costs_and_what_is_better(tmp_path: Path) -> None:
    """An architecture has its own row, or those of its function; `instead` counts for what is absent, with
    its own FLOPs."""
    table = table_of(["11111111", "11210222", "22222221", "00000000"], tmp_path)
    chosen = choose(MACRO, ["random"])
    found = trials(("11111111", None), ("11021222", None), ("22222222", "22222221"))
    found[1] = replace(found[1], arch="11201222")  # 11210222 with the identity elsewhere in its stage
    assert canonical("11201222") == canonical("11210222")
    sheet = looked_up("table-macro", chosen, {"random": found}, table, Setup(tiny()).conditions())
    (entry,) = sheet.data["rows"]
    values = [accuracy("11111111"), accuracy("11210222"), accuracy("22222221")]
    assert entry["accuracy"]["test"]["values"] == pytest.approx(values)
    assert entry["accuracy"]["test"]["lowest"] == pytest.approx(min(values))
    assert entry["absent"] == [2]
    rank = sorted((accuracy(str(g)) for g in table.genotypes), reverse=True)
    assert entry["better"] == pytest.approx(np.mean([rank.index(value) / 4 for value in values]))
    macro = MACRO.evaluation_macro(resolution=32, classes=10)
    counted = [MACRO.network(MACRO.parse(a), macro).flops for a in ("11111111", "11201222", "22222221")]
    assert entry["flops"]["mean"] == pytest.approx(np.mean(counted))
    assert sheet.records[0]["mean_of_present"] == pytest.approx(np.mean(values[:2]))
    missing = {"random": trials(("22222222", None))}
    with pytest.raises(DataError, match=r"architecture 22222222, which random found: leave random out"):
        looked_up("table-macro", chosen, missing, table, Setup(tiny()).conditions())


def test_flops_are_the_real_tables(test_data: Path) -> None:
    """And its architectures of one function have one accuracy, so that a function can be looked up."""
    table = read_table(test_data / "nasbench_macro" / "cifar10.csv", MACRO)
    conditions = Setup(tiny()).conditions()
    of_function: dict[Any, set[float]] = {}
    _, column = table.column(None)
    for genotype, value in zip(table.genotypes, column.tolist(), strict=True):
        of_function.setdefault(MACRO.function_of(genotype), set()).add(value)
    assert {len(values) for values in of_function.values()} == {1}
    rows = [0, 5, 1000]
    found = {"random": trials(*((str(table.genotypes[i]), None) for i in rows))}
    sheet = looked_up("table-macro", choose(MACRO, ["random"]), found, table, conditions)
    (entry,) = sheet.data["rows"]
    assert entry["flops"]["mean"] == pytest.approx(table.columns["flops"][rows].mean())
    assert entry["accuracy"]["cifar10_test_mean"]["values"] == pytest.approx(column[rows].tolist())


def test_a_table_of_which_nothing_is_admitted_is_refused(tmp_path: Path) -> None:
    space = get_space("nasbench201")
    cell = space.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    table = Table(tmp_path / "none.csv", [cell], {"test": np.array([10.0])})
    with pytest.raises(DataError, match=r"none.csv has no architecture that nasbench201 admits"):
        Among(space, table)


# --- do-scores ---


def test_do_scores_against_what_they_are(tmp_path: Path) -> None:
    """Where accuracy is the sum of what one score says of operations, its sum ranks perfectly, its edges as
    well as the best numbers of edges can, and its operations perfectly."""
    setup = Setup(tiny(envs=2, score="naswot+params"))
    shown = do_scores(setup)
    assert shown["naswot"].shape == (2, 8, 3)
    archs = EVERY[::7]
    masks = np.stack([MACRO.mask(MACRO.parse(arch)) for arch in archs])
    truth = of_architectures(masks, shown["naswot"].mean(0)[None], list(range(8)))[0]
    by_hand = [sum(shown["naswot"].mean(0)[e, int(o)] for e, o in enumerate(arch)) for arch in archs]
    assert truth == pytest.approx(by_hand)
    percent = 10 + 80 * (truth - truth.min()) / np.ptp(truth)
    path = tmp_path / "planted.csv"
    path.write_text("\n".join(["arch,test", *map("{},{}".format, archs, percent)]))
    table = read_table(path, MACRO)
    sheet = against_accuracy(setup, shown, ["naswot", "params"], table, tiny())
    taus = {(row["score"], row["protocol"]): row["kendall"]["value"] for row in sheet.data["rows"]}
    assert taus["naswot", SUM] == pytest.approx(1)
    assert taus["params", SUM] < 1
    assert taus[TRUTH, SUM] > 0.99
    assert taus["naswot", "operations"] > 0.98
    for edge in MACRO.edges:
        assert taus["naswot", edge.label] == pytest.approx(taus[TRUTH, edge.label], abs=0.01)


# --- resolutions ---


def test_random_architectures_are_different() -> None:
    found = drawn(tiny(), 30)
    assert len({canonical(str(genotype)) for genotype in found}) == 30
    assert drawn(tiny(), 30) == found
    assert drawn(tiny(seed=1), 30) != found
    with pytest.raises(InvalidValueError, match="`architectures` must be at most"):
        drawn(Request(space=restricted(MACRO, [MACRO.parse("00000000")])), 2)


def test_resolutions_are_numbers() -> None:
    assert sides(["64", "32"]) == [32, 64]
    for wrong, message in ((["32"], "at least two"), (["32", "x"], "whole numbers"), (["3", "3"], "twice")):
        with pytest.raises(InvalidValueError, match=message):
            sides(wrong)


# --- the commands ---


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["reproduce", *arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def test_the_commands_write_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table_of(EVERY[::160], tmp_path).path
    out, small = tmp_path / "out", ["--data", "gaussian", *supernet(2, 1, 8, 8)]
    code, text, _ = command(
        capsys,
        *("table-macro", "--rows", "random,most-flops,naswot-10", "--seeds", "2", "--table", str(path)),
        *(*small, "--out", str(out), "-q", "--json"),
    )
    assert code == 0
    found = json.loads(text)
    assert found == json.loads((out / "table-macro.json").read_text())
    assert [len(row["accuracy"]["test"]["values"]) for row in found["rows"]] == [2, 2, 2]
    assert found["published"][0]["accuracy"]["cifar10-test"] == [93.13, None]
    code, text, _ = command(
        capsys,
        *("do-scores", "--space", "nasbench_macro", "--score", "naswot", "--envs", "2"),
        *("--table", str(path), *small, "--out", str(out), "-q", "--json"),
    )
    assert code == 0
    parts = {row["protocol"] for row in json.loads(text)["rows"]}
    assert parts == {SUM, "operations", *(edge.label for edge in MACRO.edges)}
    code, text, _ = command(
        capsys,
        *("resolutions", "--space", "nasbench_macro", "--score", "naswot+params", "--envs", "2"),
        *("--resolutions", "8,16", "--architectures", "12", "--images", "6", "--supernet-channels", "2"),
        *("--table", str(path), "--out", str(out), "-q", "--json"),
    )
    assert code == 0
    rows = {(r["score"], r["pixels"], r["with"]): r["kendall"]["value"] for r in json.loads(text)["rows"]}
    assert rows["params", 8, "16 pixels"] == pytest.approx(1)
    assert -1 <= rows["naswot", 8, "16 pixels"] <= 1
    assert {("naswot+params", side, other) for side in (8, 16) for other in ("test",)} <= set(rows)
    assert ("naswot", 16, "another environment") in rows
    written = {each.name for each in out.iterdir()}
    for name in ("table-macro", "do-scores", "resolutions"):
        assert {f"{name}.{suffix}" for suffix in ("md", "html", "csv", "json")} <= written
    assert "table-macro.png" in written


def test_resolutions_are_what_the_supernet_sees() -> None:
    """Also beyond what a space sets for its preset, where two sides would look alike."""
    request = Request(space="mobilenet", data="gaussian", backend="torch")
    assert [Setup(at(request, side)).macro.resolution for side in (96, 128)] == [96, 128]
    assert Setup(replace(request, resolution=128)).macro.resolution == 96


def test_resolutions_are_read_as_numbers() -> None:
    assert sides(["64", "032"]) == [32, 64]
    with pytest.raises(InvalidValueError, match="resolutions"):
        sides(["32", "032"])
