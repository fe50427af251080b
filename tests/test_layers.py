"""A space is one folder: nothing else in python/ or engine/ names one. And modules form no circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import grimp
import pytest

from znas_engine.spaces import SPACES

ROOT = Path(__file__).parents[1]
SPACES_FOLDER = ROOT / "engine" / "znas_engine" / "spaces"
#: However it is cut and spelt; DARTS+PT is a published method.
NAMES = re.compile(r"nas-?_?bench-?_?201|nats-?_?bench|darts(?![-+_]?pt)", re.IGNORECASE)


def sources() -> list[Path]:
    own = {SPACES_FOLDER / name for name in SPACES.builtin}
    files = [path for top in ("python", "engine") for path in sorted((ROOT / top).rglob("*.py"))]
    return [p for p in files if p != SPACES_FOLDER / "__init__.py" and not own & set(p.parents)]


def names_in(source: str) -> Iterator[str]:
    """Names of spaces in identifiers and strings; docstrings and comments may speak of them."""
    tree = ast.parse(source)
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if id(node) in documents:
            continue
        texts = [value for _, value in ast.iter_fields(node) if isinstance(value, str)]
        yield from (text for text in texts if NAMES.search(text))


def test_there_are_sources_to_look_at() -> None:
    assert len(sources()) > 100
    for name in SPACES.builtin:
        assert (SPACES_FOLDER / name / "__init__.py").is_file()
        assert NAMES.fullmatch(name)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_names_a_space(path: Path) -> None:
    assert not list(names_in(path.read_text(encoding="utf-8")))


def test_names_are_seen_wherever_they_stand() -> None:
    hidden = '''
"""darts in a docstring"""
from a.darts import b
from c import nasbench201 as d
import e.darts
def f(darts="x"):
    "NAS-Bench-201 in a docstring"
    g.darts = {"nasbench201": f"{h} DARTS space"}
    return DartsPT, "darts-pt", "DARTS+PT"
'''
    assert sorted(names_in(hidden)) == sorted(
        ["a.darts", "nasbench201", "e.darts", "darts", "darts", "nasbench201", " DARTS space"]
    )


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
