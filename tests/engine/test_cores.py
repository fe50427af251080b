"""How many cores a process may use: the affinity, and the quota of any group that it is in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from znas_engine.cores import available_cores

pytestmark = pytest.mark.ours

HERE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(root: Path, groups: str, files: dict[str, str | bytes]) -> Path:
    """A system whose control groups are these."""
    for name, text in {"proc/self/cgroup": groups}.items() | {
        (f"sys/fs/cgroup/{name}", text) for name, text in files.items()
    }:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def v1(folder: str, quota: str, period: str = "100000") -> dict[str, str | bytes]:
    return {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": period}


ONE: list[tuple[str, str, dict[str, str | bytes]]] = [
    ("its own group", "0::/job", {"job/cpu.max": "100000 100000\n"}),
    ("half a core", "0::/job", {"job/cpu.max": "50000 100000\n"}),
    ("a thousandth of one", "0::/job", {"job/cpu.max": "1000 1000000\n"}),
    ("a group above", "0::/a/b/c", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}),
    ("the tightest", "0::/a/b", {"a/cpu.max": "900000 100000", "a/b/cpu.max": "70000 100000"}),
    ("a container's own mount", "0::/docker/1f2e", {"cpu.max": "100000 100000\n"}),
    ("a path outside", "0::/../../other", {"cpu.max": "99999 100000\n"}),
    ("version 1", "4:memory:/\n2:cpu,cpuacct:/job", v1("cpu,cpuacct/job", "100000\n")),
    ("version 1 alone", "1:cpu:/job", v1("cpu/job", "20000\n", "25000\n")),
    ("version 1, linked", "3:cpuacct,cpu:/job", v1("cpu/job", "100000\n")),
    ("version 1 above", "1:cpu:/a/b", v1("cpu/a/b", "-1") | v1("cpu/a", "100000")),
    ("both", "1:cpu:/job\n0::/", v1("cpu/job", "100000") | {"cpu.max": "max 100000"}),
]
ALL: list[tuple[str, str, dict[str, str | bytes]]] = [
    ("no limit", "0::/job", {"job/cpu.max": "max 100000\n"}),
    ("no limit in version 1", "1:cpu:/", v1("cpu", "-1\n")),
    ("no groups", "", {}),
    ("another controller", "4:memory:/job", v1("memory/job", "100000")),
    ("a neighbour's", "0::/job", {"jobs/cpu.max": "1 100000"}),
    ("no digits", "0::/job", {"job/cpu.max": "١٠٠ 100000"}),
    ("a period of nothing", "0::/job", {"job/cpu.max": "100000 0"}),
    ("a quota of nothing", "0::/job", {"job/cpu.max": "0 100000"}),
    ("negative", "0::/job", {"job/cpu.max": "-5 100000"}),
    ("bytes", "0::/job", {"job/cpu.max": b"\xff\xfe\0"}),
    ("digits without end", "0::/job", {"job/cpu.max": "9" * 5000}),
    ("more than there are", "0::/job", {"job/cpu.max": "99900000 100000"}),
]


@pytest.mark.parametrize(("what", "groups", "files"), ONE, ids=[each[0] for each in ONE])
def test_a_quota_of_one_core(
    what: str, groups: str, files: dict[str, str | bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert available_cores(machine(tmp_path, groups, files)) == 1


@pytest.mark.parametrize(("what", "groups", "files"), ALL, ids=[each[0] for each in ALL])
def test_no_quota(
    what: str, groups: str, files: dict[str, str | bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert available_cores(machine(tmp_path, groups, files)) == 8


@pytest.mark.parametrize(("quota", "cores"), [(100_000, 1), (100_001, 2), (250_000, 3), (800_000, 8)])
def test_a_part_of_a_core_is_one(
    quota: int, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert available_cores(machine(tmp_path, "0::/", {"cpu.max": f"{quota} 100000"})) == cores


@given(st.binary(max_size=60), st.binary(max_size=40), st.binary(max_size=40))
def test_whatever_the_files_hold(
    tmp_path_factory: pytest.TempPathFactory, groups: bytes, ours: bytes, older: bytes
) -> None:
    root = tmp_path_factory.mktemp("system")
    machine(root, "0::/\n1:cpu:/\n", {"cpu.max": ours, "cpu/cpu.cfs_quota_us": older})
    assert 1 <= available_cores(root) <= HERE
    (root / "proc/self/cgroup").write_bytes(groups)
    assert 1 <= available_cores(root) <= HERE


def test_folders_and_pipes_in_place_of_files(tmp_path: Path) -> None:
    machine(tmp_path, "0::/a", {})
    (tmp_path / "sys/fs/cgroup/a/cpu.max").mkdir(parents=True)
    os.mkfifo(tmp_path / "sys/fs/cgroup/cpu.max")
    assert available_cores(tmp_path) == HERE
    assert available_cores(tmp_path / "nothing") == HERE
