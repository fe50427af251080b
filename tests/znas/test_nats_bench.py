"""NATS-Bench's own folder: numbers come back, nothing is executed.

The folder is written in the layout of its published writer (AutoDL-Projects, exps/NATS-Bench/tss-collect.py)
and reader (NATS-Bench, nats_bench/api_utils.py).
"""

from __future__ import annotations

import bz2
import multiprocessing
import os
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from znas_engine.data.pickles import RefusedPickle, unpickle, unpickle_results
from znas_engine.errors import DataError
from znas_engine.spaces.base import Columns
from znas_engine.spaces.darts import Darts
from znas_engine.spaces.nasbench201 import NasBench201, folder, nats_bench
from znas_engine.spaces.nasbench201.nats_bench import MAX_BYTES, META
from znas_engine.tables import read_table

pytestmark = pytest.mark.ours

NB201 = NasBench201()
SETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("ori-test", "x-valid", "x-test"),
    "ImageNet16-120": ("ori-test", "x-valid", "x-test"),
}
SEEDS = {"12": (111, 777), "200": (777, 888, 999)}


def one_result(arch: str, dataset: str, seed: int, epochs: int, rng: np.random.Generator) -> dict[str, Any]:
    """`ResultsCount.state_dict()`"""
    every = range(epochs)
    keys = [f"{name}@{i}" for name in SETS[dataset] for i in every]
    return {
        "name": dataset,
        "net_state_dict": None,
        "train_acc1es": OrderedDict((i, rng.uniform(0, 100)) for i in every),
        "train_acc5es": {i: float(rng.uniform(0, 100)) for i in every},
        "train_losses": {i: float(rng.uniform(0, 5)) for i in every},
        "train_times": OrderedDict((i, 7.5) for i in every),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": arch, "class_num": 10},
        "params": np.float64(1.07),
        "flop": 153.27,
        "seed": str(seed),
        "epochs": epochs,
        "latency": [0.0139],
        "eval_names": list(SETS[dataset]),
        "eval_acc1es": {key: float(rng.uniform(0, 100)) for key in keys},
        "eval_times": dict.fromkeys(keys, 0.5),
        "eval_losses": {key: float(rng.uniform(0, 5)) for key in keys},
    }


def one_architecture(index: int, arch: str, rng: np.random.Generator) -> Any:
    """`OrderedDict({"12": ArchResults.state_dict(), "200": ...})`; the second seeds only on some sets."""
    found = OrderedDict()
    for hp, seeds in SEEDS.items():
        dataset_seed = {d: list(seeds if d != "ImageNet16-120" else seeds[:1]) for d in SETS}
        found[hp] = {
            "arch_index": index,
            "arch_str": arch,
            "all_results": {
                (dataset, seed): one_result(arch, dataset, seed, int(hp), rng)
                for dataset, trained in dataset_seed.items()
                for seed in trained
            },
            "dataset_seed": dataset_seed,
            "clear_net_done": True,
        }
    return found


def write(path: Path, data: object, protocol: int = 4) -> None:
    path.write_bytes(bz2.compress(pickle.dumps(data, protocol=protocol)))


def write_folder(folder: Path, numbers: tuple[int, ...] = (0, 1, 5)) -> dict[int, Any]:
    """Six architectures of the benchmark, results of some of them; returns what was written."""
    rng = np.random.default_rng(0)
    archs = [str(NB201.genotype(NB201.random_path(rng))) for _ in range(6)]
    folder.mkdir()
    meta = {"meta_archs": archs, "total_archs": len(archs), "arch2infos": None, "evaluated_indexes": set()}
    write(folder / META, meta)
    written = {number: one_architecture(number, archs[number], rng) for number in numbers}
    for number, data in written.items():
        write(folder / f"{number:06d}.pickle.pbz2", data)
    return {number: (archs[number], data) for number, data in written.items()}


def test_a_folder_is_a_table(tmp_path: Path) -> None:
    """Every column is the mean over seeds of the last epoch, CIFAR-10 test after 200 epochs first."""
    written = write_folder(tmp_path / "simple")
    table = read_table(tmp_path / "simple", NB201)
    assert [str(genotype) for genotype in table.genotypes] == [arch for arch, _ in written.values()]
    assert table.column(None)[0] == "cifar10_test_200ep"
    named = {
        "cifar10_test": ("cifar10", "ori-test"),
        "cifar10_val": ("cifar10-valid", "x-valid"),
        "cifar100_val": ("cifar100", "x-valid"),
        "cifar100_test": ("cifar100", "x-test"),
        "imagenet16_val": ("ImageNet16-120", "x-valid"),
        "imagenet16_test": ("ImageNet16-120", "x-test"),
    }
    assert set(table.columns) == {f"{name}_{hp}ep" for name in named for hp in ("12", "200")}
    for row, (_, data) in enumerate(written.values()):
        for name, (dataset, split) in named.items():
            for hp, last in (("12", 11), ("200", 199)):
                results = data[hp]["all_results"]
                expected = np.mean(
                    [r["eval_acc1es"][f"{split}@{last}"] for (d, _), r in results.items() if d == dataset]
                )
                assert table.columns[f"{name}_{hp}ep"][row] == pytest.approx(expected)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the entries lie, in an empty cache."""
    monkeypatch.setenv("ZNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(folder, "BATCH", 2)
    return tmp_path / "cache" / "tables"


def same(first: Columns, second: Columns) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[n], second[n]) for n in first)


def entries(kept: Path) -> list[Path]:
    return sorted(path for path in kept.iterdir() if not path.suffix)


def unread(*_: object) -> Any:
    raise AssertionError("a file was read again")


def test_what_was_read_is_kept_until_a_file_changes(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where name, size and time stay what they were."""
    simple = tmp_path / "simple"
    write_folder(simple)
    seen: list[tuple[int, int]] = []
    _, first = NB201.read_folder(simple, lambda done, total: seen.append((done, total)))
    assert seen == [(2, 3), (3, 3)]
    recorded = [path.read_bytes() for path in entries(kept)]
    assert len(recorded) == 2
    with monkeypatch.context() as patch:
        patch.setattr(nats_bench, "accuracies", unread)
        shutil.copytree(simple, tmp_path / "moved")
        assert same(first, NB201.read_folder(tmp_path / "moved")[1])
    assert [path.read_bytes() for path in entries(kept)] == recorded
    path = simple / "000001.pickle.pbz2"
    before = path.stat()
    write(path, one_architecture(1, "", np.random.default_rng(9)))
    other = path.read_bytes()
    path.write_bytes(other + bytes(max(0, before.st_size - len(other))))
    os.truncate(path, max(before.st_size, len(other)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    column = "cifar10_test_200ep"
    assert NB201.read_folder(simple)[1][column][1] != first[column][1]


def test_a_killed_reading_goes_on(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simple = tmp_path / "simple"
    write_folder(simple)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        NB201.read_folder(simple, interrupt)
    assert len(entries(kept)) == 1
    read: list[str] = []
    honest = nats_bench.accuracies
    monkeypatch.setattr(
        nats_bench, "accuracies", lambda path, raw: read.append(path.name) or honest(path, raw)
    )
    NB201.read_folder(simple)
    assert read == ["000005.pickle.pbz2"]


@settings(max_examples=20)
@given(
    flips=st.lists(st.integers(0, 7999), min_size=1, max_size=3, unique=True),
    end=st.none() | st.integers(0, 1000),
)
def test_no_damage_of_the_cache_changes_a_table(
    flips: list[int], end: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("damage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZNAS_CACHE", str(tmp_path / "cache"))
        write_folder(tmp_path / "simple", numbers=(0,))
        _, first = NB201.read_folder(tmp_path / "simple")
        (path,) = entries(tmp_path / "cache" / "tables")
        damaged = bytearray(path.read_bytes())
        for bit in flips:
            damaged[bit // 8 % len(damaged)] ^= 1 << bit % 8
        path.write_bytes(damaged[:end])
        said: list[str] = []
        assert same(first, NB201.read_folder(tmp_path / "simple", report=said.append)[1])
        assert len(said) == 1


def _read(root: str, simple: str, start: Any, results: Any) -> None:
    os.environ["ZNAS_CACHE"] = root
    start.wait()
    table = NB201.read_folder(Path(simple))[1]
    results.put({name: values.tolist() for name, values in table.items()})


def test_several_read_one_table_at_a_time(tmp_path: Path, kept: Path) -> None:
    write_folder(tmp_path / "simple")
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    given = (str(tmp_path / "cache"), str(tmp_path / "simple"), start, results)
    readers = [context.Process(target=_read, args=given) for _ in range(4)]
    for reader in readers:
        reader.start()
    start.set()
    found = [results.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join()
    assert found == [found[0]] * 4


def test_the_cache_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simple = tmp_path / "simple"
    write_folder(simple)
    _, first = NB201.read_folder(simple)
    monkeypatch.setenv("ZNAS_CACHE", os.devnull)
    said: list[str] = []
    assert same(first, NB201.read_folder(simple, report=said.append)[1])
    assert "going on without it" in said[0]


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch executed",)


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "simple"
    write_folder(folder)
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 2, 4):
        write(folder / "000001.pickle.pbz2", {"12": Hostile()}, protocol)
        with pytest.raises(DataError, match=r"000001.* is refused: it asks to run '(posix|nt)\.system'"):
            NB201.read_folder(folder)
    assert not (tmp_path / "executed").exists()


def test_refused_and_damaged_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "simple"
    written = write_folder(folder)
    path = folder / "000001.pickle.pbz2"
    good = path.read_bytes()
    lacking = written[1][1]
    del lacking["200"]["all_results"]["cifar100", 888]
    for raw, message in (
        (bz2.compress(bytes(MAX_BYTES + 1)), "unfolds into more than .*ends in -simple"),
        (good[:-20], "is truncated"),
        (b"not bzip2", "cannot be read"),
        (bz2.compress(pickle.dumps([1, 2])), "is not laid out like results of NATS-Bench"),
        (bz2.compress(pickle.dumps(lacking)), r"not laid out .*KeyError: \('cifar100', 888\)"),
        (bz2.compress(pickle.dumps({"200": {"x": np.ones(3)}})), "not laid out like results"),
    ):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=f"000001.pickle.pbz2 {message}|000001.pickle.pbz2 .*{message}"):
            NB201.read_folder(folder)
    with pytest.raises(DataError, match="no reader in the space darts"):
        Darts().read_folder(folder)
    with pytest.raises(DataError, match=r"has no meta.pickle.pbz2: name one that ends in -simple"):
        read_table(tmp_path, NB201)
    path.write_bytes(good)
    write(folder / "000009.pickle.pbz2", written[0][1])
    with pytest.raises(DataError, match=r"numbered up to 9, where meta.pickle.pbz2 lists 6"):
        NB201.read_folder(folder)


def test_images_are_as_strict_as_before() -> None:
    """Floats, sets and ordered dictionaries are read in results only."""
    for value in (1.5, {1}, OrderedDict(a=1), np.float64(2.5)):
        raw = pickle.dumps(value, protocol=4)
        assert unpickle_results(raw) == value
        with pytest.raises(RefusedPickle):
            unpickle(raw)
