"""What a person sees of a job on a cluster: speeds beside the bar, who did how much, events of --json."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import datetime
from importlib.util import find_spec
from typing import Any

import pytest

from tests.znas.test_console import on_a_terminal
from znas.cli import console
from znas.cluster import account as module
from znas.cluster.account import Account, job
from znas.cluster.news import News, heard, remark, tell

pytestmark = pytest.mark.ours


class Clock:
    """What stands for `time.monotonic`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        patch.setattr(module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def unit(host: str, worker: str, masks: int, seconds: float) -> News:
    return News(kind="unit", host=host, worker=worker, masks=masks, seconds=seconds)


def told(clock: Clock, *happened: tuple[float, News]) -> Account:
    """An account of what happened, each so many seconds after the beginning."""
    account, began = Account(), clock.now
    for after, news in happened:
        clock.now = began + after
        account.hear(news)
    return account


def of_two_machines(clock: Clock) -> Account:
    """`a` works without a pause; of `b` a worker is lost after 4 s, in its second unit, and another comes."""
    return told(
        clock,
        (0, News(kind="worker", host="a", worker="worker 0")),
        (0, News(kind="worker", host="b", worker="worker 1")),
        (2, unit("a", "worker 0", 200, 2)),
        (2, unit("b", "worker 1", 100, 2)),
        (4, News(kind="lost", host="b", worker="worker 1", units=2)),
        (6, unit("a", "worker 0", 400, 4)),
        (7, News(kind="worker", host="b", worker="worker 2")),
        (10, unit("b", "worker 2", 200, 3)),
        (10, unit("a", "worker 0", 400, 4)),
        (10, News(kind="remark", text="nothing to count")),
    )


def test_an_account_of_made_up_times(clock: Clock) -> None:
    account = of_two_machines(clock)
    clock.now += 1000  # what comes afterwards is none of the workers' time
    assert account.seconds == 10
    (first, a), (second, b) = account.machines()
    assert (first, second) == ("a", "b")
    assert (a.workers, a.units, a.masks, a.busy, a.lost, a.repeated) == (1, 3, 1000, 10, 0, 0)
    assert (b.workers, b.here, b.units, b.masks, b.busy) == (2, 1, 2, 300, 5)
    assert (b.lost, b.repeated) == (1, 2)
    assert a.utilisation == 1
    assert b.utilisation == 5 / (4 + 3)
    assert account.whole().utilisation == 15 / 17
    assert account.lines() == [
        (
            "2 machines: 5 units, 1,300 masks, 3 workers busy 88% of the time, 1 lost, 2 units done again, "
            "in 10.0 s"
        ),
        "a: 3 units, 1,000 masks, 1 worker busy 100% of the time",
        "b: 2 units, 300 masks, 2 workers busy 71% of the time, 1 lost, 2 units done again",
    ]
    assert account.speeds() == "a 100 masks/s, b 30 masks/s; 2 units done again"
    facts = account.facts()
    assert [each["host"] for each in facts["nodes"]] == ["a", "b"]
    for name in ("workers", "here", "units", "masks", "busy", "lost", "repeated"):
        assert facts[name] == sum(each[name] for each in facts["nodes"])
    assert json.loads(json.dumps(facts)) == facts


def test_one_machine_has_one_line_and_nothing_has_none(clock: Clock) -> None:
    assert Account().lines() == []
    assert Account().speeds() == ""
    account = told(clock, (30, News(kind="unit", host="a", worker="w", masks=0, seconds=30)))
    assert account.lines() == ["a: 1 unit, 1 worker busy 100% of the time, in 30.0 s"]
    assert account.speeds() == "a 2 units/min"
    account = told(clock, (0, News(kind="worker", host="b", worker="v")), (2, unit("a", "w", 8, 2)))
    assert account.speeds() == "a 4 masks/s, b 0 masks/s"
    gone = told(
        clock,
        (2, unit("a", "w", 8, 2)),
        (2, unit("b", "v", 8, 2)),
        (3, News(kind="lost", host="b", worker="v", units=1)),
        (4, unit("a", "w", 16, 2)),
    )
    assert gone.speeds() == "a 6 masks/s, b lost; 1 unit done again"
    failed = News(kind="repeated", host="a", worker="w", units=1)
    assert told(clock, (0, failed), (2, unit("a", "w", 8, 1))).speeds() == "a 8 masks/s; 1 unit done again"


def test_many_machines_stay_readable(clock: Clock) -> None:
    account = told(clock, *((10, unit(f"vm-{k:03}", f"worker {k}", 1000 - k, 10)) for k in range(300)))
    assert account.speeds() == (
        "vm-000 100 masks/s, vm-001 100 masks/s, vm-002 100 masks/s, vm-003 100 masks/s, "
        f"296 more {sum(1000 - k for k in range(4, 300)) / 10:,.0f} masks/s"
    )
    lines = account.lines()
    assert len(lines) == 22
    assert lines[-1] == "and 280 machines that did less"


def test_a_job_is_summed_up_once() -> None:
    lines: list[str] = []
    inner: list[str] = []
    with job(lines.append):
        for number in range(2):
            with job(inner.append):
                tell(unit("a", "w", 8, 0.5))
                remark(f"worker {number} was lost")
    assert inner == []
    assert lines[:2] == ["worker 0 was lost", "worker 1 was lost"]
    assert [line.split(",")[0] for line in lines[2:]] == ["a: 2 units"]


def test_a_job_that_fails_or_is_local_says_nothing() -> None:
    lines: list[str] = []

    def fails() -> None:
        with job(lines.append):
            tell(unit("a", "w", 8, 0.5))
            raise ValueError("nothing can be done")

    with pytest.raises(ValueError, match="nothing"):
        fails()
    with job(lines.append):
        pass
    assert lines == []
    with job(lines.append):  # the one before has ended
        tell(unit("a", "w", 8, 0.5))
    assert len(lines) == 1


def test_nobody_needs_to_listen() -> None:
    seen: list[News] = []
    tell(unit("a", "w", 8, 0.5))
    with heard(seen.append):
        tell(unit("a", "w", 9, 0.5))
    tell(unit("a", "w", 10, 0.5))
    assert [news.facts() for news in seen] == [
        {"kind": "unit", "host": "a", "worker": "w", "masks": 9, "seconds": 0.5}
    ]


# --------------------------------------------------------------------------- beside the bar


def test_a_line_now_and_then_names_the_machines(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Units of 4 s come from two machines; the count goes on with each."""
    monkeypatch.setattr(console.time, "monotonic", lambda: clock.now)
    with console.progress_bar("masked passes", quiet=False) as bar:
        for number in range(1, 7):
            clock.now += 2
            tell(unit("vm-1", "worker 0", 100, 2))
            if number % 2 == 0:
                tell(unit("vm-2", "worker 1", 80, 4))
            bar(number * 140, 1400)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "znas-engine: masked passes: 560 of 1,400; about 16 s left; vm-1 50 masks/s, vm-2 16 masks/s"
    )


PROGRAM = """
import sys, time
from znas.cli import console
from znas.cluster.news import News, tell
with console.progress_bar("searches", quiet=False) as bar:
    for done in range(3):
        time.sleep(0.6)
        tell(News(kind="unit", host="vm-1", worker="worker 0", masks=100, seconds=0.5))
        bar(done + 1, 4)
    time.sleep(0.3)
print("done", file=sys.stderr)
"""


def test_a_terminal_has_them_below_the_bar() -> None:
    shown = on_a_terminal(PROGRAM, TERM="xterm-256color", NO_COLOR="1")
    assert "searches" in shown
    assert re.search(r"vm-1 \d+ masks/s", shown)


# --------------------------------------------------------------------------- a cluster

SMALL = "--supernet-channels 4 --supernet-cells 1 --resolution 8 --images 4 --p 0 --envs 3 --seed 5"
ON = "--on ray --actors 2 --threads-per-actor 1"
#: Commands one after another in one process, which has one cluster; a line on stderr after each.
COMMANDS = """
import sys
from znas.cli import run
for command in sys.argv[1:]:
    assert run(command.split()) == 0
    print("====")
    print("====", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def said() -> list[tuple[str, str]]:
    """stdout and stderr of a search on a cluster with --json, without it, with --quiet; and here."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed (the extra cluster)")
    commands = [f"search {SMALL} {more}" for more in (f"{ON} --json", ON, f"{ON} --json --quiet", "--json")]
    names = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # the names of its sockets must be short
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, *commands],
            env=names | {"RAY_TMPDIR": folder},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    out, err = (text.split("====\n")[:-1] for text in (done.stdout, done.stderr))
    return list(zip(out, err, strict=True))


def test_events_are_json_and_add_up(said: list[tuple[str, str]]) -> None:
    out, err = said[0]
    found = json.loads(out)
    events: list[dict[str, Any]] = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    # Ray itself may say something while it starts.
    assert not [line for line in err.splitlines() if line.startswith("znas-engine")]
    times = [datetime.fromisoformat(each["time"]) for each in events]
    assert times == sorted(times)
    assert {"worker", "unit", "progress", "done"} <= {each["kind"] for each in events}
    units = [each for each in events if each["kind"] == "unit"]
    workers = {each["worker"] for each in events if each["kind"] == "worker"}
    assert {each["worker"] for each in units} <= workers
    assert sum(each["masks"] for each in units) * 2 == found["evaluations"]  # naswot: two passes a mask
    last = [each for each in events if each["kind"] == "progress"][-1]
    assert (last["what"], last["done"], last["total"]) == ("masked passes", *[found["evaluations"]] * 2)
    whole = events[-1]
    assert whole["kind"] == "done"
    assert whole["masks"] == sum(each["masks"] for each in units)
    assert whole["units"] == len(units)
    assert whole["busy"] == pytest.approx(sum(each["seconds"] for each in units))
    assert (whole["lost"], whole["repeated"]) == (0, 0)
    assert 0 < whole["utilisation"] <= 1


def test_people_get_the_same_in_words(said: list[tuple[str, str]]) -> None:
    _, err = said[1]
    (line,) = [line for line in err.splitlines() if "units" in line]
    assert re.fullmatch(
        r"znas-engine: [^:]+: \d+ units, [\d,]+ masks, [12] workers? busy \d+% of the time, in [\d.]+ s", line
    )
    assert "{" not in err


def test_quiet_is_quiet_and_a_local_job_has_no_events(said: list[tuple[str, str]]) -> None:
    assert said[2][1] == ""
    assert said[3][1] == ""


def test_all_found_the_same(said: list[tuple[str, str]]) -> None:
    results = [json.loads(out) for out, _ in (said[0], said[2], said[3])]
    for each in results:
        del each["seconds"], each["request"]
    assert results[0] == results[1] == results[2]
