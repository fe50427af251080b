"""What backends say of themselves, and what they are chosen and refused by."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.engine.graphs import MACRO, OneGraph
from znas_engine.backends import BACKENDS, Backend, Choice, choose, choose_backend, get_backend
from znas_engine.backends.records import NATIVE, ORT, TORCH
from znas_engine.errors import InvalidValueError
from znas_engine.graph import NODES, Builder, Graph, Shift

#: `native`, but without a rule for shifts.
PARTIAL = replace(NATIVE, name="partial", evaluator=f"{__name__}:Partial", nodes=NODES - {Shift})


class Partial(get_backend("native")):  # type: ignore[misc]
    record = PARTIAL


def shifted() -> Graph:
    b = Builder()
    x = b.shift("stem.shift", b.input(3, 8))
    b.linear("classifier", b.global_average("pool", b.conv("stem.conv", x, 4, 3)), MACRO.classes)
    return b.graph()


REASON = "partial has no rule for the Shift node 'stem.shift'"


def test_records_import_no_backend() -> None:
    code = (
        "import sys; from znas_engine.backends import BACKENDS;"
        "records = [BACKENDS.get(name) for name in BACKENDS.names()];"
        "assert [record.name for record in records] == ['native', 'ort', 'torch', 'trt'];"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'tensorrt', 'znas_engine.backends.native'};"
        "print(sorted((heavy | {'znas_engine.evaluator'}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", BACKENDS.builtin)
def test_every_backend_has_a_rule_for_every_node(name: str) -> None:
    record = BACKENDS.get(name)
    assert record.supports(shifted()) is None
    assert replace(record, nodes=NODES - {Shift}).supports(shifted()) == f"{name}{REASON[len('partial') :]}"


@pytest.mark.parametrize("backend", [PARTIAL, f"{__name__}:PARTIAL"], ids=["object", "module:Name"])
def test_a_backend_from_outside_is_a_backend(backend: str | Backend) -> None:
    assert choose_backend(backend) == Choice(PARTIAL, ("cpu",))
    assert choose_backend(backend, device="cpu", dtype="bfloat16").backend == "partial"
    assert get_backend(backend).record is PARTIAL
    with pytest.raises(InvalidValueError, match=rf"^{REASON}; use --backend native or ort or torch"):
        choose_backend(backend, graph=shifted())
    with pytest.raises(InvalidValueError, match="must be float32 or bfloat16 for the backend partial"):
        choose_backend(backend, dtype="float16")


def test_an_evaluator_refuses_a_graph_by_its_node() -> None:
    with pytest.raises(InvalidValueError, match=rf"^{REASON}; use --backend native or ort or torch"):
        Partial(OneGraph(shifted()), MACRO)


def test_auto_takes_the_first_that_supports_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "built_in", lambda: [PARTIAL, ORT, TORCH])
    assert choose_backend("auto", device="default").record is PARTIAL
    choice = choose_backend("auto", device="default", graph=shifted())
    assert choice == Choice(ORT, ("cpu",), f"--backend auto runs ort on cpu; {REASON}")
