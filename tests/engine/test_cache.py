from __future__ import annotations

import json
import multiprocessing
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SPACES, small
from znas_engine import paths
from znas_engine.backends import get_backend
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import StorageError
from znas_engine.storage import load, load_or_build, store

NB201 = SPACES["nasbench201"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZNAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entry(root: Path, kind: str = "kind") -> Path:
    (path,) = (p for p in (root / kind).iterdir() if not p.suffix)
    return path


def build_once(data: bytes = b"content" * 100) -> tuple[bytes, list[str], list[int]]:
    said: list[str] = []
    built: list[int] = []

    def build() -> bytes:
        built.append(1)
        return data

    return load_or_build("kind", {"a": 1}, build, report=said.append), said, built


def test_builds_once_and_says_what_it_was_made_from(root: Path) -> None:
    assert build_once() == (b"content" * 100, [], [1])
    assert build_once() == (b"content" * 100, [], [])
    facts = json.loads(entry(root).with_suffix(".json").read_text())
    assert facts["key"] == {"a": 1}
    assert facts["bytes"] == 700


@pytest.mark.parametrize(
    "damage", ["truncate", "flip", "empty", "no note", "note is no JSON", "note is a list"]
)
def test_damaged_entries_are_rebuilt_with_a_word(root: Path, damage: str) -> None:
    build_once()
    path = entry(root)
    note = path.with_suffix(".json")
    match damage:
        case "truncate":
            path.write_bytes(path.read_bytes()[:-1])
        case "flip":
            path.write_bytes(b"X" + path.read_bytes()[1:])
        case "empty":
            path.write_bytes(b"")
        case "no note":
            note.unlink()
        case "note is no JSON":
            note.write_text("{")
        case "note is a list":
            note.write_text("[]")
    data, said, built = build_once()
    assert data == b"content" * 100
    assert built == [1]
    assert len(said) == 1
    assert "damaged; building it again" in said[0]
    assert build_once() == (b"content" * 100, [], [])


def test_a_failing_build_leaves_nothing(root: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        load_or_build("kind", {}, fail, report=print)
    assert [p.suffix for p in (root / "kind").iterdir()] in ([], [".lock"])


def test_unusable_folder_is_one_clear_line(root: Path) -> None:
    root.parent.mkdir(exist_ok=True)
    root.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"cache folder .* cannot be used .*; set ZNAS_CACHE to another"):
        build_once()


def test_atomic_write_replaces_whole_files_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "file"
    paths.replace(path, b"one")
    paths.replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_an_entry_of_another_version_is_rebuilt_with_a_word(root: Path) -> None:
    said: list[str] = []

    def built_by(version: str) -> bytes:
        return load_or_build("kind", {}, version.encode, report=said.append, made_by={"Library": version})

    assert [built_by("1"), built_by("1"), built_by("2"), built_by("2")] == [b"1", b"1", b"2", b"2"]
    assert len(said) == 1
    assert "was made by Library 1, not Library 2; building it again" in said[0]
    assert len([p for p in (root / "kind").iterdir() if not p.suffix]) == 1


versions = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3)


@given(steps=st.lists(st.tuples(versions, versions), max_size=12))
def test_an_entry_is_what_its_key_and_versions_say(
    steps: list[tuple[dict[str, int], dict[str, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A dictionary from keys to (versions, data) predicts what is built and what is found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZNAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        model: dict[str, tuple[dict[str, int], bytes]] = {}
        for count, (key, made_by) in enumerate(steps):
            name = str(sorted(key.items()))
            if name not in model or model[name][0] != made_by:
                model[name] = (made_by, str(count).encode())
            found = load_or_build("kind", key, str(count).encode, report=lambda line: None, made_by=made_by)
            assert found == model[name][1]


def test_what_was_stored_is_loaded_until_it_is_damaged(root: Path) -> None:
    said: list[str] = []
    assert load("kind", {}, report=said.append) is None
    store("kind", {}, b"one")
    store("kind", {}, b"two")
    assert load("kind", {}, report=said.append) == b"two"
    assert load("kind", {}, report=said.append, made_by={"Library": "1"}) is None
    assert "was made by another version, not Library 1" in said.pop()
    entry(root).write_bytes(b"tw")
    assert load("kind", {}, report=said.append) is None
    assert "damaged" in said.pop()


KILLED = """
import os, sys, time
from znas_engine import paths
from znas_engine.storage import load_or_build

def stop(*_):
    print("here", flush=True)
    time.sleep(600)

where = sys.argv[1]
if where == "while it writes":
    os.fsync = stop
load_or_build("kind", {"a": 1}, stop if where == "while it builds" else lambda: b"x" * 100, report=print)
"""


@pytest.mark.parametrize("where", ["while it builds", "while it writes"])
def test_a_killed_process_leaves_no_lock_and_no_half_entry(where: str, root: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, where], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.kill()
    process.communicate()
    assert build_once() == (b"content" * 100, [], [1])
    assert {p.suffix for p in (root / "kind").iterdir()} == {"", ".json", ".lock"}
    assert not [p for p in (root / "kind").iterdir() if p.name.startswith(".")]


def _fill(root: str, start: Any, results: Any) -> None:
    import os
    import time

    os.environ["ZNAS_CACHE"] = root
    built = []

    def build() -> bytes:
        built.append(1)
        time.sleep(0.2)
        return bytes(1_000_000)

    start.wait()
    data = load_or_build("kind", {"shared": True}, build, report=lambda line: built.append(100))
    results.put((len(built), len(data)))


def test_processes_filling_one_cache_build_once(root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=_fill, args=(str(root), start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sum(built for built, _ in found) == 1
    assert {size for _, size in found} == {1_000_000}


def test_a_corrupt_exported_graph_gives_the_same_scores_again(root: Path, images: Batch) -> None:
    environment = Environment(1, "gaussian", images)
    said: list[str] = []

    def logits() -> Any:
        backend = get_backend("ort")(NB201, small(NB201), report=said.append)
        return backend.observe(NB201.mixture()[None], environment)[0].logits

    first = logits()
    for kind in ("onnx", "calibration"):
        path = entry(root, kind)
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    assert np.array_equal(logits(), first)
    assert len(said) == 2


def test_keys_tell_environments_sizes_and_outputs_apart(root: Path, images: Batch) -> None:
    for norm in ("calibrated", "identity"):
        for seed in (0, 1):
            backend = get_backend("ort")(NB201, small(NB201), norm=norm)
            backend.observe(NB201.mixture()[None], Environment(seed, "gaussian", images))
            backend.observe(NB201.mixture()[None], Environment(seed, "uniform", images), reads=["codes"])
    assert len([p for p in (root / "onnx").iterdir() if not p.suffix]) == 8
    assert len([p for p in (root / "calibration").iterdir() if not p.suffix]) == 4
