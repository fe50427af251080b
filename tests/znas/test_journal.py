"""Work files: what was recorded survives a kill, a full disk and a second process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from znas_engine.errors import InvalidValueError, StorageError
from znas_engine.journal import Journal

pytestmark = pytest.mark.ours

JOB = {"job": "test", "seed": 0}


@given(
    pieces=st.dictionaries(st.text(), st.lists(st.floats(allow_nan=False)), max_size=5),
    cut=st.integers(0, 200),
)
def test_a_cut_file_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, pieces: dict[str, list[float]], cut: int
) -> None:
    """However many bytes a kill leaves, the whole pieces are there, in order, and the rest can be added."""
    path = tmp_path_factory.mktemp("journal") / "work"
    with Journal(path, JOB) as journal:
        for key, value in pieces.items():
            journal.record(key, value)
    data = path.read_bytes()
    path.write_bytes(data[: max(len(data) - cut, data.index(b"\n") + 1)])
    with Journal(path, JOB) as journal:
        kept = dict(journal.done)
        assert list(pieces)[: len(kept)] == list(kept)
        for key, value in pieces.items():
            if key not in journal.done:
                journal.record(key, value)
    with Journal(path, JOB) as journal:
        assert journal.done == pieces
    assert path.read_bytes() == data


def test_another_job_and_damage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "work"
    with Journal(path, JOB) as journal:
        journal.record("a", 1)
    with pytest.raises(InvalidValueError, match=r"belongs to another job.*its seed is 0, not 1"):
        Journal(path, JOB | {"seed": 1})
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"'))
    with pytest.raises(StorageError, match="is damaged; remove it to start again"):
        Journal(path, JOB)


@pytest.mark.parametrize(
    "what", [b"", b"notes", b"notes\n", b'{"identity": {"job": "test"}}\n', "folder", "pipe", "link"]
)
def test_a_strangers_file_is_left_as_it_is(what: bytes | str, tmp_path: Path) -> None:
    path, target = tmp_path / "work", tmp_path / "target"
    target.write_bytes(b"notes")
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to(target)
        case bytes():
            path.write_bytes(what)
    before = path.lstat()
    with pytest.raises(StorageError):
        Journal(path, JOB)
    after = path.lstat()
    assert (before.st_ino, before.st_mode, before.st_mtime_ns) == (
        after.st_ino,
        after.st_mode,
        after.st_mtime_ns,
    )
    assert not isinstance(what, bytes) or path.read_bytes() == what
    assert target.read_bytes() == b"notes"


@given(st.data())
def test_a_flipped_bit_never_changes_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "work"
    with Journal(path, JOB) as journal:
        for key in ("a", "b"):
            journal.record(key, [0.125, 3])
    whole = path.read_bytes()
    at = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at // 8] ^= 1 << at % 8
    path.write_bytes(flipped)
    try:
        with Journal(path, JOB) as journal:
            assert journal.done.items() <= {"a": [0.125, 3], "b": [0.125, 3]}.items()
    except StorageError:
        assert path.read_bytes() == flipped


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "work"
    program = (
        "from pathlib import Path; from znas_engine.journal import Journal\n"
        f"Journal(Path({str(path)!r}), {JOB!r}); print('open', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(InvalidValueError, match="another process is at work on"):
            Journal(path, JOB)
        other.kill()
    Journal(path, JOB).__exit__()


def test_a_full_disk_loses_nothing_recorded(tmp_path: Path) -> None:
    """A file size limit stands in for the full disk: the kernel refuses the write in the middle of a line."""
    path = tmp_path / "work"
    program = f"""
import resource, signal
from pathlib import Path
from znas_engine.journal import Journal
from znas_engine.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Journal(Path({str(path)!r}), {JOB!r}) as journal:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    for k in range(100):
        try:
            journal.record(str(k), [0.1] * 20)
        except StorageError as error:
            print(k, error)
            break
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert os.strerror(errno.EFBIG) in found
    recorded = int(found.split()[0])
    assert recorded > 0
    with Journal(path, JOB) as journal:
        assert list(journal.done) == [str(k) for k in range(recorded)]
        journal.record("more", 1)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used"):
        Journal(tmp_path / "file" / "work", JOB)
