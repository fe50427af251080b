"""`--out`: what exists already, what cannot be written, what goes on; and nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from znas.files import Album, check_new, work_file, write_file, write_folder
from znas_engine import paths
from znas_engine.errors import StorageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder", "link to nothing"])
def test_what_exists_is_refused(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("kept")
    elif kind == "folder":
        out.mkdir()
    else:
        out.symlink_to(tmp_path / "nowhere")
    for write in (lambda: check_new(out), lambda: write_folder(out, {"a": b"new"})):
        with pytest.raises(StorageError, match=rf"the output {out} exists already; name another one"):
            write()
    assert names(tmp_path) == ["out"]
    assert kind != "file" or out.read_text() == "kept"


def test_a_place_is_tried_before_the_work(tmp_path: Path) -> None:
    """And nothing of it is left, its parents neither."""
    check_new(tmp_path / "deep" / "er" / "out")
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("")
    beneath = tmp_path / "file" / "out"
    for write in (
        lambda: check_new(beneath),
        lambda: write_file(beneath, b""),
        lambda: write_folder(beneath, {}),
    ):
        with pytest.raises(StorageError, match=r"file/out cannot be written \(.+\)"):
            write()
    with pytest.raises(StorageError, match=r"out cannot be written \(Not a directory\)"):
        check_new(tmp_path / "file" / "deep" / "out")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(StorageError, match=r"out cannot be written \(No such file or directory\)"):
        check_new(tmp_path / "nowhere" / "deep" / "out")
    assert names(tmp_path) == ["file", "nowhere"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match=r"cannot be written \(Permission denied\)"):
        check_new(tmp_path / "out")


def test_a_folder_is_whole_and_readable_by_others(tmp_path: Path) -> None:
    out = write_folder(tmp_path / "new" / "out", {"a": b"1", "b": b"22"})
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"a": b"1", "b": b"22"}
    assert out.stat().st_mode & 0o777 == 0o755
    assert names(out.parent) == ["out"]


def test_a_new_file_is_whole_and_no_other_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert write_file(path, b"one") == path
    with pytest.raises(StorageError, match="exists already"):
        write_file(path, b"two")
    assert path.read_bytes() == b"one"
    assert names(path.parent) == ["file"]


def test_an_album_writes_its_own_files_anew_and_no_others(tmp_path: Path) -> None:
    """New, empty or its own folder; a stranger's is left alone, and so is what somebody has edited."""
    out = tmp_path / "out"
    Album(out)
    assert not out.exists()
    out.mkdir()
    album = Album(out, ("searches.work",))
    album.write("a.csv", b"one")
    album.write("a.csv", b"two")
    (out / "letters.txt").write_text("kept")
    again = Album(out, ("searches.work",))
    again.write("a.csv", b"three")
    again.write("b.csv", b"new")
    (out / "b.csv").write_text("edited")
    for name in ("letters.txt", "b.csv"):
        with pytest.raises(StorageError, match=rf"{name} is not as znas-engine wrote it; move it away"):
            again.write(name, b"lost")
    assert {each.name: each.read_text() for each in out.glob("[a-z]*")} == {
        "a.csv": "three",
        "b.csv": "edited",
        "letters.txt": "kept",
    }
    with pytest.raises(StorageError, match="exists already"):
        Album(tmp_path)


def test_two_kills_between_an_index_and_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that no kill has reached is still one of ours."""
    Album(tmp_path / "out").write("a.csv", b"one")
    replace = paths.replace

    def killed(path: Path, data: bytes) -> None:
        if path.name == "a.csv":
            raise KeyboardInterrupt
        replace(path, data)

    for again in (b"two", b"three"):
        monkeypatch.setattr(paths, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            Album(tmp_path / "out").write("a.csv", again)
        monkeypatch.undo()
    assert (tmp_path / "out" / "a.csv").read_bytes() == b"one"
    Album(tmp_path / "out").write("a.csv", b"four")


def test_two_commands_may_add_to_one_album(tmp_path: Path) -> None:
    """At the same time: neither loses what the other has written into the index."""
    out = tmp_path / "out"

    def add(name: str) -> None:
        album = Album(out)
        for k in range(30):
            album.write(f"{name}{k}.csv", b"x")

    Album(out).write("first.csv", b"")
    with ThreadPoolExecutor() as pool:
        list(pool.map(add, "abcd"))
    Album(out).check(*(f"{name}{k}.csv" for name in "abcd" for k in range(30)))


@pytest.mark.parametrize("name", ["\N{CJK UNIFIED IDEOGRAPH-7DDA}" * 80, "x" * 250, "\udcff" * 250, "[*]"])
def test_names_that_a_system_just_allows(name: str, tmp_path: Path) -> None:
    """What lies beside them until they are whole has room for its own name."""
    assert write_file(tmp_path / name, b"data").read_bytes() == b"data"
    paths.replace(tmp_path / name, b"new")
    left = paths.hidden(tmp_path / name)
    left.write_bytes(b"")
    assert list(paths.leftovers(tmp_path / name)) == [left]
    left.unlink()
    write_folder(tmp_path / "folder" / name, {"a": b"1"})
    assert names(tmp_path) == sorted(["folder", name])


def test_work_lies_beside_its_result() -> None:
    assert work_file(Path("runs/a.json")) == Path("runs/a.json.work")
    assert work_file(Path("runs/diagnosis")) == Path("runs/diagnosis.work")


FULL = """
import resource, sys
from pathlib import Path
from znas.files import write_file, write_folder
from znas_engine.errors import StorageError
out = Path(sys.argv[1])
out.mkdir(exist_ok=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for write in (lambda: write_file(out / "file", bytes(2000)),
              lambda: write_folder(out / "folder", {"small": b"1", "large": bytes(2000)})):
    try:
        write()
    except StorageError as error:
        print(error)
"""


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A limit on the size of files stands in for it (see test_full_disk)."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        f"the output {tmp_path / name} cannot be written (File too large)" for name in ("file", "folder")
    ]
    assert names(tmp_path) == []
