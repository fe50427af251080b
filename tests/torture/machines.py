"""Machines that nobody wishes for: full disks, no room, no files, no home, many at once, deleted caches."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.command import supernet
from tests.no_network import SKIPPED
from tests.torture.account import REFUSED, RIGHT, Account
from tests.torture.inputs.base import NB201
from tests.torture.processes import (
    PATIENCE,
    REPOSITORY,
    SEARCH,
    TINY,
    Done,
    environment,
    run,
    verdict,
    wait_until_it_listens,
)

Situation = Callable[[Path, Random, Account], None]
ORT = (*SEARCH, "--backend", "ort", "--json")
NATIVE = (*SEARCH, "--backend", "native", "--json")
BOTH = {"native": NATIVE, "ort": ORT}


def arch(done: Done) -> str | None:
    """What a search printed."""
    try:
        found = json.loads(done.out)["arch"]
    except (ValueError, LookupError, TypeError):
        return None
    return str(found)


def alone(folder: Path, command: tuple[str, ...] = ORT) -> str:
    """What an untroubled search finds."""
    done = run(command, env={"ZNAS_CACHE": str(folder / "alone")})
    found = arch(done)
    assert found, done.err
    return found


def _must(done: Done, *, right: bool) -> str:
    """Of trouble that a search lives with: a refusal is wrong."""
    found = verdict(done, right=right)
    return f"refused: {done.err.strip()[:300]}" if found == REFUSED else found


def cold_cache(folder: Path, rng: Random, account: Account) -> None:
    """Eight searches at once on one cold cache."""
    wanted = alone(folder)
    for done in _at_once(8, ORT, {"ZNAS_CACHE": str(folder / "cold")}):
        account.add(_must(done, right=arch(done) == wanted), "cold")


def deleted_cache(folder: Path, rng: Random, account: Account) -> None:
    """The cache deleted again and again during eight searches."""
    wanted = alone(folder)
    cache, stop = folder / "deleted", threading.Event()

    def delete() -> None:
        while not stop.wait(0.02):
            shutil.rmtree(cache, ignore_errors=True)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for done in _at_once(8, ORT, {"ZNAS_CACHE": str(cache)}):
            account.add(_must(done, right=arch(done) == wanted), "deleted")
    finally:
        stop.set()
        thread.join()


def read_only_cache(folder: Path, rng: Random, account: Account) -> None:
    """A warm cache on a read-only file system, and a cold one."""
    wanted = alone(folder)
    with _mounted(folder / "disk", "16m") as disk:
        if disk is None:
            account.remark = "no file system can be mounted here"
            return
        (disk / "cold").mkdir()
        run(ORT, env={"ZNAS_CACHE": str(disk / "warm")})
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for place in ("warm", "warm", "cold", "absent"):
            done = run(ORT, env={"ZNAS_CACHE": str(disk / place)})
            account.add(_must(done, right=arch(done) == wanted), place)


def full_disk(folder: Path, rng: Random, account: Account) -> None:
    """Results, work files and caches on a disk with less and less room; then once more with room."""
    wanted = alone(folder, NATIVE)
    for kilobytes in (0, 4, 16, 48, 120, 400):
        with _mounted(folder / "disk", "2m") as disk:
            if disk is None:
                account.remark = "no file system can be mounted here"
                return
            env = {"ZNAS_CACHE": str(disk / "cache"), "TMPDIR": str(folder)}
            filling = disk / "filling"
            _fill(filling, disk, kilobytes << 10)
            for command, out in (
                ((*NATIVE, "--out"), disk / "run"),
                ((*ORT, "--out"), disk / "run-ort"),
                (("prior", "fit", "--envs", "4", *TINY, "--out"), disk / "prior.json"),
            ):
                done = run([*command, out], env=env)
                right = out.exists() and (arch(done) == wanted or out.suffix == ".json")
                result = verdict(done, right=right)
                if result == REFUSED and out.exists():
                    result = "refused, and something half-written is left"
                account.add(result, f"{kilobytes} kB for {' '.join(command)}")
            filling.unlink()
            done = run([*NATIVE, "--out", disk / "again"], env=env)
            account.add(_must(done, right=arch(done) == wanted), "with room again")


def little_memory(folder: Path, rng: Random, account: Account) -> None:
    """Less and less address space, and sizes that need more than there is."""
    wanted = {name: alone(folder, command) for name, command in BOTH.items()}
    for megabytes in (8000, 4000, 3000, 2500, 2000, 1500, 1000):
        for name, command in BOTH.items():
            done = run(
                command,
                env={"ZNAS_CACHE": str(folder / "cache")},
                before=_limit(resource.RLIMIT_AS, megabytes << 20),
            )
            account.add(verdict(done, right=arch(done) == wanted[name]), f"{megabytes} MB, {name}")
    for options in (("--resolution", "20000"), ("--images", "1000000"), ("--supernet-channels", "1000000")):
        done = run([*NATIVE, *options], before=_limit(resource.RLIMIT_AS, 6000 << 20))
        account.add(verdict(done, right=True), " ".join(options))


def few_files(folder: Path, rng: Random, account: Account) -> None:
    """Few file descriptors."""
    wanted = {name: alone(folder, command) for name, command in BOTH.items()}
    for files in (256, 64, 40, 24, 16, 12, 10, 8):
        for name, command in BOTH.items():
            done = run(
                command,
                env={"ZNAS_CACHE": str(folder / "cache")},
                before=_limit(resource.RLIMIT_NOFILE, files),
            )
            account.add(verdict(done, right=arch(done) == wanted[name]), f"{files} files, {name}")


def signals(folder: Path, rng: Random, account: Account) -> None:
    """One to three of SIGINT, SIGTERM and SIGHUP at random moments."""
    codes = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
    for _ in range(36):
        name = rng.choice(["native", "native", "ort"])
        sent = [
            rng.choice([signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
            for _ in range(rng.randint(1, 3))
        ]
        moments = [rng.uniform(0.0, 2.5), *(rng.uniform(0.0, 0.3) for _ in sent[1:])]
        tmp = Path(tempfile.mkdtemp(dir=folder))
        with subprocess.Popen(
            [sys.executable, "-m", "znas", *BOTH[name], "--envs", "40", "--out", str(tmp / "out")],
            env=environment({"ZNAS_CACHE": str(folder / "cache"), "TMPDIR": str(tmp)}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background and nohup ignore some, and our commands would go on to.
            preexec_fn=lambda: [signal.signal(each, signal.SIG_DFL) for each in codes] and None,
        ) as process:
            wait_until_it_listens(process)
            for number, moment in zip(sent, moments, strict=True):
                time.sleep(moment)
                process.send_signal(number)
            try:
                out, err = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
        done = Done(process.returncode, out, err)
        left = [path.name for path in tmp.iterdir()]
        if (
            done.code in {codes[number] for number in sent}
            and len(err.strip().splitlines()) <= 1
            and not left
        ):
            account.add(REFUSED)
        else:
            whole = left == ["out"] and arch(done) is not None
            account.add(verdict(done, right=whole), f"{[s.name for s in sent]} after {moments}; left {left}")


def streams(folder: Path, rng: Random, account: Account) -> None:
    """Standard streams that are full, closed, broken or of another alphabet."""
    env = {"ZNAS_CACHE": str(folder / "cache")}
    for encoding in ("ascii", "latin-1", "cp1252", "utf-8", "koi8-r", "utf-16"):
        for verb in (SEARCH, ("doctor",), ("--help",)):
            done = run(verb, env=env | {"PYTHONIOENCODING": encoding})
            account.add(verdict(done, right=len(done.out) > 100), f"{encoding} {verb[0]}")
    shell = f"{sys.executable} -m znas {' '.join(SEARCH)}"
    for redirection in (
        ">/dev/full",
        ">&-",
        "2>/dev/full",
        "2>&-",
        ">&- 2>&-",
        "<&-",
        ">/dev/full 2>/dev/full",
    ):
        done = run([f"{shell} {redirection}"], env=env, program=("sh", "-c"))
        lost = ">/dev/full" in redirection.split("2>")[0] or ">&-" in redirection.split("2>")[0]
        silent = "2>" in redirection
        expected = done.code == 2 if lost else done.code == 0
        one = len(done.err.strip().splitlines()) <= (0 if silent else 1)
        account.add(RIGHT if expected and one else f"exit code {done.code}: {done.err[-200:]}", redirection)
    done = run([f"{shell} 2>err | head -c 0; cat err >&2"], env=env, program=("sh", "-c"), cwd=folder)
    account.add(RIGHT if len(done.err.strip().splitlines()) <= 1 else done.err[-200:], "| head -c 0")


def no_home(folder: Path, rng: Random, account: Account) -> None:
    """A user without a home folder or an entry of the system's, where nothing may be written."""
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        account.remark = "only root can become a user that there is not, with setpriv"
        return
    shelter = folder / "shelter"
    for place in (folder, shelter):
        place.mkdir(exist_ok=True)
        place.chmod(0o777)
    become = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # to reach the interpreter
    forget = [word for name in ("HOME", "ZNAS_CACHE", "XDG_CACHE_HOME") for word in ("-u", name)]
    program = [*become, "env", *forget, sys.executable, "-m", "znas"]
    shown = ("prior", "show", str(NB201.prior))
    for command in (NATIVE, ORT, ("doctor",), shown, ("--help",)):
        done = run(command, env={"TMPDIR": str(shelter)}, program=program, cwd=shelter)
        account.add(verdict(done, right=len(done.out) > 50), " ".join(command[:2]))


def paths(folder: Path, rng: Random, account: Account) -> None:
    """Places that are no places, for every option that names one."""
    (folder / "file").write_text("x")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    places = [
        "",
        "~nobody/x",
        "x" * 300,
        "/" + "y/" * 3000,
        str(folder / "file" / "below"),
        str(folder / "pipe"),
        "/dev/zero",
        "/dev/full",
        str(folder / "loop"),
        "a\nb",
        "/proc/self/mem",
        "/nowhere/at/all",
        str(folder),
    ]
    verbs: list[tuple[str, ...]] = [
        (*NATIVE, "--out"),
        (*NATIVE, "--data-dir"),
        (*NATIVE, "--data", "imagefolder", "--data-dir"),
        (*NATIVE, "--data", "cifar10", "--data-dir"),
        (*NATIVE, "--p", "0.5", "--prior"),
        ("show",),
        ("prior", "show"),
        ("prior", "check", "shipped", "--space", "nasbench201", "--table"),
        ("prior", "fit", "--source", "table", "--out", str(folder / "p.json"), "--table"),
        ("export", "--supernet-channels", "2", "--supernet-cells", "1", "--out"),
        ("reproduce", "figures", "--out"),
        ("reproduce", "sets", "--out"),
    ]
    for verb in verbs:
        for place in rng.sample(places, 6):
            done = run([*verb, place], cwd=folder, env={"ZNAS_CACHE": str(folder / "cache")})
            account.add(verdict(done, right=True), f"{' '.join(verb[:2])} ... {verb[-1]} {place[:60]!r}")
    gone = folder / "gone"
    for verb in (NATIVE, ORT, ("doctor",), (*NATIVE, "--out", "x"), ("show", "x"), ("--help",)):
        gone.mkdir()
        command = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m znas {' '.join(verb)}"
        done = run([command], program=("sh", "-c"), env={"ZNAS_CACHE": str(folder / "cache")})
        account.add(verdict(done, right=len(done.out) > 50), f"deleted working folder, {' '.join(verb[:1])}")


def much_work(folder: Path, rng: Random, account: Account) -> None:
    """A million masks, ten thousand environments: resident memory stays below LARGEST."""
    for options, masks in (("score='params'", 1_000_000), ("score='naswot', envs=10_000", 1)):
        program = _MUCH.format(options=options, masks=masks)
        done = run(["-c", program], program=(sys.executable,), env={"ZNAS_CACHE": str(folder / "cache")})
        peak = int(done.out) if done.out.strip().isdigit() else 0
        fine = done.code == 0 and 0 < peak < LARGEST
        account.add(
            RIGHT if fine else f"{peak / 1e6:.0f} MB, exit code {done.code}: {done.err[-200:]}", options
        )
        account.remark += f"{'; ' if account.remark else ''}{masks:,} masks, {options}: {peak / 1e6:.0f} MB"


def foreign_things(folder: Path, rng: Random, account: Account) -> None:
    """Files, folders, links and pipes of others under every name that a verb uses: they stay as they are."""
    verbs: dict[str, list[str]] = {
        "search": [*SEARCH, "--out", "run"],
        "prior": ["prior", "fit", "--envs", "2", *TINY, "--out", "prior.json"],
        "export": ["export", *supernet(2, 1, 8), "--out", "supernet.onnx"],
    }
    (folder / "inputs").mkdir()
    for name, arguments in verbs.items():
        job = {"inputs": str(folder / "inputs"), "arguments": arguments, "names": [], "again": False}
        driver = (sys.executable, str(REPOSITORY / "tests" / "znas" / "planted.py"))
        done = run([json.dumps(job), folder / name], program=driver)
        for case in map(json.loads, done.out.splitlines()[1:]):
            lines = case["said"].strip().splitlines()
            fine = case["same"] and (case["code"] == 0 or (case["code"] == 2 and len(lines) == 1))
            account.add((REFUSED if case["code"] else RIGHT) if fine else str(case)[:200], name)
        if done.code != 0:
            account.add(f"exit code {done.code}: {done.err[-200:]}", name)


def no_sockets(folder: Path, rng: Random, account: Account) -> None:
    """A socket to the network is the death of the process."""
    program = (sys.executable, str(REPOSITORY / "tests" / "no_network.py"), sys.executable, "-m", "znas")
    for command in (NATIVE, ORT, (*NATIVE, "--backend", "torch"), ("doctor",), ("--help",)):
        done = run(command, program=program, env={"ZNAS_CACHE": str(folder / "cache")})
        if done.code == SKIPPED:
            account.remark = done.out.strip()
            return
        account.add(verdict(done, right=len(done.out) > 50), " ".join(command[:2]))


def pictures_without_room(folder: Path, rng: Random, account: Account) -> None:
    """Pictures where files, memory or permission are short: the reason is the system's, nothing is to go."""
    from PIL import Image

    for number in range(24):
        place = folder / "pictures" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (number, 9, 9)).save(place / f"{number}.png")
    command = (*NATIVE, "--data", "imagefolder", "--data-dir", folder / "pictures")
    wanted = arch(run(command))
    limits = [(resource.RLIMIT_NOFILE, n) for n in (64, 20, 12, 9, 8, 7, 6)]
    limits += [(resource.RLIMIT_AS, n << 20) for n in (3000, 2000, 1200, 900)]
    for what, value in limits:
        done = run(command, before=_limit(what, value))
        said = "advice to delete" if "delete" in done.err else verdict(done, right=arch(done) == wanted)
        account.add(said, f"limit {what} {value}")


#: Bytes of resident memory.
LARGEST = 600_000_000
_MUCH = """
import resource, numpy as np, znas
from znas.setup import Setup
size = dict(supernet_channels=2, supernet_cells=1, resolution=8, images=8)
request = znas.Request({options}, **size, backend="native", threads=2)
setup = Setup(request)
rng = np.random.default_rng(0)
masks = np.eye(5, dtype=np.float32)[rng.integers(0, 5, ({masks}, 6))]
assert np.isfinite(setup.measure(masks)).all()
print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

SITUATIONS: dict[str, Situation] = {
    "eight searches on one cold cache": cold_cache,
    "a cache deleted in a loop": deleted_cache,
    "a read-only cache": read_only_cache,
    "a full disk": full_disk,
    "little memory": little_memory,
    "few file descriptors": few_files,
    "much work": much_work,
    "foreign things under our names": foreign_things,
    "sockets forbidden": no_sockets,
    "pictures without room": pictures_without_room,
    "signals": signals,
    "streams and alphabets": streams,
    "no home, no name": no_home,
    "places that are no places": paths,
}


def trouble(situation: str, *, seed: int) -> Account:
    account = Account(situation)
    with tempfile.TemporaryDirectory() as name:
        SITUATIONS[situation](Path(name), Random(f"{seed}/{situation}"), account)
    return account


def _at_once(count: int, command: tuple[str, ...], env: dict[str, str]) -> list[Done]:
    found: list[Any] = [None] * count

    def one(k: int) -> None:
        found[k] = run(command, env=env)

    threads = [threading.Thread(target=one, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _limit(what: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (value, value))


@contextmanager
def _mounted(place: Path, size: str) -> Iterator[Path | None]:
    """A small file system in memory; None where this process may not mount one."""
    place.mkdir(exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
    if not shutil.which("mount") or subprocess.run(["mount", *options], capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def _fill(path: Path, disk: Path, free: int) -> None:
    """Leaves `free` bytes of a disk."""
    about = os.statvfs(disk)
    path.write_bytes(bytes(max(0, about.f_bavail * about.f_frsize - free)))
