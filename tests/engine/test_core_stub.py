"""What `_core.pyi` declares is what the compiled module has: names, and how every function is called."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import znas_engine
from znas_engine.supernet.normalisation import EPSILON

_core = pytest.importorskip("znas_engine._core", reason="the C++ kernels were not built")
STUB = ast.parse((Path(znas_engine.__file__).parent / "_core.pyi").read_text())
BUILT_FOR_GPUS = hasattr(_core, "cuda_network")
#: What pybind11 gives every enumeration.
OF_ENUMERATIONS = {"__init__", "name", "value"}

Declared = dict[str, Any]


def declared(body: list[ast.stmt]) -> Declared:
    """Name -> the class (its own names), the function (its arguments) or None."""
    found: Declared = {}
    for node in body:
        match node:
            case ast.ClassDef():
                found[node.name] = declared(node.body)
            case ast.FunctionDef(decorator_list=[]):
                found[node.name] = arguments(node)
            case ast.FunctionDef():  # a property
                found[node.name] = None
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = None
    if not BUILT_FOR_GPUS:
        return {name: value for name, value in found.items() if not name.lower().startswith("cuda")}
    return found


def arguments(node: ast.FunctionDef) -> list[str]:
    """`name`, `*` before those that have to be named, `name=` where it may be left out."""
    given = node.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    left_out = len(given.defaults)
    found = [name + "=" * (place >= len(names) - left_out) for place, name in enumerate(names)]
    if given.kwonlyargs:
        defaults = zip(given.kwonlyargs, given.kw_defaults, strict=True)
        found += ["*", *(argument.arg + "=" * (default is not None) for argument, default in defaults)]
    return found


def compiled(holder: Any) -> Declared:
    """The same of what was compiled; pybind11 writes a signature as the first line of a docstring."""
    enumeration = hasattr(holder, "__members__")
    found: Declared = {}
    for name, value in vars(holder).items():
        if enumeration and name not in {*OF_ENUMERATIONS, *holder.__members__}:
            continue
        if inspect.isclass(value):
            found[name] = compiled(value)
        elif isinstance(value, property):
            found[name] = None
        elif callable(value) and str(value.__doc__).startswith(f"{name}("):
            (signature,) = ast.parse(f"def {value.__doc__.splitlines()[0]}: ...").body
            assert isinstance(signature, ast.FunctionDef)
            found[name] = arguments(signature)
        elif not name.startswith("_"):
            found[name] = None
    if enumeration:
        del found["__init__"]
    return found


def test_the_stub_says_what_the_module_has() -> None:
    assert declared(STUB.body) == compiled(_core)


def test_the_stub_is_read_as_it_is_meant() -> None:
    """Or the comparison would compare nothing."""
    found = declared(STUB.body)
    assert found["Compiled"]["run"] == ["self", "images", "wanted", "labels="]
    assert found["ProgramBuilder"]["sum"] == ["self", "shape", "*", "moments"]
    kinds = {"linear", "average_pool", "product", "depthwise", "constant"}
    assert set(found["TermKind"]) == kinds | {"name", "value"}


def test_one_epsilon() -> None:
    """Python needs one without a compiler too."""
    assert np.float32(EPSILON) == np.float32(_core.EPSILON)
