"""What is seen of a long job: a bar on a terminal, a line now and then elsewhere, nothing with --quiet."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import znas
from tests.conftest import SPACES
from znas import expected as module
from znas.cli import console
from znas.expected import Estimate, expected
from znas.hooks import Hooks
from znas.reproduce.rows import rows
from znas.reproduce.trials import run_trials
from znas.search import searched
from znas_engine.progress import duration

pytestmark = pytest.mark.ours

SMALL: dict[str, dict[str, Any]] = {
    "nasbench201": {
        "space": "nasbench201",
        "supernet_channels": 4,
        "supernet_cells": 1,
        "resolution": 8,
        "images": 4,
    },
    "darts": {"space": "darts", "supernet_channels": 4, "supernet_cells": 3, "resolution": 8, "images": 4},
}
SEARCHES: list[tuple[dict[str, Any], bool]] = [
    ({"p": 0}, False),
    ({"p": 0, "score": "naswot+path_norm", "finalists": 5, "envs": 2}, False),
    ({"p": 0.5}, True),
    ({"p": 0, "criterion": "leave-one-out"}, False),
    ({"p": 0.5, "selection": "sequential", "order": "confidence"}, True),
    ({"p": 0, "game": "shapley", "estimator": "permutation", "max_evaluations": 26}, True),
    ({"p": 0.98, "game": "shapley"}, True),
    ({"p": 0.9, "game": "interaction"}, True),
    ({"p": 0, "race": 0.6, "images": 64}, True),
    ({"p": 1}, True),
]


@pytest.mark.parametrize(
    ("space", "asked", "at_most"),
    [("nasbench201", *each) for each in SEARCHES] + [("darts", *SEARCHES[i]) for i in (0, 4, 6)],
    ids=str,
)
def test_the_total_is_known_from_the_first_pass_on(space: str, asked: dict[str, Any], at_most: bool) -> None:
    seen: list[tuple[int, int]] = []
    request = znas.Request(**{"preset": "naswot", **SMALL[space], **asked})
    result = searched(request, Hooks(lambda *counts: seen.append(counts)))
    if not result.evaluations:
        assert not seen
        return
    assert seen[-1] == (result.evaluations, result.evaluations)
    totals = {total for _, total in seen[:-1]}
    assert len(totals) == 1
    assert max(totals) >= result.evaluations
    setup = znas.Setup(request)
    ahead = expected(znas.Method.of(request.settled(), setup.space, setup.scores), setup.space, setup.envs)
    if not at_most:
        assert not ahead.at_most
        assert max(totals) == result.evaluations
    else:
        assert ahead.at_most


def test_an_estimate_is_said_once_where_it_is_worth_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "perf_counter", lambda: now)
    for total, at_most, said in (
        (2060, False, ["2,060 masked passes, about 21 s"]),
        (2060, True, ["at most 2,060 masked passes, about 21 s"]),
        (400, False, []),
    ):
        lines: list[str] = []
        estimate = Estimate(lines.append, at_most)
        for done in range(1, 301):
            estimate(done, total)
            now += 0.01
        assert lines == said


def test_a_search_says_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEASURED", 0.0)
    monkeypatch.setattr(module, "WORTH_A_WORD", 0.0)
    lines: list[str] = []
    asked = {"preset": "naswot", **SMALL["nasbench201"], "p": 0}
    znas.search(**asked, report=lines.append)
    assert [line for line in lines if re.fullmatch(r"30 masked passes, about \d+ s", line)] == lines
    assert len(lines) == 1
    lines.clear()
    searched(znas.Request(**asked), Hooks(report=lines.append).of_one())
    assert lines == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (19.6, "20 s"), (99, "99 s"), (100, "2 min"), (3600, "60 min"), (7500, "2 h 5 min"),
     (7200, "2 h"), (90_000, "25 h")],
)  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# --------------------------------------------------------------------------- lines


def test_a_line_now_and_then_where_stderr_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress_bar("searches", "masked passes", quiet=False) as bar:
        for search in range(3):
            for done in range(50, 1001, 50):
                now += 0.5
                bar.inner(done, 1000)
            bar(search + 1, 3)
    assert capsys.readouterr().err.splitlines() == [
        "znas-engine: masked passes: 1,000 of 1,000",
        "znas-engine: searches: 1 of 3; masked passes: 1,000 of 1,000",
        "znas-engine: searches: 2 of 3; masked passes: 1,000 of 1,000; about 20 s left",
    ]


def test_what_was_done_before_does_not_make_the_rest_quick(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """100 of 110 pieces come out of a work file at once, the others take 5 s each."""
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress_bar("searches", quiet=False) as bar:
        for done in range(1, 111):
            now += 0.001 if done <= 100 else 5.0
            bar(done, 110)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "znas-engine: searches: 102 of 110; about 40 s left"


def test_quiet_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(console, "EVERY", 0.0)
    for quiet, lines in ((True, 0), (False, 3)):
        with console.progress_bar("passes", quiet=quiet) as bar:
            for done in (1, 2, 3):
                bar(done, 3)
        assert len(capsys.readouterr().err.splitlines()) == lines


# --------------------------------------------------------------------------- terminals


PROGRAM = """
import sys, time
from znas.cli import console
with console.progress_bar("searches", "masked passes", quiet=False) as bar:
    for search in range(2):
        for done in range(1, 4):
            bar.inner(done, 3)
            time.sleep(0.05)
        bar(search + 1, 2)
print("done", file=sys.stderr)
"""


def on_a_terminal(program: str = PROGRAM, **environment: str) -> str:
    leader, follower = pty.openpty()
    names = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stderr=follower,
        stdin=follower,
        stdout=subprocess.DEVNULL,
        env=names | {"COLUMNS": "80"} | environment,
    )
    os.close(follower)
    shown = io.BytesIO()
    try:
        while piece := os.read(leader, 4096):
            shown.write(piece)
    except OSError:  # the other end is closed
        pass
    os.close(leader)
    assert process.wait() == 0
    return shown.getvalue().decode()


def test_a_terminal_has_one_bar_for_the_job_and_one_for_its_piece() -> None:
    shown = on_a_terminal(TERM="xterm-256color")
    assert "searches" in shown
    assert "masked passes" in shown
    assert re.search(r"\x1b\[[\d;]*3[0-9]", shown)  # colours


def test_no_color_and_dumb_terminals_are_respected() -> None:
    plain = on_a_terminal(TERM="xterm-256color", NO_COLOR="1")
    assert "searches" in plain
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3[0-9]|4[0-9]|9[0-7])(?:;\d+)*m", plain)
    assert on_a_terminal(TERM="dumb").split() == ["done"]


# --------------------------------------------------------------------------- many searches


def test_every_search_of_many_tells_how_far_it_is(tmp_path: Path) -> None:
    setup = znas.Setup(znas.Request(preset="naswot", **SMALL["nasbench201"]))
    outer: list[tuple[int, int]] = []
    inner: list[tuple[int, int]] = []
    chosen = [rows(SPACES["nasbench201"])[name] for name in ("naswot-p0.5", "random", "zero-cost-pt")]
    hooks = Hooks(lambda *counts: outer.append(counts), inner=lambda *counts: inner.append(counts))
    found = run_trials(chosen, setup, seeds=1, work=tmp_path / "work", hooks=hooks)
    assert outer == [(1, 3), (2, 3), (3, 3)]
    ends = [counts for counts in inner if counts[0] == counts[1]]
    assert found["naswot-p0.5"][0].evaluations in {done for done, _ in ends}
    assert ends[-1] == (found["zero-cost-pt"][0].evaluations,) * 2
