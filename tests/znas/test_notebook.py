"""What a notebook shows: results in one line and as HTML, frames, a bar; and docs/tutorial.ipynb."""

from __future__ import annotations

import csv
import importlib.util
import io
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import znas
from znas import priors
from znas.notebook import in_notebook, shown
from znas_engine.errors import MissingDependencyError
from znas_engine.progress import unheard
from znas_engine.spaces import get_space

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"
SIZE: dict[str, Any] = {
    "data": "gaussian",
    "supernet_channels": 4,
    "supernet_cells": 1,
    "resolution": 8,
    "images": 8,
}
DARTS: dict[str, Any] = SIZE | {"space": "darts", "supernet_cells": 3, "score": "naswot", "finalists": 2}


@cache
def found(space: str = "nasbench201") -> znas.SearchResult:
    if space == "darts":
        return znas.search(**DARTS)
    return znas.search(**SIZE, finalists=50, envs=2, pareto="params")


@cache
def results() -> dict[str, Any]:
    """One of every result that a public function returns."""
    result = found()
    darts = get_space("darts")
    assert darts.prior is not None
    network = result.to_torch(classes=10)
    return {
        "search": result,
        "search darts": found("darts"),
        "edge": result.edges[0],
        "front": result.front[0],
        "request": result.request,
        "request with arrays": znas.Request(data=(np.zeros((40, 8, 8, 3), np.uint8), np.arange(40) % 4)),
        "score": znas.score(random=3, references=5, score="naswot+params", envs=4, **SIZE),
        "row": znas.score(random=1, references=5, score="naswot+params", envs=4, **SIZE).rows[0],
        "space": znas.profile("darts", samples=5),
        "architecture": znas.profile("nasbench201", result.arch),
        "deployment": znas.deploy(result, network.state_dict()),
        "page": znas.report(result, random=0),
        "prior": priors.load(darts.prior, darts),
        "request of nothing": znas.Request(),
    }


RESULTS = [
    *("search", "search darts", "edge", "front", "request", "request with arrays", "score", "row", "space"),
    *("architecture", "deployment", "page", "prior", "request of nothing"),
]
DOCUMENTS = ["search", "search darts", "score", "space", "architecture", "deployment", "page"]


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_one_short_line(name: str) -> None:
    line = repr(results()[name])
    assert "\n" not in line
    assert 8 < len(line) < 260


def test_a_line_says_what_was_found() -> None:
    result = found()
    for part in (result.arch, f"{result.params:,} parameters", f"{result.evaluations:,} masked passes"):
        assert part in repr(result)
    assert repr(znas.Request()) == "Request()"
    request = znas.Request(space="darts", p=0.5, data_dir=Path("a b"))
    assert repr(request) == "Request(space='darts', data_dir=PosixPath('a b'), p=0.5)"
    score = "<ScoreTable of nasbench201: 3 architectures by naswot+params, 5 random ones, 4 environments"
    assert repr(results()["score"]).startswith(score)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_notebook_shows_a_document(name: str) -> None:
    result = results()[name]
    html = result._repr_html_()
    assert html.startswith('<div class="znas">')
    assert html.count("<div") == html.count("</div>")
    assert "<script" not in html
    assert len(html) < 60_000
    if name.startswith("search"):
        assert f"{result.params:,}" in html
        assert "<svg" in html


def test_a_frame_has_the_operations_of_scores_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas", reason="no dependency: to_frame alone needs it")
    for result in (found(), found("darts")):
        frame = result.to_frame()
        assert isinstance(frame, pandas.DataFrame)
        assert list(frame.edge) == [edge.edge for edge in result.edges for _ in edge.operations]
        assert list(frame[frame.selected].operation) == [edge.selected for edge in result.edges]
        text = (result.save(tmp_path / result.space.name) / "scores.csv").read_text()
        rows = [row for row in csv.DictReader(io.StringIO(text)) if row["operation"]]
        assert list(frame.columns) == list(rows[0])
        assert [float(row["aggregate"]) for row in rows] == list(frame["aggregate"])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="pip install pandas"):
        found().to_frame()


# --- progress ---


def test_nothing_is_shown_where_there_is_no_notebook(capfd: pytest.CaptureFixture[str]) -> None:
    assert not in_notebook()
    with shown("passes", unheard) as told:
        assert told is unheard
    znas.score(random=2, references=2, score="naswot", **SIZE)
    assert capfd.readouterr() == ("", "")


def test_a_terminals_ipython_is_no_notebook() -> None:
    pytest.importorskip("IPython", reason="ipykernel brings it, of the extra dev")
    code = "from znas.notebook import in_notebook; print(in_notebook(), get_ipython() is not None)"
    program = f"import IPython; IPython.start_ipython(['-c', {code!r}, '--quick', '--no-banner'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def tutorial() -> Any:
    """bench/tutorial.py"""
    for name in ("nbclient", "ipykernel", "pandas"):
        pytest.importorskip(name, reason="the extra dev brings it")
    spec = importlib.util.spec_from_file_location("bench_tutorial", ROOT / "bench" / "tutorial.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


JOB = """
import time
from znas.notebook import in_notebook, shown
from znas_engine.progress import unheard
assert in_notebook()
heard = []
with shown("passes", lambda done, total: heard.append((done, total))) as told:
    told(1, 1)
with shown("quick", unheard) as told:
    told(1, 1)
with shown("passes <slow>", unheard) as told:
    for done in range(1, 6):
        time.sleep(0.2)
        told(done, 5)
heard
"""


@pytest.mark.ours
@pytest.mark.filterwarnings("default")
def test_a_notebook_shows_one_line_that_changes() -> None:
    tutorial()
    import nbformat
    from nbclient import NotebookClient

    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(JOB)])
    NotebookClient(page, timeout=120, kernel_name="python3").execute()
    line, heard = page.cells[0].outputs
    assert heard.data["text/plain"] == "[(1, 1)]"
    words = line.data["text/plain"]
    assert words.startswith("passes <slow>: 5 of 5, in ")
    assert "passes &lt;slow&gt;: 5 of 5" in line.data["text/html"]
    assert '<progress value="5" max="5">' in line.data["text/html"]


SMALL = """
sizes = dict(supernet_channels=4, supernet_cells=1, images=8, finalists=50)
references = 4
"""


def kinds(cell: Any) -> list[tuple[str, list[str]]]:
    """Of what a cell put out, without the bar of what takes long."""
    shown = [each for each in cell.outputs if "<progress" not in each.get("data", {}).get("text/html", "")]
    return [(each.output_type, sorted(each.get("data", {"text": 0}))) for each in shown]


@pytest.mark.ours
@pytest.mark.filterwarnings("default")
def test_the_tutorial_runs_and_shows_what_it_showed() -> None:
    assert TUTORIAL.stat().st_size < 300_000
    page = tutorial().executed(SMALL)
    import nbformat

    cells = [cell for cell in page.cells if cell.cell_type == "code" and cell.source != SMALL]
    before = [cell for cell in nbformat.read(TUTORIAL, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells] == [cell.source for cell in before]
    assert [kinds(cell) for cell in cells] == [kinds(cell) for cell in before]
    assert any("image/png" in kind for cell in cells for _, kind in kinds(cell))
    assert all(cell.execution_count for cell in before)
    (search,) = (cell for cell in cells if "znas.search(" in cell.source)
    assert '<div class="znas">' in search.outputs[-1].data["text/html"]
    assert any("<progress" in str(cell) for cell in before)
