"""SIGKILL at random moments: the same command, given again, ends with what an unbroken run makes."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.command import supernet
from tests.torture.account import REFUSED, RIGHT, Account
from tests.torture.processes import REPOSITORY, SEARCH, TINY, environment, run, verdict

#: Of a one-shot supernet, a checkpoint after every step.
_OFTEN = "from znas_engine.supernet import training\ntraining.CHECKPOINT_EVERY = 0.0\n"
#: Of a network of all operations on real pictures, a checkpoint after every epoch.
_ARCH = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
TRAINING = (
    *("train", _ARCH, "--space", "nasbench201", "--data-dir", str(REPOSITORY / "examples" / "five-classes")),
    *("--resolution", "16", "--channels", "4", "--cells", "1", "--batch", "30", "--epochs", "12"),
    *("--threads", "1", "--patience", "9"),
)


@dataclass(frozen=True, slots=True)
class Job:
    """arguments: of the command line, of which the last is the option that names the output. outcome: of that
    output, what may be compared between runs."""

    name: str
    arguments: tuple[str, ...]
    outcome: Callable[[Path], Any]


def jobs(data: Path) -> list[Job]:
    """data: a folder with a synthetic CIFAR-10."""
    images = ("--data", "cifar10", "--data-dir", str(data))
    shot = (
        "--source",
        "one-shot",
        "--train-images",
        "100",
        "--epochs",
        "3",
        "--batch",
        "10",
        "--threads",
        "1",
    )
    size = (*supernet(4, 1, 16, 20), "-q")
    rows = ("--rows", "random,naswot-p0.5,most-parameters", "--seeds", "3")
    return [
        Job("search", (*SEARCH, "--envs", "3", "--out"), _files),
        Job("prior fit", ("prior", "fit", "--envs", "12", *TINY, "--out"), Path.read_bytes),
        Job("reproduce", ("reproduce", "table2", "--data", "gaussian", *rows, *TINY, "--out"), _rows),
        Job("a training", (*TRAINING, "-q", "--out"), _trained),
        Job(
            "one-shot training",
            ("prior", "fit", *shot, "--envs", "3", *images, *size, "--out"),
            Path.read_bytes,
        ),
    ]


def synthetic_cifar(folder: Path) -> Path:
    """200 pictures of noise in CIFAR-10's layout."""
    rng = np.random.default_rng(0)
    content = {
        "data": rng.integers(0, 256, (200, 3072), dtype=np.uint8),
        "labels": [k % 10 for k in range(200)],
    }
    (folder / "cifar-10-batches-py").mkdir(parents=True, exist_ok=True)
    (folder / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(content))
    return folder


def kill(*, seed: int, kills: int, until: float, only: str | None = None) -> list[Account]:
    """One account per job; kills: of all jobs together. only: the name of one job."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "often").mkdir()
        (scratch / "often" / "sitecustomize.py").write_text(_OFTEN)
        each = [job for job in jobs(synthetic_cifar(scratch / "data")) if only in (None, job.name)]
        for job in each:
            rng = Random(f"{seed}/{job.name}")
            found.append(
                _killed(
                    job,
                    scratch / job.name.replace(" ", "-"),
                    scratch / "often",
                    rng,
                    kills // len(each),
                    until,
                )
            )
    return found


def _killed(job: Job, folder: Path, often: Path, rng: Random, kills: int, until: float) -> Account:
    account = Account(f"SIGKILL in {job.name}, gone on")
    folder.mkdir()
    env = environment({"ZNAS_CACHE": str(folder / "cache")})
    env["PYTHONPATH"] = os.pathsep.join([str(often), env["PYTHONPATH"]])
    run([*job.arguments, folder / "warm"], env=env)  # imports, kernels and caches are warm
    began = time.monotonic()
    whole = run([*job.arguments, folder / "whole"], env=env)
    length = time.monotonic() - began
    if whole.code != 0:
        account.add(f"refused or wrong without any kill: {whole.err.strip()[-300:]}", "the unbroken run")
        return account
    wanted = job.outcome(folder / "whole")
    missed = 0
    while account.tried < kills and time.monotonic() < until:
        out = folder / f"broken-{account.tried}-{missed}"
        times = min(rng.randint(1, 4), kills - account.tried)
        moments = [rng.uniform(0.2, 1.0) * length for _ in range(times)]
        landed = sum(_kill_once([*job.arguments, str(out)], env, moment) for moment in moments)
        done = run([*job.arguments, out], env=env) if not out.exists() or not _whole(out) else None
        fine = job.outcome(out) == wanted
        result = verdict(done, right=fine) if done is not None else RIGHT if fine else "another result"
        if result == REFUSED:  # whatever the reason: who gives the command again wants it to go on
            result = f"not gone on: {done.err.strip()[:300] if done is not None else ''}"
        if not landed:  # the job was faster than the kill: right or not, no kill was tried
            missed += 1
            if result != RIGHT or missed > kills:
                account.add(result, f"killed after {moments} of {length:.1f} s, when it was done")
        for _ in range(landed):
            account.add(result, f"killed after {moments} of {length:.1f} s")
    return account


def _kill_once(command: list[str], env: dict[str, str], moment: float) -> int:
    """1 where the process was still at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "znas", *command],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return 1
    return 0


def _whole(out: Path) -> bool:
    """Whether the last attempt came to its end; a folder that is added to goes on in any case."""
    return out.is_file() or any((out / name).exists() for name in ("result.json", "training.json"))


def _files(folder: Path) -> dict[str, Any]:
    """A run folder but for its seconds."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = json.loads(found["result.json"])
    del result["seconds"], found["report.html"]  # which shows them
    return found | {"result.json": result}


def _trained(folder: Path) -> tuple[bytes, bytes]:
    """The weights of a training, and the file that classifies."""
    return (folder / "weights.safetensors").read_bytes(), (folder / "model.onnx").read_bytes()


def _rows(folder: Path) -> Any:
    """The architectures that were found, by row and seed."""
    rows = json.loads((folder / "table2.json").read_text())["rows"]
    return [(row["row"], row["architectures"], row["evaluations"]) for row in rows]
