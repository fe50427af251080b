"""Verbs that read and write ask for what they need first; numbers have domains; paths are users' own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import supernet
from znas.cli import main

SMALL = ["--data", "gaussian", *supernet(2, 1, 8, 4), "-q"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "table2", "--seeds", "9" * 22], "`seeds` must be between 1 and 10,000"),
        (["reproduce", "table1", "--seeds", "0"], "`seeds` must be between 1 and 10,000"),
        (["reproduce", "table2", "--seed", str(2**63 - 1)], "`seed` must be between 0 and"),
        (["reproduce", "table2", "--rows", "random,random"], "names 'random' twice"),
        (["reproduce", "table2", "--rows", "random,"], "unknown row ''"),
        (["reproduce", "table1", "--table", "absent.csv"], "absent.csv"),
        (["reproduce", "table2", "--prior", "absent.json"], "the prior absent.json cannot be read"),
        (["diagnose", "--robustness", "--seeds", "10001"], "`seeds` must be between 2 and 10,000"),
        (["diagnose", "--inits", "gaussian,gaussian"], "--inits names 'gaussian' twice"),
        (["diagnose", "--ps", "0.5,0.5"], "--ps names 0.5 twice"),
        (["diagnose", "--ps", "nan"], "nan"),
        (["diagnose", "--depths", "0"], "`depths` must be between 1 and"),
        (["prior", "fit", "--source", "one-shot", "--epochs", "9" * 30], "`epochs` must be between"),
        (["prior", "fit", "--source", "one-shot", "--batch", "0"], "`batch` must be between"),
        (["prior", "fit", "--envs", "9" * 30], "`envs` must be between"),
    ],
)
def test_what_is_needed_is_asked_first(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["--data", "gaussian", *supernet(2, 1, 8)]
    code, out, err = run(capsys, *arguments, *data, "--out", "deep/out", "-q")
    assert (code, out) == (2, "")
    assert message in err
    assert err.strip().count("\n") == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["~/x.json", "a" * 300, "f/x.json", ""])
def test_paths_are_as_users_write_them(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The home folder where the shell did not expand it; a line for what is no place."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_text("")
    code, _, err = run(capsys, "prior", "show", "shipped", "--plot", place)
    assert code == (0 if place.startswith("~") else 2), err
    assert (tmp_path / "x.json").exists() == place.startswith("~")
    assert err.strip().count("\n") == 0
    code, _, err = run(capsys, "prior", "show", place)
    assert code == 2
    assert err.strip().count("\n") == 0


def test_a_prior_is_recorded_in_its_own_file_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not through a link, and not inside the package by another name."""
    from znas_engine.spaces import get_space

    space = get_space("nasbench201")
    shipped = space.prior
    assert shipped is not None
    before = shipped.read_bytes()
    own = tmp_path / "own.json"
    own.write_bytes(before)
    (tmp_path / "link.json").symlink_to(own)
    (tmp_path / "shipped.json").symlink_to(shipped)
    cells = [str(space.parse([o, p, 3, 3, 3, 3])) for o in range(5) for p in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["arch,test", *(f"{c},{50 + i}" for i, c in enumerate(cells))]))
    for name, message in (
        ("link.json", "is a link"),
        ("shipped.json", "part of the installed package"),
        (str(shipped), "part of the installed package"),
    ):
        path = str(tmp_path / name)
        code, _, err = run(capsys, "prior", "check", path, "--table", str(tmp_path / "t.csv"), "--record")
        assert code == 2
        assert message in err
    assert shipped.read_bytes() == own.read_bytes() == before
    own.chmod(0o640)
    code, _, _ = run(capsys, "prior", "check", str(own), "--table", str(tmp_path / "t.csv"), "--record")
    assert code in (0, 1)
    assert own.read_bytes() != before
    assert own.stat().st_mode & 0o777 == 0o640
