"""Runs a verb again and again with something foreign under every name that it uses; see test_planted."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

KINDS = ("file", "two lines", "empty file", "folder", "link", "dangling link", "pipe")
#: Names that nobody can know beforehand.
HIDDEN = re.compile(r"(^|/)\.[^/]*\.[0-9a-f]{16}\.tmp(/|$)")
SECONDS = 120


def plant(kind: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        path.mkdir()
        (path / "kept.txt").write_text("kept")
    elif kind == "pipe":
        os.mkfifo(path)
    elif "link" in kind:
        target = path.with_name(f"{path.name}-target")
        if kind == "link":
            target.write_text("kept")
        path.symlink_to(target)
    else:
        path.write_text({"file": "kept", "two lines": "letters\nto keep", "empty file": ""}[kind])


def look(path: Path) -> list[Any]:
    """All that must stay as it is: its own facts, where it leads, what it holds."""
    about = path.lstat()
    found: list[Any] = [about.st_mode, about.st_ino, about.st_size, about.st_mtime_ns]
    if path.is_symlink():
        target = path.parent / path.readlink()
        return [*found, str(path.readlink()), look(target) if os.path.lexists(target) else None]
    if path.is_dir():
        return [*found, {each.name: look(each) for each in sorted(path.iterdir())}]
    return [*found, path.read_text() if path.is_file() else None]


def run(arguments: list[str], folder: Path) -> tuple[int, str]:
    """Exit code and stderr, in that folder; 99 with a traceback for what is no one-line answer."""
    out, err = io.StringIO(), io.StringIO()
    os.chdir(folder)
    signal.alarm(SECONDS)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            if arguments[0].endswith(".py"):
                sys.argv = arguments
                runpy.run_path(arguments[0], run_name="__main__")
                return 0, err.getvalue()
            from znas.cli import main

            main(arguments)
    except SystemExit as exit_:
        return int(exit_.code or 0), err.getvalue()
    except BaseException:  # noqa: BLE001 - a traceback is what is looked for
        return 99, traceback.format_exc()
    finally:
        signal.alarm(0)
    return 98, err.getvalue()


class Names:
    """What a verb opens to write, makes, renames to or removes below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.found, self.listening = str(folder), set[str](), True
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            self.add(arguments[0])
        elif event in ("os.rename", "os.link"):
            self.add(arguments[0])
            self.add(arguments[1])
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"):
            self.add(arguments[0])

    def add(self, path: Any) -> None:
        if not self.listening or not isinstance(path, str | os.PathLike):
            return
        whole = str(Path(os.fsdecode(path)).absolute())
        if whole.startswith(f"{self.folder}/") and not HIDDEN.search(whole):
            self.found.add(os.path.relpath(whole, self.folder))


def cases(job: dict[str, Any], root: Path) -> Iterator[dict[str, Any]]:
    inputs, arguments = Path(job["inputs"]), job["arguments"]
    clean = root / "clean"
    shutil.copytree(inputs, clean)
    names = Names(clean)
    code, said = run(arguments, clean)
    names.listening = False
    yield {"case": "clean", "code": code, "said": said, "names": sorted(names.found)}
    bases = {"new": inputs} | ({"again": clean} if job["again"] else {})
    for base, content in bases.items():
        for i, name in enumerate(sorted(names.found | set(job["names"]))):
            for kind in KINDS:
                folder = root / f"{base}-{i}-{kind}"
                shutil.copytree(content, folder, symlinks=True)
                path = folder / name
                if path.is_dir():
                    shutil.rmtree(path)
                path.unlink(missing_ok=True)
                plant(kind, path)
                before = look(path)
                code, said = run(arguments, folder)
                same = os.path.lexists(path) and look(path) == before
                yield {"case": f"{base}: {kind} {name}", "code": code, "said": said, "same": same}
                shutil.rmtree(folder)


def main() -> None:
    job = json.loads(sys.argv[1])
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError()))
    for case in cases(job, Path(sys.argv[2]).resolve()):
        print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()
