"""`znas.report` and `report.html`: what is on a page is what was found and measured, and nothing else."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Hashable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import znas
from tests.command import here, refused
from tests.ragged import Ragged
from znas.output import Pictures, Table, html
from znas.page import Gathered, Run, document, drawn, together
from znas.page.cell import Cell, Term, cells_of
from znas.page.layout import COLUMN, Box, Layout, folded, layered, longest_paths
from znas.page.use import command
from znas.page.why import heat_map
from znas.training.recipe import recipe
from znas.training.result import Row, TrainingResult
from znas_engine.errors import DataError, InvalidValueError, StorageError
from znas_engine.spaces import get_space

TINY: dict[str, Any] = {"preset": "naswot", "supernet_channels": 4, "supernet_cells": 1, "resolution": 16}
TINY |= {"images": 8}
DARTS: dict[str, Any] = {**TINY, "space": "darts", "supernet_cells": 3}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    asked = {"first": {**TINY, "envs": 2}, "second": {**TINY, "seed": 1, "p": 0.0}, "darts": DARTS}
    return {name: znas.search(**options).save(folder / name) for name, options in asked.items()}


# --- layout ---


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Box], list[tuple[Hashable, Hashable]]]:
    count = draw(st.integers(2, 12))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    arrows: list[tuple[Hashable, Hashable]] = [(a, b) for a, b in draw(st.lists(pairs, max_size=20)) if a < b]
    ranks = longest_paths(range(count), arrows)
    widths = draw(st.lists(st.floats(5, 120), min_size=count, max_size=count))
    return [Box(key, width, 20.0, ranks[key]) for key, width in enumerate(widths)], arrows


def check_layout(found: Layout) -> None:
    """No box touches another, all is inside, and no arrow goes through a box."""
    boxes = list(found.boxes.values())
    for i, a in enumerate(boxes):
        assert a.width / 2 - 1e-6 <= a.x <= found.width - a.width / 2 + 1e-6
        assert a.height / 2 - 1e-6 <= a.y <= found.height - a.height / 2 + 1e-6
        for b in boxes[:i]:
            apart = abs(a.x - b.x) > (a.width + b.width) / 2 or abs(a.y - b.y) > (a.height + b.height) / 2
            assert apart, (a, b)
    for way in found.ways:
        for (x, top), (to_x, bottom) in pairwise(way):
            assert min(x, to_x) >= -1e-6
            assert max(x, to_x) <= found.width + 1e-6
            for box in boxes:
                crosses = min(top, bottom) < box.y + box.height / 2 - 1e-6
                crosses &= max(top, bottom) > box.y - box.height / 2 + 1e-6
                reaches = min(x, to_x) < box.x + box.width / 2 and max(x, to_x) > box.x - box.width / 2
                assert not (crosses and reaches), (way, box)


@given(graphs())
def test_no_text_lies_on_another_or_under_an_arrow(graph: tuple[list[Box], list[Any]]) -> None:
    boxes, arrows = graph
    found = layered(boxes, arrows)
    check_layout(found)
    for (source, target), way in zip(arrows, found.ways, strict=True):
        start, end = found.boxes[source], found.boxes[target]
        assert way[0] == (start.x, start.y + start.height / 2)
        assert way[-1] == (end.x, end.y - end.height / 2)
    assert layered(boxes, arrows) == found


@given(st.integers(2, 3 * COLUMN), st.floats(5, 120))
def test_what_has_no_branches_is_folded(count: int, width: float) -> None:
    found = folded([Box(key, width, 20.0) for key in range(count)])
    check_layout(found)
    assert len(found.ways) == count - 1
    assert len({box.x for box in found.boxes.values()}) == -(-count // COLUMN)


def test_arrows_are_untangled() -> None:
    """Two ranks whose order as given would make six crossings."""
    boxes = [Box(("upper", k), 20, 20, 0) for k in range(4)] + [
        Box(("lower", k), 20, 20, 1) for k in range(4)
    ]
    found = layered(boxes, [(("upper", k), ("lower", 3 - k)) for k in range(4)])
    upper, lower = ([found.boxes[side, k].x for k in range(4)] for side in ("upper", "lower"))
    assert np.argsort(upper).tolist() == np.argsort(lower[::-1]).tolist()


# --- cells ---


def test_cells_are_those_of_the_architecture() -> None:
    space = get_space("darts")
    genotype = space.genotype(space.random_path(np.random.default_rng(0)))
    normal, reduce = cells_of(space, genotype)
    assert (normal.name, reduce.name) == ("normal", "reduce")
    structure = genotype.structure()
    for cell in (normal, reduce):
        drawn_terms = sorted((term.operation, term.source) for term in cell.terms)
        assert drawn_terms == sorted((name, source) for name, source in structure[cell.name])
        assert (cell.inputs, cell.outputs, cell.joined) == ((0, 1), (2, 3, 4, 5), True)


def test_what_adds_nothing_is_known() -> None:
    (cell,) = cells_of(get_space("nasbench201"), get_space("nasbench201").parse([0, 1, 2, 3, 4, 0]))
    assert [term.operation for term in cell.terms if not term.computes] == ["none", "none"]
    assert (cell.inputs, cell.outputs, cell.joined) == ((0,), (3,), False)
    assert not cell.is_chain


def test_a_cell_is_drawn_with_all_its_words() -> None:
    space = get_space("nasbench201")
    (cell,) = cells_of(space, space.parse([0, 1, 2, 3, 4, 0]))
    picture = drawn.cell(cell, "The cell")
    assert picture is not None
    texts = re.findall(r">([^<>]+)</text>", picture.svg)
    assert sorted(texts) == sorted([*(term.operation for term in cell.terms), "input", "1", "2", "output"])
    (said,) = re.findall(r"<desc[^>]*>([^<]*)</desc>", picture.svg)
    assert said == cell.words()


def test_a_cell_that_runs_in_a_circle_is_not_drawn() -> None:
    terms = (Term(0, 1, "a", 0, True), Term(1, 2, "b", 1, True), Term(2, 1, "c", 2, True))
    assert drawn.cell(Cell("cell", terms, (0, 1, 2), (0,), (), False), "") is None
    chain = Cell("cell", terms[:2], (0, 1, 2), (0,), (2,), False)
    assert chain.is_chain
    assert drawn.cell(chain, "") is not None


def test_joined_names_nodes_of_the_space() -> None:
    class Apart(Ragged):
        name, joined = "apart", (7,)

    with pytest.raises(InvalidValueError, match="`joined`, no tuple of nodes into which edges lead"):
        znas.search(space=Apart(), **{**TINY, "p": 1})


# --- a run folder's page ---


def test_a_run_folder_says_what_it_does_not_know(runs: dict[str, Path]) -> None:
    result, text = znas.load(runs["first"]), (runs["first"] / "report.html").read_text()
    assert result.arch in text
    assert f"{result.params:,}" in text
    assert "Not measured here: where it stands among random architectures" in text
    assert "<code>znas-engine report . --out with-standing.html</code>" in text
    assert "no accuracy is known here" in text
    assert "random ones are worse" not in text
    for name in ("scores.csv", "architecture.py", "architecture.untrained.onnx", "preprocess.json"):
        assert f'<td class="left">{name}</td>' in text


def test_a_page_is_the_same_wherever_and_whenever(tmp_path: Path) -> None:
    first, second = znas.search(**TINY), znas.search(**TINY)
    second = replace(second, seconds=first.seconds)
    pages = [
        (each.save(tmp_path / name) / "report.html").read_bytes()
        for name, each in {"a": first, "b": second}.items()
    ]
    assert pages[0] == pages[1]
    assert str(tmp_path).encode() not in pages[0]


def test_commands_of_a_page_are_right_within_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = znas.search(**TINY).save(tmp_path / "run")
    shutil.move(run, tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    done = here("report", ".", "--random", "5", "--envs", "1", "--out", "with-standing.html", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "of 5 random ones are worse" in Path("with-standing.html").read_text()


@pytest.mark.parametrize(
    "options",
    [
        {**TINY, "p": 0.5, "envs": 2, "seed": 7},
        {**TINY, "p": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "aggregate": "lcb", "envs": 2},
        {
            **TINY,
            "score": "naswot+path_norm",
            "p": 0.0,
            "finalists": 50,
            "max_params": "60%",
            "pareto": "flops",
        },
        {**TINY, "prior": "shipped", "force_prior": True},
    ],
    ids=["plain", "p per edge", "several scores", "a switch"],
)
def test_the_command_finds_the_same_again(options: dict[str, Any]) -> None:
    result = znas.search(**options)
    written = command(result.request)
    assert written is not None
    words = shlex.split(written.replace("\\\n", " "))
    assert words[0] == "znas-engine"
    done = here(*words[1:], "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    again, plain = json.loads(done.stdout), result.to_dict()
    for each in (again, plain):
        del each["seconds"]
    assert again == json.loads(json.dumps(plain))


def test_what_no_command_names_is_not_made_one() -> None:
    images = np.zeros((8, 3, 16, 16), np.float32) + np.arange(8, dtype=np.float32)[:, None, None, None]
    result = znas.search(**TINY, data=images)
    assert command(result.request) is None
    assert "in Python, with objects that no command names" in html.render(
        document(Gathered([Run("run", ".", result)]))
    )


# --- standing ---


def test_standing_is_what_score_measures(runs: dict[str, Path]) -> None:
    (run,) = znas.report(runs["first"], random=12, envs=3).gathered.runs
    standing = run.standing
    assert standing is not None
    assert standing.seed != run.result.conditions.seed
    own = standing.placed[0]
    assert (own.name, own.arch) == ("found", run.result.arch)
    values = np.array([value for _, value in standing.random])
    assert len(values) == 12
    table = znas.score(
        [each.arch for each in standing.placed],
        request=replace(run.result.request, seed=standing.seed, envs=3),
        references=0,
    )
    for placed, row in zip(standing.placed, table.rows, strict=True):
        assert placed.value == pytest.approx(np.mean(row.values["naswot"]))
        assert (placed.params, placed.flops) == (row.params, row.flops)
        below, equal = (values < placed.value).sum(), (values == placed.value).sum()
        assert placed.percentile == pytest.approx(100 * (below + equal / 2) / 12)
        assert placed.low is not None
        assert placed.high is not None
        assert 0 <= placed.low <= placed.high <= 100
    largest = standing.placed[1]
    assert largest.name == "most parameters"
    assert largest.params >= max(params for params, _ in standing.random)
    assert standing.placed[2].value == values.max()


def test_without_random_ones_nothing_is_measured(runs: dict[str, Path]) -> None:
    seen: list[int] = []
    made = znas.report(runs["first"], random=0, progress=lambda done, total: seen.append(done))
    assert made.gathered.runs[0].standing is None
    assert not seen
    znas.report([runs["first"], runs["second"]], random=3, envs=1, progress=lambda done, _: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == max(seen)


def test_limits_are_those_of_the_random_ones_too(tmp_path: Path) -> None:
    result = znas.search(**{**TINY, "p": 0.0}, max_params="60%")
    (run,) = znas.report(result, random=12, envs=1).gathered.runs
    assert run.standing is not None
    most = result.limits[0].most
    kept = [value for params, value in run.standing.random if params <= most]
    own = run.standing.placed[0]
    assert run.standing.kept == len(kept) > 0
    below = sum(value < own.value for value in kept) + sum(value == own.value for value in kept) / 2
    assert own.within == pytest.approx(100 * below / len(kept))


# --- why ---


def test_the_heat_map_is_of_the_worths(runs: dict[str, Path]) -> None:
    result = znas.load(runs["first"])
    table = heat_map(result)
    shades = table.shades
    assert min(shades.values()) == 0
    assert max(shades.values()) == 1
    worths = {
        (row, 1 + result.space.operations.index(name)): report.mean
        for row, edge in enumerate(result.edges)
        for name, report in edge.operations.items()
    }
    assert sorted(shades, key=shades.__getitem__) == sorted(worths, key=lambda place: worths[place] or 0.0)
    assert [row[-1] for row in table.cells()] == [f"{edge.stability:.0%}" for edge in result.edges]
    drawn_cells = sum(cell.startswith("~") for row in table.cells() for cell in row)
    assert drawn_cells == result.intervened > 0


# --- several runs ---


def test_runs_agree_where_they_selected_the_same(runs: dict[str, Path]) -> None:
    made = znas.report([runs["first"], runs["second"], runs["darts"]], random=0)
    first, second, darts = made.gathered.runs
    pairs = zip(first.result.edges, second.result.edges, strict=True)
    assert together.agreement([first, second]) == [a.selected == b.selected for a, b in pairs]
    assert all(together.agreement([darts, darts]))
    assert together.differing([first, second]) == {
        "p": ["", "0.0"],
        "envs": ["2", ""],
        "seed": ["0", "1"],
    }
    shown = made.document()
    assert shown.title == "3 searches side by side"
    said = made.to_html()
    assert "darts is alone in the space darts" in said
    pictures = [each for part in shown.parts if isinstance(part, Pictures) for each in part.pictures]
    captions = {picture.caption for picture in pictures}
    assert {"first: the cell", "darts: the normal cell", "darts: the reduce cell"} <= {
        caption.partition(";")[0] for caption in captions
    }


def test_runs_of_one_name_are_told_apart(runs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["first"], tmp_path / "first")
    made = znas.report([runs["first"], tmp_path / "first"], random=0)
    names = [run.name for run in made.gathered.runs]
    assert names == [f"1. {runs['first']}", f"2. {tmp_path / 'first'}"]


# --- trainings ---


def training(folder: Path, right: int = 60) -> Path:
    """What `train` leaves, by the classes that it is made of."""
    row = Row(
        name="found",
        arch="a",
        params=10,
        flops=20,
        seed=0,
        epochs=3,
        seconds=4.0,
        right=right,
        images=100,
        deployed=right,
    )
    result = TrainingResult(
        out=folder,
        recipe=recipe("quick"),
        rows=(row, replace(row, name="resnet20", right=50)),
        data="some",
        learned=100,
        judged="100 images that were kept",
        machine={},
        notes=(),
        versions={},
    )
    folder.mkdir()
    (folder / "training.json").write_text(result.to_json())
    return folder


def test_trainings_are_shown(runs: dict[str, Path], tmp_path: Path) -> None:
    made = znas.report(runs["first"], random=0, trained=training(tmp_path / "trained"))
    assert [(row.name, row.accuracy) for row in made.gathered.trained] == [("found", 0.6), ("resnet20", 0.5)]
    table = next(
        part for part in made.document().parts if isinstance(part, Table) and "network" in part.headings
    )
    assert table.cells()[0][:2] == ["found", "60.00% *"]
    assert "no accuracy is known here" not in made.to_html()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda plain: plain.pop("rows"), "KeyError: 'rows'"),
        (lambda plain: plain["rows"].clear(), "it has no row"),
        (lambda plain: plain["rows"][0].update(accuracy=60.0), "the accuracies of found are no shares"),
        (lambda plain: plain["rows"][0].update(params="ten"), r"`rows\[0\].params` must be int but is 'ten'"),
        (lambda plain: plain["rows"][1].update(interval=[0.1]), "the accuracies of resnet20 are no shares"),
        (lambda plain: plain.update(recipe=3), "TypeError"),
    ],
)
def test_a_training_that_cannot_be_is_refused(
    change: Any, match: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    folder = training(tmp_path / "trained")
    plain = json.loads((folder / "training.json").read_text())
    change(plain)
    (folder / "training.json").write_text(json.dumps(plain))
    with pytest.raises(DataError, match=match):
        znas.report(runs["first"], random=0, trained=folder)


# --- the verb ---


def test_the_verb_prints_and_writes(runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    asked = ("report", runs["first"], "--random", "4", "--envs", "1", "--quiet")
    done = here(*asked, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("What was found\n")
    assert f"written     {out}" in done.stdout
    assert out.read_text() == znas.report(runs["first"], random=4, envs=1).to_html()
    plain = json.loads(here(*asked, "--json").stdout)
    assert plain["runs"][0]["result"] == json.loads((runs["first"] / "result.json").read_text())
    assert len(plain["runs"][0]["standing"]["random"]) == 4
    assert f"the output {out} exists already" in refused(here(*asked, "--out", out))


def test_mistakes_are_said_before_work(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="there is no run to report on"):
        znas.report([])
    with pytest.raises(InvalidValueError, match=r"`random` must be .* but got -1"):
        znas.report(runs["first"], random=-1)
    with pytest.raises(InvalidValueError, match="`envs` must be"):
        znas.report(runs["first"], envs=0)
    with pytest.raises(StorageError, match="cannot be"):
        znas.report(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="the training"):
        znas.report(runs["first"], trained=tmp_path / "nowhere")


def test_images_that_are_not_here_any_more(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    pictures = tmp_path / "pictures"
    shutil.copytree(root / "examples" / "five-classes", pictures)
    run = znas.search(**TINY, data_dir=pictures).save(tmp_path / "run")
    pictures.rename(tmp_path / "elsewhere")
    line = refused(here("report", run, "--random", "3", "--quiet"))
    assert "--data-dir" in line
    assert "--random 0" in line
    done = here(
        "report", run, "--random", "3", "--envs", "1", "--data-dir", tmp_path / "elsewhere", "--quiet"
    )
    assert done.returncode == 0, done.stderr
