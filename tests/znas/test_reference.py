"""docs/cli.md is what the commands say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from znas.cli import VERBS
from znas.cli.reference import PAGE, reference
from znas.request import OPTIONS
from znas_engine.scores import SCORES

ROOT = Path(__file__).parents[2]


def test_the_committed_page_is_what_the_commands_say() -> None:
    committed = (ROOT / PAGE).read_text(encoding="utf-8")
    assert committed == reference(), f"{PAGE} is stale: run `make docs` (python -m znas.cli.reference)"


def test_every_verb_and_every_option_of_a_search_is_there() -> None:
    page = reference()
    for verb in VERBS:
        assert f"## znas-engine {verb}\n" in page
    search = page.split("\n## ")[1]
    for name in OPTIONS:
        assert f"| `--{name.replace('_', '-')}` |" in search
    assert "| `--score` |" in search
    assert "| of the preset |" in search
    assert "| `gaussian` |" in search
    export = page.split("\n## znas-engine export\n")[1].split("\n## ")[0]  # its preset is fixed
    assert re.search(r"^\| `--norm` \|.*\| `calibrated` \|$", export, re.MULTILINE)
    assert re.search(r"^\| `--images` \|.*\| `64` \|$", export, re.MULTILINE)
    said = re.findall(r"^\| `\w+` \| (.*) \| [^|]* \|$", page.split("\n## Scores\n")[1], re.MULTILINE)
    assert len(said) == len(set(said)) == len(SCORES.builtin)


def test_what_is_installed_changes_the_help_and_not_the_page(tmp_path: Path) -> None:
    facts = tmp_path / "theirs-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[znas.scores]\nof_theirs = theirs.scores:Theirs\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])

    def printed(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "of_theirs" in printed("-m", "znas", "search", "--help")
    assert printed("-c", "from znas.cli.reference import *; print(reference(), end='')") == reference()
