"""What docs/cluster.md shows to start a cluster: read by bash and by Ray, and the same in the files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.test_pages import unknown_options

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "cluster"
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
SCRIPTS = sorted(FOLDER.glob("*.sbatch"))


def cluster() -> Any:
    yaml = pytest.importorskip("yaml", reason="Ray's extra default brings it")
    return yaml.safe_load((FOLDER / "ray.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_are_of_bash_and_their_commands_ours(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", script], capture_output=True).returncode == 0
    assert text.startswith("#!/bin/bash\n#SBATCH ")
    assert re.search(r"^znas-engine ", text, re.MULTILINE)
    assert not unknown_options(text)


def test_the_page_shows_what_the_files_hold() -> None:
    blocks = re.findall(r"^```(?:yaml|bash)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block, name in zip(blocks, ("ray.yaml", "ray.sbatch", "array.sbatch"), strict=True):
        assert (FOLDER / name).read_text(encoding="utf-8").endswith(block)


def test_ray_takes_the_yaml() -> None:
    found = cluster()
    assert found["max_workers"] == len(found["provider"]["worker_ips"])
    util = pytest.importorskip("ray.autoscaler._private.util", reason="no Ray is installed")
    util.validate_config(util.prepare_config(found))
