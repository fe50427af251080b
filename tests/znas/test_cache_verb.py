"""`znas-engine cache`: sizes are those of the files, and only what is ours goes."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from znas.cli import run
from znas.cli.cache import size
from znas_engine import storage, stored

pytestmark = pytest.mark.ours

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two kinds, and what is not ours beside them."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ZNAS_CACHE", str(folder))
    for kind, count in (("graph", 2), ("calibration", 1)):
        for i in range(count):
            storage.load_or_build(kind, {"number": i}, lambda: b"x" * 1000, report=pytest.fail)
    return folder


def strangers(root: Path) -> list[Path]:
    """Names like ours with other contents, contents like ours with other names, links and folders."""
    (root.parent / "precious").write_bytes(storage.MAGIC)
    found = [root / "readme", root / "graph" / "notes.txt", root / "graph" / ("a" * 32)]
    found += [root / "graph" / f"{'b' * 32}.lock", root / "graph" / f".{'c' * 32}.{'d' * 16}.tmp"]
    for path in found:
        path.write_text("mine")
    (root / "mine").mkdir()
    (root / "mine" / "model.bin").write_bytes(storage.MAGIC)
    (root / "graph" / ("e" * 32)).symlink_to(root.parent / "precious")
    (root / "graph" / ("f" * 32)).mkdir()
    return [*found, root / "mine" / "model.bin", root / "graph" / ("e" * 32), root / "graph" / ("f" * 32)]


def asked(capsys: Capture, *words: str) -> dict[str, Any]:
    assert run(["cache", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_sizes_are_those_of_the_files(root: Path, capsys: Capture) -> None:
    others = strangers(root)
    shown = asked(capsys, "show")
    files = [p for p in root.rglob("*") if p.is_file() and not p.is_symlink() and p not in others]
    assert shown["folder"] == str(root)
    assert (shown["entries"], shown["bytes"]) == (3, sum(p.stat().st_size for p in files))
    assert {kind: of["entries"] for kind, of in shown["kinds"].items()} == {"calibration": 1, "graph": 2}
    assert shown["others"] == len(others)
    assert run(["cache", "show"]) == 0
    out = capsys.readouterr().out
    assert f"holds       3 entries, {size(shown['bytes'])}" in out
    assert f"{len(others)} files that znas-engine did not make" in out


def test_clean_removes_what_is_ours_and_nothing_else(root: Path, capsys: Capture) -> None:
    others = strangers(root)
    (entry, *_) = [each for each in stored.contents().ours if each.entry and each.kind == "graph"]
    (root / "graph" / f".{'0' * 32}.{'1' * 16}.tmp").write_bytes(storage.MAGIC + b"of a killed process")
    (root / "graph" / ("2" * 32)).write_bytes(storage.MAGIC[:5])
    assert asked(capsys, "clean")["entries"] == 4
    assert not entry.path.exists()
    assert all(os.path.lexists(path) for path in others)
    assert (root.parent / "precious").read_bytes() == storage.MAGIC
    assert not (root / "calibration").exists()
    left = {path for path in root.rglob("*") if not stat.S_ISDIR(path.lstat().st_mode)}
    assert left == {path for path in others if path != root / "graph" / ("f" * 32)}
    assert asked(capsys, "clean") == {
        "folder": str(root), "entries": 0, "bytes": 0, "left": 0, "others": len(others)
    }  # fmt: skip


def test_what_is_young_stays(root: Path, capsys: Capture) -> None:
    old = [each.path for each in stored.contents().ours if each.kind == "graph"]
    for path in old:
        os.utime(path, times=(time.time() - 3 * 86400,) * 2)
    assert asked(capsys, "clean", "--older-than", "2")["entries"] == 2
    assert {each.kind for each in stored.contents().ours} == {"calibration"}
    assert run(["cache", "clean", "--older-than", "-1"]) == 2
    assert "must be a number of days, 0 or more, but got -1" in capsys.readouterr().err


def test_a_cache_that_is_not_there_or_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("ZNAS_CACHE", str(tmp_path / "absent"))
    assert asked(capsys, "show")["entries"] == asked(capsys, "clean")["entries"] == 0
    assert not (tmp_path / "absent").exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZNAS_CACHE", str(tmp_path / "file"))
    assert run(["cache", "show"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_changes_after_the_look_stays(root: Path) -> None:
    found = stored.contents()
    changed = next(each.path for each in found.ours if each.entry)
    changed.write_text("somebody else's")
    removed = list(stored.clean(found))
    assert changed.read_text() == "somebody else's"
    assert changed not in {each.path for each in removed}


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_499, "999 kB"), (999_999, "1 MB"), (25e12, "25 TB")],
)
def test_sizes_in_words(count: float, words: str) -> None:
    assert size(int(count)) == words
