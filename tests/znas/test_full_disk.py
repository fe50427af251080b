"""A disk that is full: one line, exit code 2, nothing half-written, nothing lost.

A limit on the size of files stands in for it: the kernel refuses the write that crosses it (EFBIG), at any
point of a file, as it would with ENOSPC.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import supernet

pytestmark = pytest.mark.ours

SMALL = [*supernet(4, 1, 16, 8), "--seed", "1"]


def znas(*arguments: str | Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    program = "from znas.cli import main; main()"
    if limit is not None:
        program = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); {program}"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True
    )


def refused(done: subprocess.CompletedProcess[str], what: str) -> None:
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert what in lines[0]
    assert "File too large" in lines[0]


@pytest.mark.parametrize("limit", [0, 300, 2000])
def test_a_prior_is_fitted_once_there_is_room(limit: int, tmp_path: Path) -> None:
    """Whether the work file or the prior itself does not fit, what was finished before stays."""
    out = tmp_path / "prior.json"
    fit = ["prior", "fit", "--out", out, "--envs", "3", "-q", *SMALL]
    refused(znas(*fit, limit=limit), "cannot be")
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] in (["prior.json.work"], [])
    done = znas(*fit)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["prior.json"]
    whole = tmp_path / "whole.json"
    assert znas("prior", "fit", "--out", whole, "--envs", "3", "-q", *SMALL).returncode == 0
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("backend", ["native", "ort"])
def test_a_search_leaves_no_half_run(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZNAS_CACHE", str(tmp_path / "cache"))
    runs = tmp_path / "runs"
    search = ["search", "--finalists", "3", "--backend", backend, "--out", runs / "first", "-q", *SMALL]
    refused(znas(*search, limit=1000), "the output")  # ort goes on without its cache
    assert not runs.exists() or list(runs.iterdir()) == []
    done = znas(*search)
    assert done.returncode == 0, done.stderr
    assert (runs / "first" / "architecture.untrained.onnx").is_file()


@pytest.mark.parametrize("limit", [0, 1000])
def test_an_export_is_whole_or_absent(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache, which is full too, is a remark; the output is the error, and nothing is said to be there."""
    monkeypatch.setenv("ZNAS_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "new" / "supernet.onnx"
    export = ["export", "--out", out, *SMALL]
    done = znas(*export, limit=limit)
    assert (done.returncode, done.stdout) == (2, "")
    remark, error = done.stderr.strip().splitlines()
    assert "cannot be written (File too large): going on without it" in remark
    assert f"the output {out} cannot be written (File too large)" in error
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    done = znas(*export)
    assert done.returncode == 0, done.stderr
    assert out.is_file()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nothing")
    for taken in (out, tmp_path, link, "/dev/full"):
        done = znas("export", "--out", taken, *SMALL)
        assert done.returncode == 2
        assert done.stderr.splitlines() == [
            f"znas-engine: error: the output {taken} exists already; name another one or move it away"
        ]
    assert not (tmp_path / "nothing").exists()
