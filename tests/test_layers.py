"""A space is one folder: nothing else in python/ or engine/ names one. Modules form no circle. What has one
place (docs/decisions/0012-strangers.md) is done nowhere else."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

from znas_engine.spaces import DEFAULT, SPACES

ROOT = Path(__file__).parents[1]
SPACES_FOLDER = ROOT / "engine" / "znas_engine" / "spaces"
#: However it is cut and spelt; DARTS+PT is a published method, MobileNetV2 a network of torchvision.
NAMES = re.compile(
    r"nas-?_?bench-?_?(?:201|macro)|nats-?_?bench|darts(?![-+_]?pt)|mobilenet(?!-?_?v2)", re.IGNORECASE
)
#: Where programs lie, and what was measured, which names what it measured.
PROGRAMS, MEASURED = ("python", "engine", "csrc", "bench", "stubs"), ("bench/results", "bench/pairs")
#: Files that have to name one.
EXCEPTIONS = {
    "engine/znas_engine/spaces/__init__.py": "the registry's lines; another test says which",
    "python/znas/reproduce/published.json": "published figures",
    "python/znas/training/baselines.py": "a network to compare with has one's name",
    "python/znas/cli/train.py": "and so has its help",
    "bench/run_gpu.sh": "a test of a GPU: every search has its options and its share of ten minutes",
}


def programs() -> list[str]:
    """All files that are no space's own, and not made by running."""
    own = {SPACES_FOLDER / name for name in SPACES.builtin} | {ROOT / folder for folder in MEASURED}
    paths = [path for top in PROGRAMS for path in sorted((ROOT / top).rglob("*")) if path.is_file()]
    found = [path.relative_to(ROOT) for path in paths if not own & set(path.parents)]
    return [
        path.as_posix()
        for path in found
        if path.suffix not in (".pyc", ".so", ".png") and not any(part[0] == "." for part in path.parts)
    ]


def names_in(source: str) -> Iterator[str]:
    """Names of spaces in identifiers, strings and bytes; docstrings and comments may speak of them."""
    tree = ast.parse(source)
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    }
    for node in ast.walk(tree):
        if id(node) in documents:
            continue
        fields = [value for _, value in ast.iter_fields(node)]
        for value in (each for field in fields for each in (field if isinstance(field, list) else [field])):
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if isinstance(text, str) and NAMES.search(text):
                yield text


def named(path: str, text: str) -> list[str]:
    """Names of spaces in a file's own name and in its text: all of it where it is not Python."""
    found = NAMES.findall(path)
    if path.endswith((".py", ".pyi")):
        return found + list(names_in(text))
    return found + ([] if path.endswith(".md") else NAMES.findall(text))


def test_there_are_programs_to_look_at() -> None:
    found = programs()
    assert len([path for path in found if path.endswith(".py")]) > 150
    kinds = {".pyi", ".cpp", ".hpp", ".cu", ".inl", ".sh", ".json"}
    assert kinds <= {Path(path).suffix for path in found}
    assert set(EXCEPTIONS) <= set(found)
    for name in SPACES.builtin:
        assert (SPACES_FOLDER / name / "__init__.py").is_file()
        assert NAMES.fullmatch(name)


@pytest.mark.parametrize("path", [path for path in programs() if path not in EXCEPTIONS])
def test_no_other_file_names_a_space(path: str) -> None:
    assert not named(path, (ROOT / path).read_text(encoding="utf-8"))


def test_the_registry_names_each_once() -> None:
    lines = [text for line in SPACES.builtin.items() for text in line]
    source = (SPACES_FOLDER / "__init__.py").read_text(encoding="utf-8")
    assert sorted(names_in(source)) == sorted([*lines, DEFAULT])


def test_names_are_seen_wherever_they_stand() -> None:
    hidden = '''
"""darts in a docstring"""
from a.darts import b
from c import nasbench201 as d
import e.darts
def f(darts="x"):
    "NAS-Bench-201 in a docstring"
    g.darts = {"nasbench201": f"{h} DARTS space"}
    return DartsPT, "darts-pt", "DARTS+PT", b"darts"
def i():
    global nats_bench
class J:
    darts
'''
    names = ["a.darts", "nasbench201", "e.darts", "darts", "darts", "nasbench201", " DARTS space"]
    assert sorted(names_in(hidden)) == sorted([*names, "darts", "nats_bench", "darts"])
    assert named("python/znas/selection/darts_rules.py", "") == ["darts"]
    assert named("csrc/src/native/run.cpp", "// DARTS\nint nasbench201 = 1;\n") == ["DARTS", "nasbench201"]
    assert named("python/znas/usual.json", '{"space": "darts"}') == ["darts"]
    assert named("engine/znas_engine/spaces/PRIORS.md", "of darts") == []


def test_the_engine_does_not_know_what_is_built_on_it() -> None:
    for path in (ROOT / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in modules if name.split(".")[0] == "znas"], path


def lines_in_functions(module: str) -> set[int]:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    functions = [
        node
        for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return {line for node in functions for line in range(node.lineno, (node.end_lineno or 0) + 1)}


def imports_of(*packages: str) -> dict[str, set[str]]:
    """What every module imports outside its functions, under TYPE_CHECKING too."""
    grimp = pytest.importorskip("grimp", reason="import-linter brings it")
    graph = grimp.build_graph(*packages, cache_dir=None)
    found = {}
    for module in graph.modules:
        late = lines_in_functions(module)
        found[module] = {
            imported
            for imported in graph.find_modules_directly_imported_by(module)
            for detail in graph.get_import_details(importer=module, imported=imported)
            if detail["line_number"] not in late
        }
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    imports = imports_of("znas", "znas_engine")
    assert "znas_engine.supernet.network" in imports["znas_engine.scores.gradients"]  # for its types
    assert "znas.run_folder" not in imports["znas.result"]  # inside a function
    TopologicalSorter(imports).prepare()  # CycleError names a circle


def test_a_circle_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "in_a_circle"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from in_a_circle.b import f\n")
    monkeypatch.syspath_prepend(tmp_path)
    (package / "b.py").write_text("def f() -> None:\n    from in_a_circle import a\n")
    TopologicalSorter(imports_of("in_a_circle")).prepare()
    (package / "b.py").write_text("if TYPE_CHECKING:\n    from in_a_circle import a\n")
    with pytest.raises(CycleError, match=r"in_a_circle\.[ab]"):
        TopologicalSorter(imports_of("in_a_circle")).prepare()


def lint_imports(checkout: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over a checkout, whatever is installed; the layers stand in its pyproject.toml."""
    pytest.importorskip("importlinter", reason="the extra dev brings import-linter")
    path = os.pathsep.join(str(checkout / top) for top in ("python", "engine"))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import importlinter.cli as c; raise SystemExit(c.lint_imports(no_cache=True))",
        ],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "Contracts: " in done.stdout, done.stdout + done.stderr
    return done


def test_every_import_goes_down_the_layers() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout


def test_an_import_that_goes_up_is_seen_inside_a_function_too(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for top in ("python", "engine"):
        shutil.copytree(ROOT / top, tmp_path / top, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    with (tmp_path / "python" / "znas" / "hooks.py").open("a") as hooks:
        hooks.write("\n\ndef up() -> None:\n    from znas.cli.show import show\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "2 kept, 1 broken" in done.stdout
    assert re.search(r"znas\.hooks -> znas\.cli\.show", done.stdout)


def functions_and_files() -> Iterator[tuple[str, int, int]]:
    """(what, its lines, how many it may have) in python/ and engine/."""
    for path in (path for top in ("python", "engine") for path in sorted((ROOT / top).rglob("*.py"))):
        text = path.read_text(encoding="utf-8")
        yield str(path), text.count("\n"), 400
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{path}: {node.name}", node.end_lineno - node.lineno + 1, 60


def test_functions_and_files_stay_readable() -> None:
    found = list(functions_and_files())
    assert len(found) > 1000
    assert not [(what, lines) for what, lines, most in found if lines > most]


#: What asks the system about a path, or changes what is there: functions and methods of these names.
OF_PATHS = {
    *("exists", "is_file", "is_dir", "is_symlink", "is_fifo", "stat", "lstat", "readlink", "samefile"),
    *("lexists", "access", "open", "read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "glob"),
    *("rglob", "walk", "listdir", "scandir", "mkdir", "makedirs", "touch", "unlink", "rmdir", "rmtree"),
    *("rename", "renames", "chmod", "chown", "symlink_to", "hardlink_to", "expanduser", "absolute"),
    *("resolve", "truncate", "mkfifo", "copyfile", "copytree", "TemporaryDirectory", "NamedTemporaryFile"),
    *("mkdtemp", "mkstemp", "gettempdir"),
}
#: What is done in one place: (the calls of it, where they may be and why).
PLACES: dict[str, tuple[set[str], dict[str, str]]] = {
    "paths": (
        OF_PATHS,
        {
            "engine/znas_engine/paths.py": "the place",
            "python/znas/files.py": "the place of what is written",
            "engine/znas_engine/journal.py": "its work file, opened once for reading, writing and the lock",
            "engine/znas_engine/storage.py": "its cache, opened without following links",
            "engine/znas_engine/stored.py": "its cache, of which only what is ours is removed",
            "engine/znas_engine/interrupts.py": "imported before all else: is a work file still there",
            "engine/znas_engine/supernet/checkpoint.py": "makes the folder of its own file",
            "engine/znas_engine/data/folders.py": "the kinds that a listing of a folder knows already",
            "python/znas/priors/base.py": "a file that was just written keeps its permissions",
            "python/znas/priors/one_shot.py": "removes the checkpoint that it has just read",
            "python/znas/bench/process.py": "temporary folders of its own",
            "python/znas/bench/worker.py": "/proc",
            "python/znas/costs/timing.py": "/proc",
            "python/znas/worker_process.py": "temporary folders of its own",
            "python/znas/costs/reference.py": "a temporary folder for what another process times",
            "python/znas/bench/machine.py": "/proc, and its own sources",
            "python/znas/cli/streams.py": "/dev/null",
            "python/znas/cluster/worker.py": "its own sources",
            "python/znas/reproduce/published.py": "a file of this package",
            "python/znas/training/work.py": "the folder of a training that lasts: its lock, its end",
            "engine/znas_engine/backends/native.py": "a file of this package",
            "engine/znas_engine/promises.py": "sources of modules that are imported",
            "python/znas/sources.py": "sources of modules that are imported",
            "engine/znas_engine/spaces/trainable.py": "sources of modules that are imported",
            "engine/znas_engine/tables/files.py": "members of an archive in memory",
            "engine/znas_engine/data/pictures.py": "a picture in memory",
        },
    ),
    "JSON": (
        {"json.load", "json.loads"},
        {
            "engine/znas_engine/strict_json.py": "the place",
            "engine/znas_engine/journal.py": "lines whose digest is right",
            "python/znas/reproduce/published.py": "a file of this package",
            "python/znas/bench/peak.py": "what a process of ours has printed",
            "python/znas/bench/search.py": "what a process of ours has printed",
            "python/znas/bench/worker.py": "what the process that began this one has said",
            "python/znas/costs/timing.py": "what the process that began this one has said",
            "python/znas/worker_process.py": "what a process of ours has printed",
        },
    ),
    "code in data": (
        {"pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load", "exec", "eval", "marshal.loads"},
        {"python/znas/weights.py": "of tensors alone, weights_only: what trained weights are saved in"},
    ),
    "signals": (
        {"signal.signal", "os._exit", "atexit.register", "os.kill"},
        {"engine/znas_engine/interrupts.py": "the place"},
    ),
    "cores": (
        {"os.cpu_count", "os.sched_getaffinity", "multiprocessing.cpu_count"},
        {"engine/znas_engine/cores.py": "the place"},
    ),
    "quoting": ({"reprlib.repr", "reprlib.Repr", "ascii"}, {}),  # `briefly` does
}
#: What is made for tests: their folders and processes are their own.
OF_TESTS = "engine/znas_engine/testing/"


def called(source: str) -> set[str]:
    """Whole names of the functions and methods that are called, but for those of `paths`."""
    functions = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {ast.unparse(each) for each in functions if isinstance(each, ast.Name | ast.Attribute)}
    return {name for name in names if not name.startswith("paths.")}


def of(wanted: set[str], names: set[str]) -> list[str]:
    """Those that are wanted; of paths those whose last name is, whatever stands before it."""
    return sorted(
        name for name in names if (name.rpartition(".")[2] if wanted is OF_PATHS else name) in wanted
    )


@cache
def all_calls() -> dict[str, set[str]]:
    sources = [path for top in ("python", "engine") for path in sorted((ROOT / top).rglob("*.py"))]
    found = {path.relative_to(ROOT).as_posix(): called(path.read_text(encoding="utf-8")) for path in sources}
    return {path: names for path, names in found.items() if not path.startswith(OF_TESTS)}


@pytest.mark.parametrize("concept", PLACES)
def test_what_has_one_place_is_done_nowhere_else(concept: str) -> None:
    """And no exception outlives its reason."""
    wanted, allowed = PLACES[concept]
    found = {path: here for path, names in all_calls().items() if (here := of(wanted, names))}
    elsewhere = {path: names for path, names in found.items() if path not in allowed}
    assert not elsewhere, f"use the place of {concept}, or give a reason here"
    assert set(allowed) <= set(found)


def test_calls_are_seen_however_they_are_made() -> None:
    source = """
paths.read(path, "x"); path.read_text(); Path(x).parent.mkdir(); open(f); os.path.exists(p); str.replace(a, b)
json.loads(path.open().read())
with tempfile.TemporaryDirectory() as folder: pass
"""
    found = ["Path(x).parent.mkdir", "open", "os.path.exists", "path.open", "path.read_text"]
    assert of(OF_PATHS, called(source)) == [*found, "tempfile.TemporaryDirectory"]
    assert of({"json.loads"}, called(source)) == ["json.loads"]
