"""A command as a process: signals at any moment, streams that fail, machines that are no desktop."""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.command import supernet
from tests.torture.processes import wait_until_it_listens
from znas import files
from znas.cli import main, run
from znas.cli.streams import LOOK_ALIKES
from znas_engine import interrupts

SIZE = [*supernet(4, 1, 16)]
SMALL = ["search", "--preset", "naswot", *SIZE, "--images", "8"]
LONG = [*SMALL, "--envs", "300", "--p", "0", "--out", "out"]
VERBS = {
    "native": [*LONG, "--backend", "native"],
    "torch": [*LONG, "--backend", "torch"],
    "ort": [*LONG, "--backend", "ort"],
    "prior": ["prior", "fit", *SIZE, "--envs", "2000", "--out", "out.json"],
    "bench": ["bench", "--quick", "--out", "out.json"],
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def started(
    arguments: list[str], folder: Path, module: str = "znas", **environment: str
) -> subprocess.Popen[str]:
    """In a working folder and with a temporary folder of its own."""
    for name in ("work", "tmp"):
        (folder / name).mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=folder / "work",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ
        | {"TMPDIR": str(folder / "tmp"), "ZNAS_CACHE": str(folder / "cache"), "ORT_DISABLE_TELEMETRY": "1"}
        | environment,
        # Where the tests run in a shell's background, an interrupt would be ignored.
        preexec_fn=lambda: [signal.signal(each, signal.SIG_DFL) for each in SIGNALS] and None,
    )


def ended(process: subprocess.Popen[str], sent: set[signal.Signals], folder: Path) -> None:
    """As it should after a signal; of several that are sent at once the system may deliver any first."""
    out, err = process.communicate(timeout=120)
    assert process.returncode - 128 in sent, (process.returncode, out, err)
    name = signal.Signals(process.returncode - 128).name
    anew = "nothing is left half-written and nothing is kept: the same command starts anew"
    on = r"nothing is left half-written, and \S*out\.json\.work keeps [\d,]+ finished pieces?: the same "
    on += "command goes on"
    work = folder / "work" / "out.json.work"
    pieces = work.exists() and work.read_bytes().count(b"\n") > 1
    estimate = r"(znas-engine: [\d,]+ masked passes, about [^\n]*\n)?"  # of a machine that is busy
    assert re.fullmatch(rf"{estimate}znas-engine: interrupted \({name}\): {on if pieces else anew}\n", err), (
        err
    )
    assert {path.name for path in (folder / "work").iterdir()} <= {"out.json.work"}
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.ours
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc says which signals are listened to")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("seed", range(2))
def test_signals_at_any_moment(verb: str, seed: int, tmp_path: Path) -> None:
    """While it imports, prepares, measures; once, twice or six times, each at a random moment."""
    rng = random.Random(f"{verb} {seed}")
    process = started(VERBS[verb], tmp_path)
    wait_until_it_listens(process)
    time.sleep(rng.random() * (5 if verb == "bench" else 1.5))
    sent = {rng.choice(SIGNALS)}
    process.send_signal(*sent)
    for _ in range(rng.choice([0, 1, 5])):
        time.sleep(rng.choice([0, 0.001, 0.01, 0.05]))
        sent.add(rng.choice(SIGNALS))
        process.send_signal(rng.choice(sorted(sent)))
    ended(process, sent, tmp_path)


def test_a_signal_before_a_command_is_known_and_one_while_it_imports(tmp_path: Path) -> None:
    """What C code makes of it does not matter: here an ImportError."""
    (tmp_path / "numpy.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n    for _ in range(1000): pass\n"
        "except BaseException:\n    pass\n"
        "raise ImportError('initialization of _core failed')\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    ended(started(SMALL, tmp_path, PYTHONPATH=path), {signal.SIGTERM}, tmp_path)


def test_nohup_keeps_what_it_keeps(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "znas", *SMALL, "--json", "-q"],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None,
    )
    for _ in range(5):
        time.sleep(0.1)
        if process.poll() is None:
            process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    json.loads(out)


def test_held_work_is_done_and_then_unwound() -> None:
    """Also where more signals come while it is being unwound."""
    seen = []

    def command() -> int:
        try:
            with interrupts.held():
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGINT)
                seen.append("whole")
            seen.append("not reached")
        finally:
            signal.raise_signal(signal.SIGINT)
            seen.append("cleaned")
        return 0

    code = "\n".join(
        [
            "import signal",
            "from znas_engine import interrupts",
            "seen = []",
            *_source(command),
            "code = interrupts.guarded(command)",
            "print(code, *seen)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "143 whole cleaned\n"
    assert "interrupted (SIGTERM)" in done.stderr


def _source(function: object) -> list[str]:
    import inspect
    import textwrap

    return textwrap.dedent(inspect.getsource(function)).splitlines()  # type: ignore[arg-type]


def test_a_swallowed_signal_ends_the_work_all_the_same() -> None:
    """A finalizer swallows every exception."""
    code = """
import signal
from znas_engine import interrupts
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background ignores it, and that would be kept
class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        for _ in range(100): pass
def command():
    Finalized()
    print("swallowed")
    interrupts.check()
    print("not reached")
    return 0
print(interrupts.guarded(command))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "swallowed\n130\n"
    assert len(done.stderr.splitlines()) == 1


def test_a_caller_keeps_its_own_signals(capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert [signal.getsignal(each) for each in SIGNALS] == before
    assert "znas-engine" in capsys.readouterr().out


def test_in_another_thread() -> None:
    """Python lets only the main thread listen to signals."""
    codes = []

    def work() -> None:
        try:
            main(["network", "nasbench201", "[3, 3, 3, 1, 2, 3]", "--nope"])
        except SystemExit as stop:
            codes.append(stop.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert codes == [2]


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    znas = f"{sys.executable} -m znas"
    return subprocess.run(
        ["bash", "-c", command.replace("znas ", f"{znas} ", 1)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


QUICK = f"znas {' '.join(SMALL)} --p 1"


@pytest.mark.ours
@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (f"{QUICK} > /dev/full", "No space left on device"),
        (f"{QUICK} --json > /dev/full", "No space left on device"),
        ("znas doctor --json > /dev/full", "No space left on device"),
        ("znas --help > /dev/full", "No space left on device"),
        (f"{QUICK} >&-", "stdout is closed"),
        ("znas --version >&-", "stdout is closed"),
        (f"set -o pipefail; {QUICK} | true", "Broken pipe"),
        (f"{QUICK} 1</dev/null", "cannot be written"),
    ],
)
def test_a_stdout_that_takes_nothing(command: str, reason: str) -> None:
    done = shell(command)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert done.stderr.startswith("znas-engine: error: ")


@pytest.mark.ours
@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2>&- <&-", "2> >(true)"])
def test_a_stderr_that_takes_nothing_costs_nothing(stderr: str) -> None:
    done = shell(f"{' '.join(['znas', *SMALL])} --json {stderr}")
    assert done.returncode == 0
    json.loads(done.stdout)


@pytest.mark.parametrize("streams", [">&- 2>&-", ">/dev/full 2>/dev/full", ">&- 2>&- <&-"])
def test_nobody_to_tell(streams: str) -> None:
    assert shell(f"{QUICK} {streams}").returncode == 2


@pytest.fixture(scope="module")
def usual() -> list[str]:
    return shell(f"{QUICK} --seed 3").stdout.splitlines()


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp1252:strict"},
        {"PYTHONIOENCODING": "koi8-r"},
        {"PYTHONIOENCODING": "shift_jis"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "POSIX"},
        {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "1"},
    ],
    ids=str,
)
def test_tables_come_out_whole(environment: dict[str, str], usual: list[str]) -> None:
    """In an encoding that lacks their characters look-alikes stand for them."""
    done = subprocess.run(
        [sys.executable, "-m", "znas", *SMALL, "--p", "1", "--seed", "3"],
        capture_output=True,
        env=os.environ | environment,
    )
    assert done.returncode == 0
    encoding = environment.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    found = done.stdout.decode(encoding).splitlines()
    assert len(found) == len(usual)
    for line, ordinary in zip(found, usual, strict=True):
        if not line.startswith("seconds"):
            assert line in (ordinary, ordinary.replace("─", "-"))
    assert done.stderr == b""


def test_look_alikes_are_plain_and_the_rest_is_escaped() -> None:
    assert all(each.isascii() for each in LOOK_ALIKES.values())
    assert "a ± b → … \udcff é".encode("ascii", "znas-look-alikes") == b"a +- b -> ... \\udcff \\xe9"
    assert "× é".encode("latin-1", "znas-look-alikes") == "× é".encode("latin-1")


@pytest.mark.parametrize("value", [b"\xff\xfe", b"no/such/\xff"])
def test_arguments_that_are_no_text(
    value: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As Python gives them to a program."""
    monkeypatch.chdir(tmp_path)
    for option in ("--space", "--score", "--out", "--data-dir", "--p"):
        code = run([*SMALL, "--p", "1", option, os.fsdecode(value)])
        err = capfd.readouterr().err
        assert code in (0, 2), err
        assert err.count("\n") == (code == 2)
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (MemoryError(), 2, "memory"),
        (RuntimeError("can't start new thread"), 2, "too few threads"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "too little memory"),
        (OSError(24, "Too many open files", "a"), 2, "Too many open files"),
        (RecursionError("maximum"), 2, "nested too deeply"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), 2, "no text"),
        (ImportError("libx.so: cannot open", name="torch"), 2, "reinstall torch"),
        (ImportError("gone", name="znas.nothing"), 70, "defect"),
        (ZeroDivisionError("oh"), 70, "defect"),
        (KeyError("oh"), 70, "defect"),
    ],
    ids=repr,
)
def test_what_the_user_can_mend_is_2_and_a_defect_70(
    raised: Exception,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def network(space: str) -> None:
        raise raised

    monkeypatch.setattr(importlib.import_module("znas.cli.network"), "network", network)
    assert run(["network", "nasbench201"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert ("Traceback" in err) == (code == 70)
    assert (err.count("\n") == 1) == (code == 2)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run([*SMALL, "--p", "1", "-q", "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("verb", ["search", "network", "show"])
def test_finished_work_is_printed_though_its_name_was_taken(
    verb: str,
    as_json: bool,
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Between the question at the beginning and the writing at the end."""

    def taken(out: Path) -> None:
        monkeypatch.setattr(files, "check_new", check_new)
        check_new(out)
        out.mkdir()

    check_new = files.check_new
    monkeypatch.setattr(files, "check_new", taken)
    monkeypatch.chdir(tmp_path)
    commands = {
        "search": [*SMALL, "--p", "1", "-q", "--out", "late"],
        "network": ["network", "nasbench201", "[3, 3, 3, 1, 2, 3]", "--out", "late"],
        "show": ["show", str(run_folder), "--html", "late"],
    }
    assert run([*commands[verb], *(["--json"] if as_json else [])]) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "late exists already" in err
    assert "written" not in out
    assert json.loads(out)["arch"].startswith("|") if as_json else out.startswith("|")
    assert list((tmp_path / "late").iterdir()) == []


def test_a_full_disk_at_the_end_of_a_search(tmp_path: Path) -> None:
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from znas.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *SMALL, "--p", "1", "--json", "--out", str(tmp_path / "a" / "b")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["arch"].startswith("|")
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


#: Reads everything as root does (Python may lie in a folder of root's), but is nobody.
NOBODY = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
NOBODY += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]


@pytest.mark.ours
@pytest.mark.parametrize(
    "verb",
    [
        ["doctor"],
        [*SMALL, "-q", "--backend", "native"],
        [*SMALL, "-q", "--backend", "torch"],
        [*SMALL, "-q", "--backend", "ort", "--p", "0"],
        ["network", "nasbench201", "[3, 3, 3, 1, 2, 3]", "--out", "network"],
        ["export", *SIZE, "--images", "8", "--out", "supernet.onnx"],
        ["prior", "fit", *SIZE, "--images", "8", "--envs", "2", "-q", "--out", "prior.json"],
        ["prior", "show", "shipped"],
    ],
    ids=lambda verb: " ".join(verb[:2]) + verb[-1],
)
def test_a_user_that_the_system_does_not_know_and_no_home(verb: list[str], tmp_path: Path) -> None:
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        pytest.skip("only root can become a user that there is not, with setpriv")
    tmp_path.chmod(0o777)
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
    done = subprocess.run(
        [*NOBODY, sys.executable, "-m", "znas", *verb],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment | {"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.ours
@pytest.mark.parametrize(
    "verb",
    [["doctor"], [*SMALL, "--p", "1", "--out", "x"], ["network", "darts", "x"], ["show", "x"]],
    ids=str,
)
def test_a_working_folder_that_is_gone(verb: list[str], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); from znas.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *verb], capture_output=True, text=True)
    assert done.returncode in (0, 2) or (verb == ["doctor"] and done.returncode == 1)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == (done.returncode == 2)


@pytest.mark.parametrize("threads", ["0", "-1", "lots", ""])
def test_numbers_of_threads_that_are_none(threads: str) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-m", "znas", *SMALL, "--json", "-q"],
        capture_output=True,
        text=True,
        env=os.environ | dict.fromkeys(names, threads),
    )
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


@pytest.mark.ours
@pytest.mark.parametrize(
    "code",
    ["raise ValueError('broken')", "raise SystemExit(3)", "raise KeyError", "1 / 0", "import nothing_at_all"],
)
@pytest.mark.parametrize("package", ["tensorrt", "onnxruntime"])
def test_doctor_with_a_broken_package(package: str, code: str, tmp_path: Path) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(code)
    info = tmp_path / f"{package}-11.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 11.0\n")
    done = subprocess.run(
        [sys.executable, "-m", "znas", "doctor"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert done.returncode in (0, 1)
    assert done.stderr == ""
    assert "cache" in done.stdout


@pytest.mark.parametrize(
    "cache", ["/" + "x" * 300, "/dev/null", "/dev/null/deeper", "~nobody-of-that-name/x", "a\nb"]
)
def test_doctor_with_an_unusable_cache(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZNAS_CACHE", cache)
    code = run(["doctor", "--json"])
    out, err = capsys.readouterr()
    assert err == ""
    (line,) = (check for check in json.loads(out) if check["name"] == "cache")
    assert code == (line["state"] == "broken")
    assert (code == 0) == (cache == "a\nb")
