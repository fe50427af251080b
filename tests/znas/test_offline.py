"""No command opens a socket, and none leaves anything in the home folder but its cache."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from tests.command import supernet
from tests.conftest import SPACES
from tests.no_network import SKIPPED
from znas_engine import silent

pytestmark = pytest.mark.ours

HERE = Path(__file__).parents[2]
SIGSYS = 31
NB201 = SPACES["nasbench201"]

SIZE = [*supernet(4, 1, 16), "--seed", "1"]
SMALL = [*SIZE, "--images", "8"]


def forbidden(
    *command: str | Path, home: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command in a home folder of its own, where a socket is its death.

    No variable tells it that this is a continuous integration: there ONNX Runtime keeps silent by itself.
    """
    kept = ("PATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR")
    inherited = {name: os.environ[name] for name in kept if name in os.environ}
    program = [sys.executable, HERE / "tests" / "no_network.py", sys.executable, *command]
    done = subprocess.run(
        list(map(str, program)),
        env=inherited | {"HOME": str(home)} | (environment or {}),
        capture_output=True,
        text=True,
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    return done


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK"])
def test_a_socket_is_the_death_of_a_process(family: str, tmp_path: Path) -> None:
    """The filter bites, also in threads and in children, and lets local sockets be."""
    code = (
        "import socket, sys, threading\n"
        "socket.socket(socket.AF_UNIX).close()\n"
        "print('here', flush=True)\n"
        f"made = threading.Thread(target=socket.socket, args=(socket.{family},))\n"
        "made.start(); made.join(); print('there')"
    )
    done = forbidden("-c", code, home=tmp_path)
    assert (done.returncode, done.stdout) == (-SIGSYS, "here\n")
    child = f"import subprocess, sys; print(subprocess.run([sys.executable, '-c', {code!r}]).returncode)"
    assert forbidden("-c", child, home=tmp_path).stdout == f"here\n{-SIGSYS}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands below read: a table of a few architectures, and where they write."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "home").mkdir()
    rng = np.random.default_rng(0)
    architectures = {str(NB201.genotype(NB201.random_path(rng))) for _ in range(40)}
    lines = [f"{arch},{50 + i}" for i, arch in enumerate(sorted(architectures))]
    (folder / "table.csv").write_text("\n".join(["arch,cifar10_test", *lines]) + "\n")
    return folder


PATH = {"PYTHONPATH": os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)}
#: One after the other: a later one of a line reads what an earlier one wrote.
COMMANDS = {
    "help": [["--help"]],
    "search, torch": [["search", "--backend", "torch", "--score", "naswot", "--finalists", "1", *SMALL]],
    "search, ort": [["search", "--backend", "ort", "--score", "naswot", "--finalists", "1", *SMALL]],
    "search": [
        ["search", "--score", "naswot", "--finalists", "2", "--out", "run", *SMALL],
        ["show", "run", "--html", "run.html"],
    ],
    "network": [["network", "nasbench201", "[3, 3, 3, 1, 2, 3]", "--out", "network"]],
    "export": [["export", "--out", "supernet.onnx", *SIZE]],
    "prior": [
        ["prior", "fit", "--out", "prior.json", "--envs", "2", *SMALL],
        ["prior", "show", "prior.json"],
        ["prior", "check", "prior.json", "--table", "table.csv"],
    ],
    "diagnose": [
        [
            *("diagnose", "--robustness", "--out", "diagnosis", "--seeds", "2", "--envs", "1"),
            *("--inits", "gaussian", "--ps", "0", "--norms", "calibrated", "--image-counts", "8"),
            *("--score", "naswot", *SMALL),
        ]
    ],
    "reproduce": [
        [
            *("reproduce", "correlation", "--out", "correlation", "--table", "table.csv"),
            *("--scores", "params", "--architectures", "10", "--data", "gaussian", *SMALL),
        ]
    ],
    "bench": [
        [
            *("bench", "--quick", "--part", "passes", "--space", "nasbench201", "--backend", "ort"),
            *(
                "--masks",
                "do",
                "--images",
                "8",
                "--threads",
                "1",
                "--supernet-channels",
                "4",
                "--supernet-cells",
                "1",
            ),
            *("--resolution", "16", "--rounds", "1"),
        ]
    ],
    "doctor": [["doctor"]],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_opens_a_socket(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for command in COMMANDS[name]:
        done = forbidden("-m", "znas", *command, home=place / "home", environment=PATH)
        says_no = command[:2] == ["prior", "check"] and done.returncode == 1
        assert done.returncode == 0 or says_no, done.stderr
    caches = [path.name for path in (place / "home").glob("*/*")]
    assert set(caches) <= {"znas-engine", "matplotlib"}


def test_the_reporter_starts_where_it_is_not_switched_off(tmp_path: Path) -> None:
    """What the tests above would see: it leaves its files before it calls."""
    code = "import os; from znas_engine import silent; silent.load('onnxruntime'); print(os.environ[{!r}])"
    traces = {}
    for chosen in ("0", "1", None):
        home = tmp_path / str(chosen)
        home.mkdir()
        environment = PATH | ({silent.VARIABLE: chosen} if chosen else {})
        done = forbidden("-c", code.format(silent.VARIABLE), home=home, environment=environment)
        assert done.stdout.strip() == (chosen or silent.OFF)  # the user's own choice stays
        traces[chosen] = list(home.iterdir())
    assert not traces["1"]
    assert not traces[None]
    if version("onnxruntime").startswith("1.32."):
        assert traces["0"]


def test_one_module_imports_onnx_runtime() -> None:
    found = []
    for top in ("python", "engine", "bench", "examples"):
        for path in sorted((HERE / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
                    names = [each.value for each in node.args if isinstance(each, ast.Constant)]
                found += [path for name in names if str(name).startswith("onnxruntime")]
    assert not found, f"use znas_engine.silent.load: {found}"
