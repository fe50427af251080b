"""The command itself, in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import typer

from tests.command import SEARCH, SMALL, Done, apart, here, refused, supernet
from znas.cli import VERBS, app, run
from znas_engine.backends import BACKENDS, can_run, missing
from znas_engine.tensorrt.flavours import installed


def search(*arguments: str | Path, **environment: str) -> Done:
    return here(*SEARCH, *arguments, **environment)


def test_summary_says_what_was_found_and_what_it_cost() -> None:
    done = search("--seed", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("|")
    for word in ("network ", "parameters", "neurons ", "observed", "seconds ", "set-up", "naswot under do"):
        assert word in done.stdout


def test_same_seed_same_json_in_two_processes_and_with_one_or_two_threads() -> None:
    found = []
    for threads in ("1", "2"):
        done = apart(
            "search", "--preset", "naswot", *SMALL, "--json", "-q", "--seed", "7", "--threads", threads
        )
        assert done.stderr == ""
        result = json.loads(done.stdout)
        del result["seconds"]
        assert result.pop("threads") == result["request"].pop("threads") == int(threads)
        found.append(result)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--space", "nasbench"],
            "choose one of nasbench201, darts, nasbench_macro, mobilenet; did you mean",
        ),
        (["--backend", "tensorflow"], "unknown backend 'tensorflow'"),
        (["--score", "acuracy"], "did you mean 'accuracy'?"),
        (["--p", "1.5"], "`p` must be between 0 and 1 but got 1.5"),
        (["--p", "nan"], "`p` must be a number in [0, 1]"),
        (["--p", "half"], "`p` must be a number, 'auto' or one number per edge"),
        (["--images", "0"], "`images` must be between 1"),
        (["--images", "99999999999"], "`images` must be between 1"),
        (["--data", "cifar10"], "--data-dir"),
        (["--data", "cifar10", "--data-dir", "no/such/folder"], "no/such/folder"),
        (["--wrong"], "there is no option --wrong: see znas-engine search --help"),
        (["--imges", "8"], "there is no option --imges: did you mean --images?"),
        (["--max-evaluation", "8"], "there is no option --max-evaluation: did you mean --max-evaluations?"),
        (["--resume"], "there is no option --resume: the same command goes on where it stopped"),
        (["--score", "naswot,zen"], "scores are joined by '+' but got 'naswot,zen': pass naswot+zen"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments: list[str], message: str) -> None:
    assert message in refused(search(*arguments))


def test_older_names_of_options_are_taken_with_a_remark() -> None:
    older = ["--preset", "naswot", "--p", "1", "--channels", "4", "--cells", "2", "--json"]
    done = here("search", *older)
    remarks = ["--channels is called --supernet-channels now", "--cells is called --supernet-cells now"]
    assert [line.removeprefix("znas-engine: ") for line in done.stderr.splitlines()[:2]] == remarks
    assert {"channels": 4, "cells": 2}.items() <= json.loads(done.stdout)["supernet"].items()
    assert here("search", *older, "--quiet").stderr == ""
    both = refused(here("search", "--channels", "4", "--supernet-channels", "4"))
    assert "`channels` is called `supernet_channels` now, and both were given: drop `channels`" in both
    assert "--channels " not in here("search", "--help").stdout


def test_truncated_and_malicious_cifar_files(tmp_path: Path, test_data: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    data = (test_data / "cifar-10-batches-py" / "data_batch_1").read_bytes()
    batch = folder / "data_batch_1"
    batch.write_bytes(data[: len(data) // 2])
    assert "data_batch_1" in refused(search("--data", "cifar10", "--data-dir", tmp_path))
    batch.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
    assert "data_batch_1" in refused(search("--data", "cifar10", "--data-dir", tmp_path))
    assert not (tmp_path / "owned").exists()


def test_output_folders(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = search("--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "result.json").read_text()) == json.loads(done.stdout)
    assert "exists already" in refused(search("--out", out))
    assert "cannot be written" in refused(search("--out", out / "result.json" / "deeper"))
    assert "unknown search space" in refused(search("--space", "nope", "--out", tmp_path / "deep" / "run"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_an_unusable_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = search("--backend", "ort", ZNAS_CACHE=str(tmp_path / "file"))
    assert done.returncode == 0
    assert "cannot be written (File exists): going on without it" in " ".join(done.stderr.split())


def test_a_damaged_cache_is_rebuilt_with_a_word(tmp_path: Path) -> None:
    first = search("--json", "--backend", "ort", ZNAS_CACHE=str(tmp_path))
    for path in (tmp_path / "onnx").iterdir():
        if not path.suffix:
            path.write_bytes(path.read_bytes()[:100])
    second = search("--json", "--backend", "ort", ZNAS_CACHE=str(tmp_path))
    assert "damaged; building it again" in second.stderr
    assert json.loads(second.stdout)["edges"] == json.loads(first.stdout)["edges"]


TENSORRT = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings", "onnxruntime_ep_nv_tensorrt_rtx")
FRAMEWORKS = ("torch", "onnx", "onnxruntime", "scipy", "PIL", *TENSORRT)
OTHER_VERBS = tuple(f"znas.cli.{verb}" for verb in VERBS if verb != "search")


def loaded(code: str, *, among: tuple[str, ...] = FRAMEWORKS, **environment: str) -> set[str]:
    """Which of some modules a process imported."""
    probe = f"{code}\nimport sys\nprint('LOADED', *[m for m in {among} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


RUN = """
from znas.cli import main
try:
    main({arguments})
except SystemExit as stop:
    assert stop.code == 0, stop.code
"""


def test_a_warm_ort_search_imports_neither_torch_nor_onnx(tmp_path: Path) -> None:
    code = RUN.format(arguments=["search", *SMALL, "--preset", "naswot", "--backend", "ort"])
    cold = loaded(code, ZNAS_CACHE=str(tmp_path))
    assert "torch" not in cold
    assert loaded(code, ZNAS_CACHE=str(tmp_path)) == {"onnxruntime"}


def test_a_native_search_imports_no_framework() -> None:
    assert (
        loaded(RUN.format(arguments=["search", *SMALL, "--finalists", "3", "--backend", "native"])) == set()
    )


def test_bfloat16_is_named_in_the_result_and_refused_elsewhere() -> None:
    done = search("--json", "--backend", "native", "--dtype", "bfloat16")
    result = json.loads(done.stdout)
    assert result["dtype"] == "bfloat16"
    assert 0.5 < result["agreement"] <= 1
    line = f"precision   bfloat16; {result['agreement']:.1%} of the images keep float32's class"
    assert line in search("--backend", "native", "--dtype", "bfloat16").stdout
    assert json.loads(search("--json").stdout)["agreement"] is None
    message = refused(search("--backend", "torch", "--dtype", "bfloat16"))
    assert "use --backend native or --backend trt for bfloat16" in message


def test_a_search_at_p_one_imports_no_framework() -> None:
    assert loaded(RUN.format(arguments=["search", *SMALL, "--p", "1"])) == set()
    assert loaded("import znas") == set()


def test_a_search_at_p_one_loads_only_what_it_uses() -> None:
    """No other verb, no progress bar, no cache, no image files, no priors: start-up waits for none."""
    unused = (
        *OTHER_VERBS,
        "rich.progress",
        "platformdirs",
        "znas.priors",
        "znas.journal",
        "znas_engine.storage",
        "znas_engine.backends.native",
        "znas_engine.data.cifar",
        "znas_engine.data.imagefolder",
    )
    assert loaded(RUN.format(arguments=["search", *SMALL, "--p", "1"]), among=unused) == set()
    used = loaded(RUN.format(arguments=["search", *SMALL, "--p", "0.9"]), among=unused)
    assert used == {"znas_engine.backends.native"}


@pytest.mark.parametrize("space", ["nasbench201", "darts"])
def test_export_writes_the_graph_that_search_runs(space: str, tmp_path: Path) -> None:
    out = tmp_path / "supernet.onnx"
    size = [*supernet(4, 3, 16)]
    done = here("export", "--space", space, "--out", out, "--json", *size)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    session = onnxruntime.InferenceSession(out)
    assert [i.name for i in session.get_inputs()] == ["images", "mask"]
    assert session.get_inputs()[1].shape == facts["inputs"]["mask"]
    assert session.get_modelmeta().custom_metadata_map["opset"] == "22"
    assert "exists already" in refused(here("export", "--space", space, "--out", out, *size))


def test_doctor_names_every_backend() -> None:
    done = here("doctor", "--json")
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    for name in BACKENDS.names():
        assert checks[f"backend {name}"]["state"] == ("ok" if name != "trt" or can_run(name) else "missing")
    assert checks["cache"]["state"] == "ok"
    assert len(here("doctor").stdout.splitlines()) == len(checks)


def installation(folder: Path, module: str, distribution: str, code: str) -> None:
    """What an installer leaves of a package."""
    (folder / module).mkdir(parents=True)
    (folder / module / "__init__.py").write_text(code)
    name, version = distribution.split("-")
    (folder / f"{distribution}.dist-info").mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
    (folder / f"{distribution}.dist-info" / "METADATA").write_text(metadata)


def test_doctor_names_both_flavours_of_tensorrt(tmp_path: Path) -> None:
    """The one that is used and why it cannot be, and the one that is in its way."""
    lost = "raise ImportError('libnvinfer.so.11: cannot open shared object file')"
    installation(tmp_path, "tensorrt", "tensorrt-11.4", lost)
    installation(tmp_path, "tensorrt_rtx", "tensorrt_rtx-1.7", lost)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = apart("doctor", "--json", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    (line,) = (check for check in json.loads(done.stdout) if check["name"] == "tensorrt")
    assert line["state"] == "missing"
    assert line["detail"].startswith("TensorRT 11.4 cannot be loaded (libnvinfer.so.11: cannot open")
    assert line["detail"].endswith("; TensorRT-RTX 1.7 is installed too: uninstall one to choose")
    assert "TensorRT 11.4 cannot be loaded" in refused(apart("search", "--backend", "trt", PYTHONPATH=path))


def test_stubs_are_no_installation_of_tensorrt(tmp_path: Path) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.pyi").write_text("")
    code = "from znas_engine.tensorrt.flavours import installed; print(*(f.name for f in installed()))"
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([*before, *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for before in ([], [str(tmp_path)])
    ]
    assert found[0] == found[1]


def test_backend_trt_says_all_that_is_missing() -> None:
    if (why := missing("trt")) is None:
        pytest.skip("--backend trt runs here")
    assert refused(search("--backend", "trt")).endswith(f"--backend trt cannot run here: {why}")
    if not installed():
        assert "TensorRT is not installed: pip install 'znas-engine[trt]'" in why
        assert why in refused(search("--backend", "trt"))
        out = ["--out", "supernet.plan", "--compute-capability", "8.6"]
        assert "pip install 'znas-engine[trt]'" in refused(here("export", *SMALL, *out))


def test_doctor_fails_where_the_cache_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = here("doctor", ZNAS_CACHE=str(tmp_path / "file"))
    assert done.returncode == 1
    assert "broken  cache" in done.stdout


def test_interrupting_leaves_nothing_half_written(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "znas",
            "search",
            "--preset",
            "naswot",
            "--space",
            "darts",
            "--p",
            "0",
            "--backend",
            "ort",
            "--out",
            str(out),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"ZNAS_CACHE": str(tmp_path / "cache")},
        # Where the tests run in a shell's background, an interrupt would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "cache" / "calibration").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=900)  # a guard against hanging; masks not begun are dropped
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert not out.exists()
    shutil.rmtree(tmp_path / "cache")


def test_help_and_version() -> None:
    assert "Examples:" in here("search", "--help").stdout
    assert here("--version").stdout.startswith("znas-engine ")
    listing = here().stdout
    assert all(f"\n  {verb} " in listing for verb in VERBS)
    assert "fit" in here("prior", "-h").stdout
    assert "completion" not in here("prior", "-h").stdout


@pytest.mark.parametrize("verb", VERBS)
def test_examples_fit_a_narrow_terminal(verb: str) -> None:
    """60 columns, and a command that is broken goes on in its next line."""
    root: Any = typer.main.get_command(app)
    command = root.get_command(root.make_context("znas-engine", [verb], resilient_parsing=True), verb)
    for one in (command, *getattr(command, "commands", {}).values()):
        for paragraph in (one.help or "").split("\n\n"):
            if "\b" not in paragraph:
                continue
            lines = paragraph.strip("\b\n").splitlines()[1:]
            assert lines
            for before, line in zip(["", *lines], lines, strict=False):
                assert len(line) + 2 <= 60, line
                assert before.endswith("\\") or "znas-engine" in line


def test_what_people_ask_for_that_is_no_command() -> None:
    assert "the same command goes on where it stopped" in refused(here("resume"))


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("--max-param", "--max-params"),
        ("--max-size", "--max-params or --max-flops or --max-latency or --max-memory"),
        ("--max-flop", "--max-flops"),
        ("--max-latancy", "--max-latency"),
        ("--max-mem", "--max-memory"),
    ],
)
def test_a_misspelt_limit_names_a_limit(
    option: str, nearest: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a verb has them."""

    def limited(max_params: int = 0, max_flops: int = 0, max_latency: int = 0, max_memory: int = 0) -> None:
        pass

    monkeypatch.setattr("znas.cli.show.show", limited)
    assert run(["show", option, "3"]) == 2
    assert f"there is no option {option}: did you mean {nearest}?" in capsys.readouterr().err


def completed(words: str) -> list[str]:
    """What bash is told to write for the last of the words."""
    count = len(words.split(" ")) - 1
    done = here(COMP_WORDS=words, COMP_CWORD=str(count), _ZNAS_ENGINE_COMPLETE="complete_bash")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_a_shell_completes_verbs_options_and_values() -> None:
    assert completed("znas-engine ") == list(VERBS)
    assert completed("znas-engine s") == ["search", "show", "score"]
    assert completed("znas-engine prior f") == ["fit"]
    assert completed("znas-engine search --max-e") == ["--max-evaluations"]
    assert completed("znas-engine search --space nas") == ["nasbench201", "nasbench_macro"]
    assert completed("znas-engine nowhere ") == list(VERBS)


def test_the_name_of_a_verb_is_completed_without_loading_any() -> None:
    code = "import sys\nfrom znas.cli import run\nrun([])\nassert 'znas.cli.search' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ
        | {"COMP_WORDS": "znas-engine s", "COMP_CWORD": "1", "_ZNAS_ENGINE_COMPLETE": "complete_bash"},
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["search", "show", "score"], "")


def test_completion_is_offered() -> None:
    listing = here("--help").stdout
    assert "--install-completion" in listing
    script = here("--show-completion", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert script.returncode == 2  # without a shell to detect it wants its name
    script = here("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_ZNAS_ENGINE_COMPLETE=complete_bash" in script.stdout


def test_an_unknown_command_names_the_nearest() -> None:
    assert "unknown command 'serch'" in (message := refused(here("serch")))
    assert "did you mean 'search'?" in message
