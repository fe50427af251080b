"""Every long verb on a real Ray, two workers of one thread, gives what it gives in this process."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest

import znas
from tests.cluster import ENVIRONMENT
from tests.command import SEARCH, SMALL, here, refused
from tests.conftest import SPACES
from znas import jobs
from znas.calls import Task, each_piece
from znas.cluster.bench import Shared
from znas.cluster.place import Here
from znas.hooks import Hooks
from znas.reproduce.figures import ENVIRONMENTS_FILE, SCORES_FILE
from znas.request import Request
from znas.setup import Setup
from znas.shape import Shape
from znas_engine.data import load
from znas_engine.errors import InvalidValueError
from znas_engine.journal import Journal
from znas_engine.scores.naswot import Naswot
from znas_engine.spaces.nasbench201 import NasBench201Genotype
from znas_engine.spaces.nasbench201.genotype import OPERATIONS

pytestmark = pytest.mark.ours

TINY: dict[str, Any] = {
    "preset": "naswot",
    "supernet_channels": 4,
    "supernet_cells": 1,
    "resolution": 16,
    "images": 8,
    "threads": 1,
}
WORKERS = ("--on", "ray", "--actors", "2", "--threads-per-actor", "1")
ON_RAY: dict[str, Any] = {"on": "ray", "actors": 2, "threads_per_actor": 1}
#: Words of a name in which a result says how long something took.
TIMES = ("seconds", "per_second")


@pytest.fixture(scope="module")
def on_ray() -> Iterator[None]:
    """One Ray for all tests here; two workers of a core each."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'znas-engine[cluster]'")
        if ray.is_initialized():
            yield
            return
        folder = tempfile.mkdtemp(prefix="ray")  # a short name: Ray's sockets lie in it
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
            object_store_memory=200 << 20,
            _temp_dir=folder,
        )
        yield
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cells with an accuracy, and with a latency, that add up; and a third of them."""
    folder, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    worth, ms = rng.random((2, 6, len(OPERATIONS)))
    archs, third, latencies = ["arch,cifar10_test"], ["arch,cifar10_test"], ["arch,phone_ms"]
    for chosen in product(range(len(OPERATIONS)), repeat=6):
        arch = str(NasBench201Genotype(tuple(OPERATIONS[o] for o in chosen)))
        archs.append(f"{arch},{60 + sum(worth[range(6), chosen])}")
        third += archs[-1:] if rng.random() < 1 / 3 else []
        latencies.append(f"{arch},{1 + sum(ms[range(6), chosen])}")
    for name, lines in (("cells", archs), ("third", third), ("devices", latencies)):
        (folder / f"{name}.csv").write_text("\n".join(lines))
    return folder


def timeless(plain: Any) -> Any:
    """Without how long it took."""
    if isinstance(plain, list):
        return [timeless(each) for each in plain]
    if not isinstance(plain, dict):
        return plain
    return {name: timeless(value) for name, value in plain.items() if not name.endswith(TIMES)}


def both(*verb: str | Path, out: Path, written: str) -> dict[str, Any]:
    """What the verb writes here and on Ray, which is the same."""
    found = []
    for name, words in (("local", ()), ("ray", WORKERS)):
        done = here(*verb, "--threads", "1", "--out", out / name, *words)
        assert done.returncode == 0, done.stderr
        assert "done again" not in done.stderr
        found.append((out / name / written) if written else (out / name))
    local, ray = (timeless(json.loads(path.read_text())) for path in found)
    assert local == ray
    plain: dict[str, Any] = ray
    return plain


# --- what is measured ---


def test_a_search(on_ray: None) -> None:
    """Of all settings, those that measure in several ways; where it was done is no part of a result."""
    for options in ({"preset": "shortlist", "finalists": 8, "envs": 2}, {"p": 0, "race": 0.9}):
        asked = TINY | options | {"images": 64 if "race" in options else 8}
        local, spread = znas.search(**asked), znas.search(**asked, **ON_RAY)
        assert spread.arch == local.arch
        assert timeless(json.loads(spread.to_json())) == timeless(json.loads(local.to_json()))


def test_scores(on_ray: None) -> None:
    asked = {name: value for name, value in TINY.items() if name != "preset"} | {"envs": 3}
    local = znas.score(random=70, references=10, **asked)
    assert znas.score(random=70, references=10, **asked, **ON_RAY).to_csv() == local.to_csv()


def test_correlation_and_sets_of_scores_that_play(on_ray: None, tables: Path, tmp_path: Path) -> None:
    both(
        *("reproduce", "correlation", "--data", "gaussian", "--table", tables / "cells.csv"),
        *("--architectures", "150", "--envs", "4", "--scores", "naswot,isometry,live_flops", *SMALL),
        out=tmp_path,
        written="correlation.json",
    )
    for file in (SCORES_FILE, ENVIRONMENTS_FILE):
        assert (tmp_path / "ray" / file).read_bytes() == (tmp_path / "local" / file).read_bytes()
    found = []
    for name, words in (("once", ()), ("again", WORKERS)):
        out = tmp_path / name
        done = here(
            *("reproduce", "choose", tmp_path / "local", "--seeds", "2", "--finalists", "8", "--envs", "3"),
            *("--out", out, *words),
        )
        assert done.returncode == 0, done.stderr
        found.append((out / "choose.json").read_bytes())
    assert found[0] == found[1]


def test_table2_looks_up_what_searches_find_instead(on_ray: None, tables: Path, tmp_path: Path) -> None:
    """Those that find what the table lacks are run again. What Ray left in work files, this process takes."""
    verb = (
        *("reproduce", "table2", "--data", "gaussian", "--table", tables / "third.csv", "--seeds", "2"),
        *("--rows", "random,naswot-10", *SMALL),
    )
    found = both(*verb, out=tmp_path, written="table2.json")
    assert [row["row"] for row in found["rows"]] == ["random", "naswot-10"]
    assert any(row["absent"] for row in found["rows"])
    before = (tmp_path / "ray" / "table2.json").read_bytes()
    assert here(*verb, "--out", tmp_path / "ray", "--threads", "1").returncode == 0
    assert (tmp_path / "ray" / "table2.json").read_bytes() == before


def test_a_prior(on_ray: None, tmp_path: Path) -> None:
    found = both("prior", "fit", "--envs", "5", *SMALL, out=tmp_path, written="")
    assert found["score"] == "naswot"


def test_distributions_and_robustness(on_ray: None, tmp_path: Path) -> None:
    tiny = ("--supernet-channels", "2", "--supernet-cells", "1", "--resolution", "8")
    both(
        *("diagnose", "--envs", "20", "--images", "2", "--inits", "gaussian", "--depths", "1", *tiny),
        out=tmp_path / "scores",
        written="diagnose.json",
    )
    both(
        *("diagnose", "--robustness", "--seeds", "2", "--inits", "gaussian,uniform", "--ps", "0.5"),
        *("--image-counts", "8", "--images", "8", "--norms", "calibrated", *tiny),
        out=tmp_path / "again",
        written="robustness.json",
    )


def test_searches_under_limits(on_ray: None, tables: Path, tmp_path: Path) -> None:
    both(
        *("reproduce", "constrained", "--data", "gaussian", "--table", tables / "cells.csv"),
        *("--latency", tables / "devices.csv", "--preset", "naswot", "--supernet-cells", "1"),
        *("--images", "8", "--finalists", "4", "--seeds", "2", "--costs", "params"),
        out=tmp_path,
        written="constrained.json",
    )


# --- what a worker is given ---


class Locked(Naswot):
    """Does not pickle."""

    name = "locked"

    def __init__(self) -> None:
        self.lock = Lock()


def test_what_does_not_pickle_is_said_in_one_line(on_ray: None) -> None:
    with pytest.raises(
        InvalidValueError, match=r"cannot be sent to workers .*'_thread.lock'.*: let it"
    ) as no:
        znas.search(**TINY | {"score": Locked()}, **ON_RAY)
    assert "\n" not in str(no.value)


def test_a_task_gets_a_request_of_its_worker(tmp_path: Path) -> None:
    """Images that were read here, at every size; its own threads; and what it remarks is said here."""
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    asked = {name: value for name, value in TINY.items() if name != "resolution"}
    remarks: list[str] = []
    told: list[tuple[int, int]] = []
    request = Request(**asked | {"threads": 2}, data=images, space=SPACES["nasbench201"])
    setup = Setup(request, Hooks(report=remarks.append))
    Setup(setup.at_hand(replace(request, resolution=8)))
    place = vars(setup)["place"] = Apart(1)

    def tasks(keys: Sequence[str]) -> Iterator[Task]:
        for key in reversed(keys):
            yield Task(key, replace(request, seed=int(key), resolution=8), partial(told_of, key))

    shape: Shape = {"seed": int, "threads": int, "on": str, "side": int, "space": str, "images": str}
    hooks = Hooks(lambda done, total: told.append((done, total)), remarks.append)
    with Journal(tmp_path / "work", {}) as journal:
        shapes = dict.fromkeys(("3", "1", "2"), shape)
        found = list(each_piece(setup, jobs.InJournal(journal), shapes, tasks, hooks))
    digest = load(images, resolution=8).batch(4, seed=0).digest()
    one = {"threads": 1, "on": "local", "side": 8, "space": "nasbench201", "images": digest}
    assert found == [{"seed": seed} | one for seed in (3, 1, 2)]
    assert remarks == ["seed 2", "seed 1", "seed 3"]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert place.units == ["2", "1", "3"]


class Apart(Here):
    """Units and what they share come as they do to another process."""

    units: list[str]

    def share(self, what: Any) -> Shared:
        return Shared(str(id(what)), pickle.loads(pickle.dumps(what)))

    def run(self, units: Any) -> Iterator[tuple[Any, Any]]:
        self.units = []
        for unit, value in super().run(units):
            self.units.append(unit.key)
            yield unit, value


def told_of(key: str, request: Request, hooks: Hooks) -> Iterator[tuple[str, Any]]:
    setup = Setup(request, hooks)
    hooks.report(f"seed {request.seed}")
    facts = {"seed": request.seed, "threads": request.threads, "on": request.on}
    drawn = {"side": setup.pictures.resolution, "images": setup.pictures.batch(4, seed=0).digest()}
    yield key, facts | drawn | {"space": setup.space.name}


# --- what is refused, and what is not imported ---


@pytest.mark.parametrize(
    "verb",
    [
        SEARCH,
        ("score", "--random", "1"),
        ("prior", "fit", "--out", "p.json"),
        ("diagnose", "--out", "d"),
        ("diagnose", "--robustness", "--out", "d"),
        ("reproduce", "table1", "--data", "gaussian", "--out", "t"),
        ("reproduce", "choose", "f", "--out", "t"),
    ],
    ids=lambda verb: " ".join(verb[:2]),
)
def test_workers_need_a_cluster(
    verb: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused(here(*verb, "--actors", "2"))
    assert "--actors 2 is of workers of a cluster: pass --on ray too, or drop --actors" in said
    assert "`on` must be local | ray" in refused(here(*verb, "--on", "dask"))


def test_without_ray_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    """In a process whose path has all packages of this one but Ray."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for folder in {sysconfig.get_path(name) for name in ("purelib", "platlib")}:
        for each in Path(folder).iterdir():
            if not each.name.lower().startswith("ray") and not (packages / each.name).exists():
                (packages / each.name).symlink_to(each)
    ours = {Path(str(find_spec(name).origin)).parents[1] for name in ("znas", "znas_engine")}  # type: ignore[union-attr]
    apart = [str(folder) for folder in ours if not (folder / "ray").exists()]  # not installed: beside no Ray
    done = subprocess.run(
        [sys.executable, "-S", "-m", "znas", *SEARCH, "--on", "ray"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*apart, str(packages)])},
        timeout=300,
    )
    assert refused(done) == (
        "znas-engine: error: --on ray needs Ray, which is not installed: pip install 'znas-engine[cluster]', "
        "or leave --on out"
    )


def test_nothing_else_imports_ray() -> None:
    script = (
        "import sys; from znas.cli import run; "
        f"code = run({[*SEARCH, '--quiet']!r}); "
        "found = [name for name in sys.modules if name.partition('.')[0] == 'ray']; "
        "sys.exit(code or (f'imported {found}' if found else 0))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
