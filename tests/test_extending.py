"""docs/extending.md is true: its files are written, its blocks run, its commands given."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from znas.cli import VERBS, main
from znas_engine.graph import Builder

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
#: Path -> text of what becomes a file.
FILES = {
    found[1]: text
    for _, text in BLOCKS
    if (found := re.match(r"# ([\w/]+\.(?:py|toml))\n", text)) is not None
}
SCRIPTS = [text for language, text in BLOCKS if language == "python" and text not in FILES.values()]
COMMANDS = [
    line.removeprefix("$ ")
    for language, text in BLOCKS
    if language == "console"
    for line in text.splitlines()
    if line.startswith("$ ")
]
SPACE = ("my_package/space.py", "my_package/network.py")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, and what pip would write for its pyproject.toml."""
    folder = tmp_path_factory.mktemp("extending")
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    facts = folder / f"my_package-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in named.items())
        for group, named in project["entry-points"].items()
    )
    (facts / "entry_points.txt").write_text(points)
    return folder


def run(package: Path, *command: str, installed: bool = False) -> subprocess.CompletedProcess[str]:
    """In its folder, where files can be imported; installed: with its entry points."""
    path = [str(package)] if installed else []
    path += filter(None, [os.environ.get("PYTHONPATH")])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=package if not installed else package.parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def znas_engine(package: Path, command: str, *, installed: bool = False) -> str:
    words = shlex.split(command)
    assert words[0] == "znas-engine"
    return run(package, "-m", "znas", *words[1:], installed=installed).stdout


def lines_of_code(text: str) -> int:
    """Lines that hold more than a comment; those of docstrings count."""
    return sum(bool(line.split("#")[0].strip()) for line in text.splitlines())


def test_the_page_has_what_it_promises() -> None:
    assert set(SPACE) < set(FILES)
    assert len(SCRIPTS) >= 2
    assert len(COMMANDS) >= 5
    assert {language for language, _ in BLOCKS} == {"python", "console", "toml"}


def test_a_space_takes_fewer_than_80_lines() -> None:
    assert lines_of_code('"""x"""\n\nimport a  # b\n\n# c\ndef f():\n    """d"""\n    return 1\n') == 5
    assert lines_of_code(FILES["my_package/space.py"]) < 80


def test_every_method_of_a_builder_is_listed() -> None:
    made = []
    for name, method in inspect.getmembers(Builder, inspect.isfunction):
        if not name.startswith("_"):
            _, *taken = inspect.signature(method).parameters.values()
            bare = [each.replace(annotation=inspect.Parameter.empty) for each in taken]
            made.append(f"{name}{inspect.Signature(bare)}")
    table = PAGE.split("\n| method | node |\n")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)) == sorted(made)


@pytest.mark.parametrize("script", SCRIPTS)
def test_its_scripts_run(script: str, package: Path) -> None:
    assert run(package, "-c", script).stdout


@pytest.mark.parametrize("command", [each for each in COMMANDS if "my_package.backend" not in each])
def test_its_commands_run(command: str, package: Path) -> None:
    installed = "my_package" not in command
    first = znas_engine(package, command, installed=installed).splitlines()[0]
    assert re.fullmatch(r"[0-3]_[0-3]{2}_[0-3]{3}", first)


def test_its_backend_runs(package: Path) -> None:
    (command,) = (each for each in COMMANDS if "my_package.backend" in each)
    assert "(timed, " in znas_engine(package, command)


def test_its_verb_is_one_file_and_a_line(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = spec_from_file_location("znas.cli.count", package / "python" / "znas" / "cli" / "count.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "znas.cli.count", module)
    monkeypatch.setattr("znas.cli.VERBS", (*VERBS, "count"))
    with pytest.raises(SystemExit) as left:
        main(["count", "--space", "nasbench201"])
    assert left.value.code == 0
    assert capsys.readouterr().out == "nasbench201: 6 edges, 30 choices\n"


def test_what_it_makes_keeps_the_contracts(package: Path) -> None:
    """Of the backend's, which takes minutes, what it says of itself."""
    quick = ["-k", "not TestTimed or says_of_itself"]
    done = run(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_contracts.py", *quick)
    for contract in ("SpaceContract", "ScoreContract", "DataContract", "BackendContract"):
        assert f"({contract})" in FILES["tests/test_contracts.py"]
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 40
