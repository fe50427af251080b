"""docs/gpu.md shows what bench/roofline.py prints."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

_core = pytest.importorskip("znas_engine._core", reason="the C++ kernels were not built")
pytestmark = pytest.mark.ours

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gpu.md").read_text("utf-8")
#: Of every command in the page its arguments, and the table that follows it.
SHOWN = re.findall(r"`python bench/roofline\.py([^`]*)`[^|]*?\n((?:\|[^\n]*\n)+)", PAGE)


@pytest.fixture(scope="module")
def roofline():
    spec = importlib.util.spec_from_file_location("roofline", ROOT / "bench" / "roofline.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_page_shows_tables_of_commands():
    assert [arguments for arguments, _ in SHOWN] == ["", " --space mobilenet --resolution 224"]


@pytest.mark.parametrize(("arguments", "table"), SHOWN, ids=[shown[0] or "default" for shown in SHOWN])
def test_the_page_shows_what_is_printed(arguments, table, roofline, monkeypatch, capsys):
    """Launches are the plan's: they are printed where the module was built for GPUs."""
    monkeypatch.setattr(sys, "argv", ["roofline.py", *shlex.split(arguments)])
    roofline.main()
    known = hasattr(_core, "cuda_plan_size")
    shown = [line for line in table.splitlines() if known or not line.startswith("| launches")]
    assert capsys.readouterr().out.splitlines() == shown
