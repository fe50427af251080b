"""A package that nothing here knows of, installed as any is: it goes through every verb on every backend."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import refused, supernet
from znas_engine.backends import can_run

ROOT = Path(__file__).parents[1]
SIZE = ("--space", "chain", "--data", "shapes", *supernet(4, 1, 16))
TINY = (*SIZE, "--images", "8")
NASWOT = ("--preset", "naswot")
BACKENDS = ("torch", "ort", "native")
OPERATIONS = {"identity", "e3k3", "e3k5", "e6k3", "e6k5"}

Done = subprocess.CompletedProcess[str]
Verb = Callable[..., Done]


def python(*arguments: str | Path, paths: list[Path], cwd: Path | None = None) -> Done:
    """In a process that finds what lies in `paths`, too."""
    found = os.pathsep.join([*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": found},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
    )


def ok(done: Done) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's folder, which installing leaves build files in."""
    folder = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(ROOT / "examples" / "plugin", folder)
    return folder


@pytest.fixture(scope="module")
def site(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install ./examples/plugin` installs."""
    target = tmp_path_factory.mktemp("site")
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    ok(python(*install, "--target", target, plugin, paths=[]))
    return target


@pytest.fixture(scope="module")
def verb(site: Path) -> Verb:
    return lambda *arguments: python("-m", "znas", *arguments, paths=[site])


@pytest.fixture(scope="module")
def table(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Architectures of the space, with accuracies that were made up."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    code = (
        "import sys, numpy as np; from znas_engine.spaces import get_space\n"
        "space, rng = get_space('chain'), np.random.default_rng(0)\n"
        "print('arch,accuracy')\n"
        "for k in range(24): print(space.genotype(space.random_path(rng)), 60 + k, sep=',')\n"
    )
    path.write_text(ok(python("-c", code, paths=[site])))
    return path


def test_its_own_tests_pass(plugin: Path, site: Path) -> None:
    """Contracts of the space, the score and the data set."""
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", paths=[site], cwd=plugin)
    assert " passed" in ok(done)
    assert "skipped" not in done.stdout


def test_doctor_lists_what_came_from_outside(verb: Verb) -> None:
    checks = {check["name"]: check for check in json.loads(ok(verb("doctor", "--json")))}
    for name, where in {
        "search space chain": "space:Chain",
        "score spread": "score:Spread",
        "data set shapes": "data:shapes",
        "preset spread-first": "preset:SPREAD_FIRST",
    }.items():
        assert checks[name]["state"] == "ok"
        assert checks[name]["detail"] == f"from znas-plugin-example 0.1.0 (znas_plugin_example.{where})"


def test_help_names_it(verb: Verb) -> None:
    said = " ".join(ok(verb("search", "--help")).split())
    for names in (
        "nasbench201 | darts | nasbench_macro | mobilenet | chain",
        "| ntk | spread",
        "gaussian | shapes",
        "| spread-first",
    ):
        assert names in said


@pytest.mark.parametrize("preset", ["shortlist", "spread-first"])
def test_searches_agree_on_all_backends(preset: str, verb: Verb) -> None:
    assert all(map(can_run, BACKENDS))
    found = []
    for backend in BACKENDS:
        asked = (*TINY, "--preset", preset, "--finalists", "3", "--p", "0", "--backend", backend)
        result = json.loads(ok(verb("search", *asked, "--json", "--quiet")))
        assert result["backend"] == backend
        found.append(result["arch"])
        assert set(result["arch"].split("-")) <= OPERATIONS
        assert [edge["edge"] for edge in result["edges"]] == [f"chain:{k}->{k + 1}" for k in range(6)]
        assert [len(edge["operations"]) for edge in result["edges"]] == [5, 4, 5, 4, 5, 5]
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--p", "1"),
        ("--game", "shapley", "--p", "0.2"),
        ("--game", "interaction", "--p", "0"),
        ("--selection", "sequential", "--order", "confidence", "--criterion", "leave-one-out"),
        ("--score", "znas_plugin_example.score:Spread+flops", "--space", "znas_plugin_example.space:Chain"),
        ("--dtype", "bfloat16", "--norm", "batch"),
    ],
    ids=" ".join,
)
def test_every_way_of_searching(options: tuple[str, ...], verb: Verb) -> None:
    result = json.loads(ok(verb("search", *TINY, "--preset", "naswot", *options, "--json", "--quiet")))
    assert set(result["arch"].split("-")) <= OPERATIONS


def test_a_result_is_saved_loaded_and_trained(site: Path, tmp_path: Path) -> None:
    code = """
import sys, znas, torch
size = {"supernet_channels": 4, "supernet_cells": 1, "resolution": 16, "images": 8}
result = znas.search(space="chain", data="shapes", preset="naswot", p=1, **size)
result.save(sys.argv[1])
again = znas.load(sys.argv[1])
assert again.to_dict() == result.to_dict()
assert again.genotype == result.genotype
network = again.to_torch()
assert sum(p.numel() for p in network.parameters()) == result.params
assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 4)
assert znas.network("chain", result.arch, classes=7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
print(result.params)
"""
    printed = ok(python("-c", code, tmp_path / "run", paths=[site]))
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"result.json", "scores.csv", "architecture.py", "architecture.untrained.onnx"} <= written
    alone = "import architecture; print(sum(p.numel() for p in architecture.build().parameters()))"
    done = subprocess.run(
        [sys.executable, "-c", alone], cwd=tmp_path / "run", capture_output=True, text=True, check=True
    )
    assert done.stdout == printed


def test_a_result_names_the_packages_it_needs(verb: Verb, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for space in ("chain", "znas_plugin_example.space:Chain"):
        ok(verb("search", *TINY, *NASWOT, "--space", space, "--out", run))
        assert json.loads((run / "result.json").read_text())["versions"]["znas-plugin-example"] == "0.1.0"
        ok(verb("show", run))
        line = refused(python("-m", "znas", "show", run, paths=[]))
        assert f"the result {run / 'result.json'}: " in line
        assert "not installed here: znas-plugin-example 0.1.0" in line
        shutil.rmtree(run)


def test_priors(verb: Verb, table: Path, tmp_path: Path) -> None:
    prior = tmp_path / "prior.json"
    ok(verb("prior", "fit", *TINY, "--envs", "3", "--table", table, "--out", prior, "--quiet"))
    assert json.loads(prior.read_text())["space"] == "chain"
    asked = (*NASWOT, "--prior", prior, "--force-prior", "--p", "auto", "--prior-scale", "raw", "--envs", "2")
    assert json.loads(ok(verb("search", *TINY, *asked, "--json", "--quiet")))["arch"]
    assert "no prior is shipped for" in refused(verb("search", *TINY, *NASWOT, "--prior", "shipped"))


def test_diagnose(verb: Verb, tmp_path: Path) -> None:
    asked = ("--envs", "20", "--depths", "2", "--ps", "0.5", "--inits", "gaussian")
    ok(verb("diagnose", *SIZE, "--images", "4", *asked, "--out", tmp_path / "lemmas", "--quiet"))
    assert "chain:0->1 e3k3" in (tmp_path / "lemmas" / "report.md").read_text()
    asked = ("--robustness", "--seeds", "2", "--inits", "gaussian", "--norms", "calibrated", "--ps", "0.5")
    ok(verb("diagnose", *TINY, *asked, "--out", tmp_path / "robustness", "--quiet"))


def test_export(verb: Verb, tmp_path: Path) -> None:
    said = ok(verb("export", *TINY, "--out", tmp_path / "chain.onnx"))
    assert "mask [6, 5] -> logits [n, 4]" in said


def test_bench_times_its_eager_supernet_beside_the_backends(verb: Verb, tmp_path: Path) -> None:
    contenders = [word for name in ("eager", *BACKENDS) for word in ("--backend", name)]
    asked = ("--part", "passes", "--images", "4", "--threads", "1", "--masks-per-call", "1", "--rounds", "1")
    ok(verb("bench", *SIZE, *asked, *contenders, "--out", tmp_path / "bench.json", "--quiet"))
    rows = [
        row for row in json.loads((tmp_path / "bench.json").read_text())["rows"] if row["part"] == "passes"
    ]
    assert len(rows) == 4 * 3
    assert all(row["passed"] for row in rows), rows


def test_correlation(verb: Verb, table: Path, tmp_path: Path) -> None:
    asked = (
        "--table",
        table,
        "--scores",
        "spread,params,naswot+spread",
        "--out",
        tmp_path / "out",
        "--quiet",
    )
    said = ok(verb("reproduce", "correlation", *TINY, *asked))
    assert "NAS-Bench-201" not in said
    with (tmp_path / "out" / "correlation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["score"] for row in rows} == {"spread", "params", "naswot+spread"}


# --- packages that break their contract ---

THEIRS = """
from znas_engine.spaces import SearchSpace
from znas_engine.scores import ForwardScore
from znas_plugin_example.space import Chain as Theirs

class Nothing: pass
class Incomplete(SearchSpace):
    name = "incomplete"
class Renamed(Theirs):
    name = "other"
class Nameless(ForwardScore):
    def __call__(self, observations): return 0.0
class Raises(Theirs):
    def __init__(self): raise KeyError("oh")
def flat(): return 3
"""
POINTS = """[znas.spaces]
chain = theirs:Theirs
darts = theirs:Theirs
nothing = theirs:Nothing
incomplete = theirs:Incomplete
renamed = theirs:Renamed
raises = theirs:Raises
absent = theirs:Absent
unheard = no_such_module:Space

[znas.scores]
nameless = theirs:Nameless

[znas.data]
flat = theirs:flat

[znas.presets]
plain = theirs:flat

[znas.backends]
odd = theirs:Nothing
"""


@pytest.fixture(scope="module")
def broken(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Verb:
    """Beside the example, a package of which nothing works."""
    root = tmp_path_factory.mktemp("theirs")
    (root / "theirs.py").write_text(THEIRS)
    facts = root / "theirs-1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (facts / "entry_points.txt").write_text(POINTS)
    return lambda *arguments: python("-m", "znas", *arguments, paths=[site, root])


@pytest.mark.parametrize(
    ("option", "name", "says"),
    [
        (
            "space",
            "chain",
            "is claimed by znas-plugin-example 0.1.0 and by theirs 1.2: uninstall one, or name",
        ),
        ("space", "darts", "is claimed by znas-engine and by theirs 1.2: uninstall one"),
        ("space", "nothing", "which is Nothing, no znas_engine.spaces.base.SearchSpace"),
        (
            "space",
            "incomplete",
            "which cannot be made (TypeError: Can't instantiate abstract class",
        ),
        ("space", "renamed", "which calls itself 'other': give both one name"),
        ("space", "raises", "which cannot be made (KeyError: 'oh')"),
        (
            "space",
            "absent",
            "which cannot be made (AttributeError: module 'theirs' has no",
        ),
        ("space", "unheard", "which cannot be made (ModuleNotFoundError: No module named 'no_such_module')"),
        ("score", "nameless", "which has no attribute `name`, which every score has"),
        ("data", "flat", "which is no data set but int"),
        ("preset", "plain", "which is function, no znas.presets.Preset"),
        ("backend", "odd", "no znas_engine.backends.record.Backend"),
    ],
)
def test_what_breaks_its_contract_is_one_line(option: str, name: str, says: str, broken: Verb) -> None:
    message = refused(broken("search", f"--{option}", name, "--images", "4"))
    assert "theirs 1.2" in message
    assert repr(name) in message
    assert says in message


def test_doctor_says_what_cannot_be_used(broken: Verb) -> None:
    done = broken("doctor", "--json")
    assert done.returncode == 1, done.stderr
    checks: list[dict[str, Any]] = json.loads(done.stdout)
    found = {check["name"]: check for check in checks}
    assert found["search space chain"]["state"] == "broken"
    assert "by znas-plugin-example 0.1.0 and by theirs 1.2" in found["search space chain"]["detail"]
    assert found["score nameless"]["state"] == "broken"
    assert found["score spread"]["state"] == "ok"


def test_the_rest_still_works(broken: Verb) -> None:
    """A package that is broken is in nobody's way."""
    asked = (
        "--supernet-channels",
        "4",
        "--resolution",
        "16",
        "--images",
        "4",
        "--score",
        "spread",
        "--data",
        "shapes",
    )
    result = json.loads(ok(broken("search", *asked, "--finalists", "2", "--json", "--quiet")))
    assert result["arch"].startswith("|")
