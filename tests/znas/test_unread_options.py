"""Options of the other verbs that nothing would read: one line, exit code 2, before any work."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from znas.cli import run
from znas.cli.options import check_read
from znas.cli.prior_fit import SUPERNET, fit
from znas_engine.errors import InvalidValueError

pytestmark = pytest.mark.ours

FIT = ["prior", "fit", "--out", "p.json"]
TABLE2 = ["reproduce", "table2", "--data", "gaussian", "--out", "t"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*FIT, "--epochs", "3"], "--epochs 3 is of a training: pass --source one-shot, or drop --epochs"),
        ([*FIT, "--train-images", "64"], "--train-images 64 is of a training"),
        ([*FIT, "--column", "acc"], "--column acc is of a table: pass --table FILE too, or drop --column"),
        ([*FIT, "--source", "table", "--envs", "4"], "--envs 4 is of supernets, and a table is fitted alone"),
        ([*FIT, "--source", "table", "--data-dir", "x"], "--data-dir x is of supernets"),
        ([*FIT, "--source", "table", "--batch", "8"], "--batch 8 is of a training"),
        (
            ["export", "--norm", "batch", "--images", "8", "--out", "x.onnx"],
            "--images 8 is of --norm calibrated, which is measured on them, or drop --images",
        ),
        (["diagnose", "--out", "d", "--column", "acc"], "--column acc is of a table: pass --table FILE too"),
        (
            ["bench", "--part", "start", "--masks", "do", "--masks", "mixture"],
            "--masks do mixture is of the table of passes: pass --part passes too, or drop --masks",
        ),
        (["bench", "--part", "start", "--rounds", "3"], "--rounds 3 is of passes: pass --part passes too"),
        (["bench", "--part", "instant", "--masks-per-call", "3"], "--masks-per-call 3 is of passes"),
        (
            [*TABLE2, "--rows", "random", "--prior", "p.json"],
            "--prior p.json is of rows that use one: add one of paper-prior-p0.5, ",
        ),
    ],
)
def test_it_is_refused(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from znas import priors
    from znas_engine.spaces import get_space

    monkeypatch.chdir(tmp_path)
    shipped = get_space("nasbench201").prior
    assert shipped is not None
    if "p.json" in words and "table2" in words:
        Path("p.json").write_bytes(shipped.read_bytes())
        assert priors.load(Path("p.json"), get_space("nasbench201"))
    assert run(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"znas-engine: error: {message}")
    assert {path.name for path in tmp_path.iterdir()} <= {"p.json", "t"}


def test_what_is_said_of_defaults_is_true() -> None:
    """The value that an option has anyway is not refused."""
    parameters = inspect.signature(fit).parameters
    check_read(fit, "is unread", **{name: parameters[name].default for name in SUPERNET})
    with pytest.raises(InvalidValueError, match="--envs 3 is unread, or drop --envs"):
        check_read(fit, "is unread", envs=3)
