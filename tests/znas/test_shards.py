"""Parts of a job, each of a process of its own: joined they are what one process gives, byte for byte."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain, islice, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.command import here, refused, supernet
from znas.shards.shard import Shard
from znas_engine.journal import Journal
from znas_engine.spaces.nasbench201.genotype import OPERATIONS, NasBench201Genotype

pytestmark = pytest.mark.ours

TINY = (*supernet(2, 1, 8, 4), "--data", "gaussian", "--threads", "1", "-q")
SCORE = ("score", "--random", "1500", "--references", "9", "--score", "naswot", "--envs", "4", *TINY)
#: The same with few pieces.
FEW = ("score", "--random", "150", "--references", "9", "--score", "naswot", *TINY)
MANY = 16

Asked = tuple[str | Path, ...]


def done(*arguments: str | Path) -> str:
    found = here(*arguments)
    assert found.returncode == 0, found.stderr
    return found.stdout


def parts_of(folder: Path, count: int) -> list[Path]:
    return [Shard(number, count).folder(folder / "all.csv") for number in range(1, count + 1)]


def in_parts(arguments: Asked, out: Path, count: int) -> list[Path]:
    """The folders of all parts of that command."""
    for number in range(count, 0, -1):
        done(*arguments, "--out", out, "--shard", f"{number}/{count}")
    return [Shard(number, count).folder(out) for number in range(1, count + 1)]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `MANY` parts are done, one of which was killed on its way."""
    folder = tmp_path_factory.mktemp("many")
    part = parts_of(folder, MANY)[4]
    while not killed_on_its_way((*SCORE, "--out", str(folder / "all.csv"), "--shard", f"5/{MANY}"), part):
        shutil.rmtree(part)  # this machine was too busy to see it in time
    kept = (part / "score.work").read_bytes()
    in_parts(SCORE, folder / "all.csv", MANY)
    assert (part / "score.work").read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])
    return folder


def killed_on_its_way(arguments: Asked, part: Path) -> bool:
    """Whether the command was killed between its first piece and its end."""
    work = part / "score.work"
    with subprocess.Popen([sys.executable, "-m", "znas", *arguments], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (work.is_file() and work.read_bytes().count(b"\n") >= 2):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode in (0, -signal.SIGKILL)
    return json.loads((part / "shard.json").read_text())["finished"] is False


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What one process writes."""
    out = tmp_path_factory.mktemp("whole") / "all.csv"
    done(*SCORE, "--out", out)
    return out.read_bytes()


@settings(max_examples=4)
@given(st.permutations(range(MANY)))
def test_any_order_gives_the_bytes_of_one_process(many: Path, whole: bytes, order: list[int]) -> None:
    parts, out = parts_of(many, MANY), many / "joined.csv"
    before = contents(many)
    said = done("merge", *(parts[i] for i in order), "--out", out, "--quiet")
    assert f"written     {out}" in said
    assert out.read_bytes() == whole
    out.unlink()
    assert contents(many) == before  # the parts stay, and nothing else came


def test_a_part_says_what_it_did(tmp_path: Path) -> None:
    """Every third piece of three; one that is done already is left as it is."""
    out = tmp_path / "all.csv"
    asked: Asked = (*FEW, "--out", out, "--shard", "2/3")
    said = json.loads(done(*asked, "--json"))
    folder = tmp_path / "all.csv.2-of-3"
    assert said == {"shard": "2/3", "pieces": 1, "of": 3, "folder": str(folder)}
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert [path.name for path in sorted(folder.iterdir())] == ["score.work", "shard.json"]
    before = contents(folder)
    assert done(*asked) == (
        f"part 2/3: 1 of 3 pieces are done, in {folder}; once all parts are: znas-engine merge {out}.*-of-3 "
        f"--out {out}\n"
    )
    assert contents(folder) == before


def test_threads_and_the_name_of_the_output_are_no_part_of_a_job(tmp_path: Path) -> None:
    first = done(*FEW, "--out", tmp_path / "one.csv", "--shard", "1/2", "--json")
    other = done(*FEW, "--out", tmp_path / "deep" / "two.json", "--shard", "2/2", "--threads", "2", "--json")
    folders = [json.loads(said)["folder"] for said in (first, other)]
    done("merge", *folders, "--out", tmp_path / "joined.json")
    done(*FEW, "--out", tmp_path / "whole.json")
    assert (tmp_path / "joined.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_architectures_are_a_part_of_the_command(tmp_path: Path) -> None:
    cells = ["[3, 3, 3, 1, 2, 3]", "|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"]
    asked = ("score", *cells, "--score", "naswot", "--references", "70", *TINY)
    done("merge", *in_parts(asked, tmp_path / "all.csv", 2), "--out", tmp_path / "all.csv")
    done(*asked, "--out", tmp_path / "whole.csv")
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    (tmp_path / "all.csv").unlink()
    other = ("score", cells[0], *asked[3:], "--out", tmp_path / "all.csv", "--shard", "1/2")
    assert "all.csv.1-of-2 holds a part of another job" in refused(here(*other))


@given(st.integers(1, 40), st.lists(st.integers(0, 30), max_size=4))
def test_every_piece_is_of_one_part(count: int, phases: list[int]) -> None:
    """Whatever the numbers of pieces of several phases; parts differ by one at most."""
    pieces = [str(i) for i in range(sum(phases))]
    found: list[list[str]] = []
    for number in range(1, count + 1):
        own, first = [], 0
        for size in phases:
            own += Shard(number, count).of(pieces[first : first + size], first)
            first += size
        assert own == Shard(number, count).of(pieces)
        found.append(own)
    assert sorted(chain.from_iterable(found), key=int) == pieces
    assert max(map(len, found)) - min(map(len, found)) <= 1


# --- what has other pieces ---


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few cells, so that searches find some that are not there."""
    path = tmp_path_factory.mktemp("tables") / "cells.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch", "accuracy"])
        for operations in islice(product(OPERATIONS, repeat=6), 0, None, 31):
            writer.writerow([str(NasBench201Genotype(operations)), 50 + 7 * operations.count(OPERATIONS[3])])
    return path


def test_correlation_has_pieces_of_several_scores(table: Path, tmp_path: Path) -> None:
    asked: Asked = (
        *("reproduce", "correlation", "--table", table, "--architectures", "200", "--envs", "2"),
        *("--scores", "naswot,params,naswot+params", *TINY),
    )
    done(*asked, "--out", tmp_path / "whole")
    done("merge", *in_parts(asked, tmp_path / "joined", 3), "--out", tmp_path / "joined")
    whole, joined = contents(tmp_path / "whole"), contents(tmp_path / "joined")
    assert joined.keys() == whole.keys()
    for name in ("correlation-scores.csv", "correlation-environments.csv"):
        assert joined[name] == whole[name]
    again(asked, tmp_path / "joined", "scores.work")


def test_searches_of_a_table_take_their_second_ones_along(table: Path, tmp_path: Path) -> None:
    """A search that finds what the table lacks is run again by the part that ran it."""
    asked: Asked = (
        *("reproduce", "table2", "--seeds", "3", *TINY),
        *("--rows", "random,most-parameters,naswot-p0.5,naswot-10", "--table"),
        table,
    )
    done(*asked, "--out", tmp_path / "whole")
    done("merge", *in_parts(asked, tmp_path / "joined", 5), "--out", tmp_path / "joined")
    found = [
        [(row["architectures"], row["instead"]) for row in json.loads(text)["rows"]]
        for text in (contents(tmp_path / folder)["table2.json"] for folder in ("whole", "joined"))
    ]
    assert found[0] == found[1]
    assert any(each for _, instead in found[0] for each in instead)
    keys = [
        [json.loads(line.partition(b" ")[2]).get("key") for line in text.splitlines()]
        for text in (contents(tmp_path / folder)["searches.work"] for folder in ("whole", "joined"))
    ]
    assert keys[0] == keys[1]
    again(asked, tmp_path / "joined", "searches.work")


def again(asked: Asked, joined: Path, work: str) -> None:
    """One process that measured the same seconds writes the same bytes."""
    alone = joined.with_name("alone")
    alone.mkdir()
    shutil.copy(joined / work, alone)
    done(*asked, "--out", alone)
    assert contents(alone) == contents(joined)


@pytest.mark.parametrize(
    "asked",
    [
        ("prior", "fit", "--envs", "5", *TINY),
        (
            *("diagnose", "--robustness", "--inits", "gaussian", "--ps", "0,1", "--image-counts", "4"),
            *("--norms", "batch", "--seeds", "2", *TINY),
        ),
    ],
    ids=["prior fit", "robustness"],
)
def test_others(asked: tuple[str, ...], tmp_path: Path) -> None:
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    done(*asked, "--out", whole)
    done("merge", *in_parts(asked, joined, 2), "--out", joined)
    if whole.is_dir():
        assert contents(joined) == contents(whole)
    else:
        assert joined.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("joined", "joined.1-of-2", "joined.2-of-2", "whole"),
    ]


# --- what cannot be joined ---


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    in_parts(FEW, folder / "all.csv", 2)
    in_parts((*FEW, "--images", "5"), folder / "other.csv", 2)
    return folder


def another_version(folder: Path) -> None:
    record(folder, version="0.0.1")


def unfinished(folder: Path) -> None:
    """Killed before its last piece."""
    record(folder, finished=False)
    work = folder / "score.work"
    work.write_bytes(b"".join(work.read_bytes().splitlines(keepends=True)[:-1]))


def hardly_begun(folder: Path) -> None:
    record(folder, finished=False, works={})
    (folder / "score.work").unlink()


def before_its_end(folder: Path) -> None:
    """Killed while it did what followed from its pieces."""
    record(folder, finished=False)


def of_another_command(folder: Path) -> None:
    found = json.loads((folder / "shard.json").read_text())["command"]
    record(folder, command=found | {"decides": [*found["decides"], "--envs", "2"]})


def of_more_parts(folder: Path) -> None:
    record(folder, shard="2/3")


def of_other_data(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("other.csv.2-of-2"), folder)
    record(
        folder, command=json.loads((folder.with_name("all.csv.1-of-2") / "shard.json").read_text())["command"]
    )


def the_same(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("all.csv.1-of-2"), folder)


def no_part(folder: Path) -> None:
    (folder / "shard.json").unlink()


def no_json(folder: Path) -> None:
    (folder / "shard.json").write_text("{")


def misshapen(folder: Path) -> None:
    record(folder, works={"score.work": {"identity": {}, "pieces": 3}})


def damaged(folder: Path) -> None:
    work = folder / "score.work"
    work.write_bytes(work.read_bytes().replace(b'"seconds": ', b'"seconds": 1'))


def with_a_piece_of_the_other(folder: Path) -> None:
    """Of another value."""
    identity = json.loads((folder / "shard.json").read_text())["works"]["score.work"]["identity"]
    with Journal(folder / "score.work", identity) as journal:
        journal.record("scores/0", {"values": [[0.0] * 64], "seconds": 0.0})


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (another_version, "all.csv.2-of-2 is a part by znas-engine 0.0.1, and this is"),
        (unfinished, "not all is there: part 2/2 lacks 1 of 1 pieces, 'scores/64'"),
        (hardly_begun, "not all is there: part 2/2 lacks 1 of 1 pieces, 'scores/64'"),
        (before_its_end, "not all is there: part 2/2 is not finished: give its command again"),
        (of_another_command, "its command has '9 --envs 2', where the other has '9'"),
        (of_more_parts, "it is part 2/3, not one of 2"),
        (of_other_data, "in score.work (its images is 5, not 4)"),
        (the_same, "part 1/2 is given twice"),
        (no_part, "is no part of a job (it has no shard.json): name folders of --shard"),
        (no_json, "shard.json is not JSON"),
        (misshapen, "shard.json is not as znas-engine wrote it"),
        (damaged, "score.work is damaged"),
        (with_a_piece_of_the_other, "the piece 'scores/0' has another value in"),
    ],
)
def test_what_cannot_be_joined(two: Path, change: Callable[[Path], None], wrong: str, tmp_path: Path) -> None:
    shutil.copytree(two, tmp_path, dirs_exist_ok=True)
    change(tmp_path / "all.csv.2-of-2")
    before = contents(tmp_path)
    said = refused(here("merge", *parts_of(tmp_path, 2), "--out", tmp_path / "joined.csv"))
    assert wrong in said
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "verb", [["cache", "clear"], ["search"], ["no-such-verb"], ["reproduce"], ["score", "all"], ["--version"]]
)
def test_nothing_is_run_that_has_no_parts(two: Path, verb: list[str], tmp_path: Path) -> None:
    shutil.copytree(two, tmp_path, dirs_exist_ok=True)
    for folder in parts_of(tmp_path, 2):
        found = json.loads((folder / "shard.json").read_text())["command"]
        record(folder, command=found | {"verb": verb, "decides": []})
    before = contents(tmp_path)
    said = refused(here("merge", *parts_of(tmp_path, 2), "--out", tmp_path / "joined.csv"))
    assert f"the parts are of {' '.join(verb)!r}, which has no --shard" in said
    assert contents(tmp_path) == before


def test_a_process_of_its_own_joins(two: Path, tmp_path: Path) -> None:
    """In which nothing has imported the verb of the parts."""
    out = tmp_path / "joined.csv"
    command = [sys.executable, "-m", "znas", "merge", *map(str, parts_of(two, 2)), "--out", str(out), "-q"]
    assert subprocess.run(command, capture_output=True, text=True).returncode == 0
    assert out.is_file()


def test_what_is_missing_is_named(many: Path, two: Path, tmp_path: Path) -> None:
    out = tmp_path / "joined.csv"
    parts = [part for i, part in enumerate(parts_of(many, MANY), 1) if i not in (2, 5, 7, 11)]
    assert "4 of 16 parts are not given, 2/16, 5/16, 7/16, ..." in refused(
        here("merge", *parts, "--out", out)
    )
    one = parts_of(two, 2)[0]
    assert f"the part {one} is given twice" in refused(here("merge", one, one, "--out", out))
    assert f"{tmp_path / 'nowhere'} is no part" in refused(here("merge", tmp_path / "nowhere", "--out", out))
    assert list(tmp_path.iterdir()) == []
    out.write_text("mine")
    assert "exists already" in refused(here("merge", *parts_of(two, 2), "--out", out))
    assert contents(tmp_path) == {"joined.csv": b"mine"}


def record(folder: Path, **changes: object) -> None:
    """Writes the record of a part anew."""
    path = folder / "shard.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- what cannot be done in parts ---


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ((*FEW, "--shard", "3/2"), "`shard` must be between 1 and 2 but got 3"),
        ((*FEW, "--shard", "half"), "such as 2/8, but got 'half'"),
        (("prior", "fit", "--source", "one-shot", "--shard", "1/2"), "--source one-shot is of one process"),
        (("diagnose", "--shard", "1/2"), "pass --robustness, or leave --shard out"),
        (("reproduce", "table1", "--train", "1", "--shard", "1/2"), "--train 1 is of the whole table"),
        (("reproduce", "table1", "--table", "x", "--shard", "1/2"), "table1 --table is two jobs"),
        (
            ("reproduce", "table2", "--shard", "1/2", *TINY),
            "one-shot.json is trained first, by one process: give the same command with --rows",
        ),
    ],
)
def test_what_cannot_be_done_in_parts(arguments: tuple[str, ...], wrong: str, tmp_path: Path) -> None:
    assert wrong in refused(here(*arguments, "--out", tmp_path / "out.csv"))
    assert list(tmp_path.iterdir()) == []


def test_a_part_needs_an_output_and_a_folder_of_its_own(tmp_path: Path) -> None:
    assert "--shard 1/2 leaves its part beside --out" in refused(here(*FEW, "--shard", "1/2"))
    out = tmp_path / "all.csv"
    folder = tmp_path / "all.csv.1-of-2"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    assert f"{folder} exists already" in refused(here(*FEW, "--out", out, "--shard", "1/2"))
    assert contents(tmp_path) == {"all.csv.1-of-2/mine": b"mine"}
    (folder / "mine").unlink()
    done(*FEW, "--out", out, "--shard", "1/2")
    other = refused(here(*FEW, "--envs", "2", "--out", out, "--shard", "1/2"))
    assert f"{folder} holds a part of another job, its command has" in other
