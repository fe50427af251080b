from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SPACES, small
from znas_engine import paths, storage
from znas_engine.backends import get_backend
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import StorageError
from znas_engine.storage import load, load_or_build, store

NB201 = SPACES["nasbench201"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(storage, "_said", set())
    return tmp_path / "cache"


def entry(root: Path, kind: str = "kind") -> Path:
    (path,) = (p for p in (root / kind).iterdir() if not p.suffix)
    return path


DATA = b"content" * 100


def build_once(data: bytes = DATA) -> tuple[bytes, list[str], list[int]]:
    said: list[str] = []
    built: list[int] = []

    def build() -> bytes:
        built.append(1)
        return data

    return load_or_build("kind", {"a": 1}, build, report=said.append), said, built


def test_what_would_not_be_read_again_is_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_LIMIT", len(DATA) - 1)
    for _ in range(2):
        data, said, built = build_once()
        assert (data, built) == (DATA, [1])
        assert "700 bytes are too many for the cache entry" in said[0]
    monkeypatch.setattr(storage, "_LIMIT", len(DATA))
    assert build_once()[1:] == ([], [1])
    assert build_once()[1:] == ([], [])


def test_builds_once_and_says_what_it_was_made_from(root: Path) -> None:
    assert build_once() == (DATA, [], [1])
    assert build_once() == (DATA, [], [])
    what, facts, data = entry(root).read_bytes().split(b"\n", 2)
    assert what + b"\n" == storage.MAGIC
    assert json.loads(facts)["key"] == {"a": 1}
    assert json.loads(facts)["bytes"] == len(data) == 700


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda entry: entry[:-1],
    "cut above the data": lambda entry: entry[: len(storage.MAGIC) + 20],
    "cut in its first line": lambda entry: entry[:5],
    "empty": lambda entry: b"",
    "other data": lambda entry: entry[:-1] + b"X",
    "longer": lambda entry: entry + b"X",
    "no JSON": lambda entry: storage.MAGIC + b"{\n" + DATA,
    "a list": lambda entry: storage.MAGIC + b"[]\n" + DATA,
    "deep": lambda entry: storage.MAGIC + b"[" * 60_000 + b"\n" + DATA,
    "no end of the line": lambda entry: storage.MAGIC + b"x" * 200_000,
    "another key": lambda entry: entry.replace(b'"a": 1', b'"a": 2'),
    "another length": lambda entry: entry.replace(b": 700", b": 701"),
    "other spaces": lambda entry: entry.replace(b'"a": 1', b'"a":  1'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_entries_are_rebuilt_with_a_word(root: Path, damage: str) -> None:
    build_once()
    path = entry(root)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    data, said, built = build_once()
    assert data == DATA
    assert built == [1]
    assert len(said) == 1
    assert "damaged; building it again" in said[0]
    assert build_once() == (DATA, [], [])


def test_no_flipped_bit_changes_what_an_entry_gives(root: Path) -> None:
    """Every bit of a whole file: the entry is not found, or it is what it was."""
    store("kind", {"a": 1}, b"some data", made_by={"Library": "1"}, report=print)
    path = entry(root)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        said: list[str] = []
        assert load("kind", {"a": 1}, made_by={"Library": "1"}, report=said.append) is None
        assert len(said) == 1
    path.write_bytes(whole)
    assert load("kind", {"a": 1}, made_by={"Library": "1"}, report=print) == b"some data"


def test_data_that_cannot_be_what_the_key_names_are_rebuilt(root: Path) -> None:
    """Whole by its digest, and yet not numbers: an empty calibration, a pickle."""

    def numbers(data: bytes) -> None:
        if not data or len(data) % 4:
            raise ValueError

    for wrong in (b"", b"\x80\x04N."[:3], b"12345"):
        store("kind", {}, wrong, report=print)
        said: list[str] = []
        found = load_or_build("kind", {}, lambda: b"four", report=said.append, check=numbers)
        assert found == b"four"
        assert len(said) == 1
        assert "damaged" in said[0]


def plant(path: Path, what: str) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    match what:
        case "text":
            path.write_text("my notes")
        case "nearly":
            path.write_bytes(storage.MAGIC.replace(b"2", b"1") + b"{}\n")
        case "folder":
            path.mkdir()
            (path / "notes").write_text("my notes")
        case "link":
            elsewhere.write_text("my notes")
            path.symlink_to(elsewhere)
        case "link to an entry":
            elsewhere.write_bytes(storage.MAGIC)
            path.symlink_to(elsewhere)
        case "link to nothing":
            path.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(os.path.relpath(path))


PLANTED = ("text", "nearly", "folder", "link", "link to an entry", "link to nothing", "pipe", "socket")


def everything(folder: Path) -> dict[str, object]:
    """What lies below a folder, with contents and times."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(about.st_mode) else None
        times = None if path.is_dir() else (about.st_mtime_ns, about.st_ino)
        found[str(path.relative_to(folder))] = (stat.S_IFMT(about.st_mode), times, content)
    return found


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_no_entry_is_left_alone(what: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_once()
    path = entry(root)
    path.unlink()
    monkeypatch.chdir(path.parent)  # a socket's name is short
    plant(path, what)
    before = everything(root)
    for _ in range(2):
        data, said, built = build_once()
        assert (data, built) == (DATA, [1])
        assert len(said) == 1
        assert "left as it is, nothing is kept there" in said[0]
    said = []
    store("kind", {"a": 1}, b"new", report=said.append)
    assert load("kind", {"a": 1}, report=said.append) is None
    assert len(said) == 2
    assert everything(root) == before


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_no_lock_is_left_alone(what: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is not put through a planted link, and no file is emptied for it."""
    build_once()
    path = entry(root)
    path.unlink()
    path.with_suffix(".lock").unlink()
    monkeypatch.chdir(path.parent)
    plant(path.with_suffix(".lock"), what)
    before = everything(root)
    assert build_once() == (DATA, [], [1])
    path.unlink()
    assert everything(root) == before


def test_only_what_it_left_itself_is_swept(root: Path) -> None:
    build_once()
    path = entry(root)
    whole = path.read_bytes()
    path.unlink()
    ours = path.with_name(f".{path.name}.{'0' * 16}.tmp")
    ours.write_bytes(whole[:-3])
    kept = [
        path.with_name(f".{path.name}.{'1' * 16}.tmp"),  # somebody's notes
        path.with_name(f".{path.name}.notes.tmp"),
        path.with_name(f"{path.name}.bak"),
    ]
    for each in kept:
        each.write_text("my notes")
    (path.with_name(f".{path.name}.{'2' * 16}.tmp")).mkdir()
    assert build_once() == (DATA, [], [1])
    assert not ours.exists()
    assert [each.read_text() for each in kept] == ["my notes"] * 3


def test_a_failing_build_leaves_nothing(root: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        load_or_build("kind", {}, fail, report=print)
    assert [p.suffix for p in (root / "kind").iterdir()] in ([], [".lock"])


@pytest.mark.parametrize(
    "where", ["a file", "below a file", "no folder can be made there", "a link to nothing"]
)
def test_work_goes_on_where_nothing_can_be_kept(
    where: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, once, and the right data every time."""
    root.parent.mkdir(exist_ok=True)
    match where:
        case "a file":
            root.write_text("a file where the folder should be")
        case "below a file":
            root.write_text("a file")
            monkeypatch.setenv("ZNAS_CACHE", str(root / "cache"))
        case "no folder can be made there":
            monkeypatch.setenv("ZNAS_CACHE", "/proc/self/cache")
        case "a link to nothing":
            root.symlink_to(root.parent / "nothing")
    said: list[str] = []
    for count in range(3):
        found = load_or_build("kind", {"count": count}, lambda: b"data", report=said.append)
        assert found == b"data"
    assert len(said) == 1
    assert re.search(r"cache folder .* cannot be written .*: going on without it; set ZNAS_CACHE", said[0])
    assert [path.name for path in root.parent.iterdir()] in ([], ["cache"])


FULL = """
import resource, sys
from znas_engine.storage import load_or_build
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
for count in range(3):
    assert load_or_build("kind", {"count": count}, lambda: b"x" * 1000, report=print) == b"x" * 1000
"""


@pytest.mark.parametrize("limit", [0, 100, 1100])
def test_a_full_disk_is_one_line(limit: int, root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(limit)], capture_output=True, text=True, check=True
    )
    (said,) = done.stdout.splitlines()
    assert said == (
        f"the cache folder {root} cannot be written (File too large): going on without it; "
        "set ZNAS_CACHE to another"
    )
    assert {path.suffix for path in (root / "kind").iterdir()} == {".lock"}


def as_nobody(work: Callable[[], None]) -> None:
    """In a process that is not root, whom no permission stops; what it raises is raised here."""
    if os.geteuid() != 0:
        work()
        return
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            work()
        except BaseException:  # noqa: BLE001
            os.write(writer, traceback.format_exc().encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    os.waitpid(child, 0)
    assert not said, said


@pytest.fixture
def open_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache where other users get to, and may not write."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("ZNAS_CACHE", str(Path(folder) / "cache"))
        yield Path(folder) / "cache"
        for each in (Path(folder) / "cache").rglob("*"):
            if each.is_dir():
                each.chmod(0o755)


def test_a_warm_cache_is_read_where_it_cannot_be_written(open_root: Path) -> None:
    build_once()
    entry(open_root).with_suffix(".lock").unlink()
    for folder in (open_root / "kind", open_root):
        folder.chmod(0o555)

    def read() -> None:
        assert build_once() == (DATA, [], [])
        said: list[str] = []
        assert load_or_build("kind", {"a": 2}, lambda: b"two", report=said.append) == b"two"
        assert len(said) == 1
        assert "cannot be written (Permission denied): going on without it" in said[0]

    as_nobody(read)
    open_root.chmod(0o755)


def test_an_entry_that_cannot_be_read_is_left_alone(open_root: Path) -> None:
    build_once()
    entry(open_root).chmod(0o000)

    def read() -> None:
        data, said, built = build_once()
        assert (data, built) == (DATA, [1])
        assert "cannot be read (Permission denied): left as it is" in said[0]

    as_nobody(read)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_nobody_else_may_write_what_it_makes(umask: int, root: Path) -> None:
    before = os.umask(umask)
    try:
        build_once()
        load_or_build("plan", {}, lambda: b"plan", report=print, executed=True)
        assert load_or_build("plan", {}, lambda: b"other", report=print, executed=True) == b"plan"
    finally:
        os.umask(before)
    for path in (root, *root.rglob("*")):
        assert not path.stat().st_mode & 0o022


def make_untrusted(root: Path, how: str) -> Path:
    """Lets others write somewhere; returns where."""
    match how:
        case "the root is everybody's":
            path, mode = root, 0o777
        case "the root is the group's":
            path, mode = root, 0o775
        case "the folder is the group's":
            path, mode = root / "kind", 0o770
        case "the folder is everybody's, and sticky":
            path, mode = root / "kind", 0o1777
        case "the entry is the group's":
            path, mode = entry(root), 0o664
        case _:
            path, mode = {"root": root, "folder": root / "kind", "entry": entry(root)}[how.split()[1]], 0o755
            os.chown(path, 54321, -1)
    path.chmod(mode)
    return path


UNTRUSTED = [
    "the root is everybody's",
    "the root is the group's",
    "the folder is the group's",
    "the folder is everybody's, and sticky",
    "the entry is the group's",
    *(
        pytest.param(
            f"the {what} is another's", marks=pytest.mark.skipif(os.geteuid() != 0, reason="not root")
        )
        for what in ("root", "folder", "entry")
    ),
]


@pytest.mark.parametrize("how", UNTRUSTED)
def test_what_others_may_write_is_not_executed_and_else_remarked(how: str, root: Path) -> None:
    build_once()
    path = make_untrusted(root, how)
    why = r"the cache (can be written by others|belongs to another user \(number 54321\))"
    for ask in (lambda **more: load_or_build("kind", {"a": 1}, lambda: b"", report=print, **more), loaded):
        with pytest.raises(StorageError, match=rf"{why}, and a kind from it would be executed: .*{path}, or"):
            ask(executed=True)
    data, said, built = build_once()
    assert (data, built) == (DATA, [])
    assert len(said) == 1
    assert re.match(rf"{why} and is used nevertheless: (chown it and )?chmod go-w {path}, or set", said[0])
    assert build_once() == (DATA, [], [])  # said once


def loaded(**more: Any) -> bytes | None:
    return load("kind", {"a": 1}, report=print, **more)


def test_a_folder_of_ours_in_a_sticky_one_is_trusted(root: Path) -> None:
    """ZNAS_CACHE=/tmp"""
    root.mkdir(parents=True)
    root.chmod(0o1777)
    said: list[str] = []
    for _ in range(2):
        found = load_or_build("plan", {}, lambda: b"plan", report=said.append, executed=True)
        assert found == b"plan"
    assert not said


HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("here", flush=True)
sys.stdin.read()
"""


def test_a_lock_that_is_never_given_back_is_said_and_outwaited(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SAID_AFTER", 0.1)
    monkeypatch.setattr(storage, "PATIENCE", 0.5)
    build_once()
    path = entry(root)
    path.unlink()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path.with_suffix(".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "here\n"
    try:
        data, said, built = build_once()
        assert (data, built) == (DATA, [1])
        assert len(said) == 1
        assert f"process {os.getpid()} waits for another one, which makes the cache entry {path}" in said[0]
        assert build_once() == (DATA, [], [])  # reading waits for nobody
    finally:
        holder.communicate()


def _read_on(root: str, number: int, results: Any) -> None:
    os.environ["ZNAS_CACHE"] = root
    try:
        for count in range(60):
            name = (number + count) % 7
            found = load_or_build(
                "kind", {"name": name}, (b"%d" % name * 1000).upper, report=lambda line: None
            )
            assert found == b"%d" % name * 1000
    except BaseException:
        results.put(traceback.format_exc())
        raise
    results.put("")


def test_the_cache_may_be_deleted_at_any_moment(root: Path) -> None:
    """In a loop, while eight processes work."""
    context = multiprocessing.get_context("fork" if sys.version_info < (3, 12) else "spawn")
    results = context.Queue()
    workers = [context.Process(target=_read_on, args=(str(root), n, results)) for n in range(8)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        shutil.rmtree(root, ignore_errors=True)
    assert [results.get(timeout=60) for _ in workers] == [""] * 8
    for worker in workers:
        worker.join()


HOMELESS = """
import json, os
from znas_engine.storage import cache_root, load_or_build
os.setgid(54321)
os.setuid(54321)
said = []
for count in range(2):
    assert load_or_build("plan", {}, lambda: b"data", report=said.append, executed=True) == b"data"
print(json.dumps([str(cache_root()), said]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes a user whom the system does not know")
@pytest.mark.parametrize("planted", ["nothing", "a folder of everybody", "a link", "a file"])
def test_without_a_home_there_is_a_private_folder(planted: str, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        place.chmod(0o1777)
        usual = place / "znas-engine-54321"
        match planted:
            case "a folder of everybody":
                usual.mkdir()
                usual.chmod(0o777)
            case "a link":
                usual.symlink_to("/etc")
            case "a file":
                usual.write_text("notes")
        environment = {"PYTHONPATH": os.pathsep.join(map(str, sys.path)), "TMPDIR": temporary}
        done = subprocess.run(
            [sys.executable, "-c", HOMELESS], env=environment, capture_output=True, text=True, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        where, said = json.loads(done.stdout)
        assert (where == str(usual)) == (planted == "nothing")
        assert Path(where).parent == place
        assert stat.S_IMODE(Path(where).stat().st_mode) == 0o700
        assert said == [f"there is no home folder here: the cache is {where}; set ZNAS_CACHE to another"]


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZNAS_CACHE", "~/here")
    assert storage.cache_root() == tmp_path / "here"


def test_atomic_write_replaces_whole_files_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "file"
    paths.replace(path, b"one")
    paths.replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_an_entry_of_another_version_is_rebuilt_with_a_word(root: Path) -> None:
    said: list[str] = []

    def built_by(version: str) -> bytes:
        return load_or_build("kind", {}, version.encode, report=said.append, made_by={"Library": version})

    assert [built_by("1"), built_by("1"), built_by("2"), built_by("2")] == [b"1", b"1", b"2", b"2"]
    assert len(said) == 1
    assert "was made by Library 1, not Library 2; building it again" in said[0]
    assert len([p for p in (root / "kind").iterdir() if not p.suffix]) == 1


versions = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3)


@given(steps=st.lists(st.tuples(versions, versions), max_size=12))
def test_an_entry_is_what_its_key_and_versions_say(
    steps: list[tuple[dict[str, int], dict[str, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A dictionary from keys to (versions, data) predicts what is built and what is found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZNAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        model: dict[str, tuple[dict[str, int], bytes]] = {}
        for count, (key, made_by) in enumerate(steps):
            name = str(sorted(key.items()))
            if name not in model or model[name][0] != made_by:
                model[name] = (made_by, str(count).encode())
            found = load_or_build("kind", key, str(count).encode, report=lambda line: None, made_by=made_by)
            assert found == model[name][1]


def test_what_was_stored_is_loaded_until_it_is_damaged(root: Path) -> None:
    said: list[str] = []
    assert load("kind", {}, report=said.append) is None
    store("kind", {}, b"one", report=said.append)
    store("kind", {}, b"two", report=said.append)
    assert load("kind", {}, report=said.append) == b"two"
    assert load("kind", {}, report=said.append, made_by={"Library": "1"}) is None
    assert "was made by another version, not Library 1" in said.pop()
    entry(root).write_bytes(entry(root).read_bytes()[:-1])
    assert load("kind", {}, report=said.append) is None
    assert "damaged" in said.pop()


KILLED = """
import os, sys, time
from znas_engine import paths, storage
from znas_engine.storage import load_or_build

def stop(*_):
    print("here", flush=True)
    time.sleep(600)

where = sys.argv[1]
if where == "while it writes":
    os.fsync = stop
load_or_build("kind", {"a": 1}, stop if where == "while it builds" else lambda: b"x" * 100, report=print)
"""


@pytest.mark.parametrize("where", ["while it builds", "while it writes"])
def test_a_killed_process_leaves_no_lock_and_no_half_entry(where: str, root: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, where], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.kill()
    process.communicate()
    assert build_once() == (DATA, [], [1])
    assert {p.suffix for p in (root / "kind").iterdir()} == {"", ".lock"}
    assert not [p for p in (root / "kind").iterdir() if p.name.startswith(".")]


def _fill(root: str, start: Any, results: Any) -> None:
    import os
    import time

    os.environ["ZNAS_CACHE"] = root
    built = []

    def build() -> bytes:
        built.append(1)
        time.sleep(0.2)
        return bytes(1_000_000)

    start.wait()
    data = load_or_build("kind", {"shared": True}, build, report=lambda line: built.append(100))
    results.put((len(built), len(data)))


def test_processes_filling_one_cache_build_once(root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=_fill, args=(str(root), start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sum(built for built, _ in found) == 1
    assert {size for _, size in found} == {1_000_000}


def test_a_corrupt_exported_graph_gives_the_same_scores_again(root: Path, images: Batch) -> None:
    environment = Environment(1, "gaussian", images)
    said: list[str] = []

    def logits() -> Any:
        backend = get_backend("ort")(NB201, small(NB201), report=said.append)
        return backend.observe(NB201.mixture()[None], environment)[0].logits

    first = logits()
    for kind in ("onnx", "calibration"):
        path = entry(root, kind)
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    assert np.array_equal(logits(), first)
    assert len(said) == 2


def test_keys_tell_environments_sizes_and_outputs_apart(root: Path, images: Batch) -> None:
    for norm in ("calibrated", "identity"):
        for seed in (0, 1):
            backend = get_backend("ort")(NB201, small(NB201), norm=norm)
            backend.observe(NB201.mixture()[None], Environment(seed, "gaussian", images))
            backend.observe(NB201.mixture()[None], Environment(seed, "uniform", images), reads=["codes"])
    assert len([p for p in (root / "onnx").iterdir() if not p.suffix]) == 8
    assert len([p for p in (root / "calibration").iterdir() if not p.suffix]) == 4
