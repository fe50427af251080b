"""The README's code runs, and its figures are those of the pages that it links to."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.test_extending import FILES, SPACE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

BEFORE = """
import torch
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(torch.randn(8, 3, 8, 8), torch.arange(8) % 3), batch_size=4
)
"""
AFTER = """
assert result.conditions.scores == ("naswot", "spread")
assert result.space.name == "mine"
assert all(m.num_batches_tracked == 2 for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
print("ran")
"""


def lines(block: str) -> list[str]:
    return [line for line in block.splitlines() if line.strip()]


def rows(heading: str) -> list[list[str]]:
    """The first table below a heading, without its first two lines."""
    below = README.split(f"\n## {heading}\n")[1]
    found = re.findall(r"^\| (.*) \|$", below.split("\n## ")[0], re.MULTILINE)
    return [row.replace("*", "").split(" | ") for row in found[1:]]


def test_its_python_runs_as_it_stands(tmp_path: Path) -> None:
    searched, trained, extended = BLOCKS
    assert len(lines(searched)) <= 5
    assert len(lines(trained)) <= 6
    assert len(lines(extended)) <= 12
    for path in SPACE:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(FILES[path], encoding="utf-8")
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (48, 8, 8, 3), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", np.arange(48) % 3)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([searched, BEFORE, trained, extended, AFTER])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("|")
    assert done.stdout.endswith("ran\n")


def test_results_are_those_of_the_evidence() -> None:
    with (ROOT / "docs" / "evidence" / "table2.csv").open() as file:
        measured = {
            f"{float(row['mean']):.2f} ± {float(row['std']):.2f}, {float(row['low']):.2f}": row
            for row in csv.DictReader(file)
        }
    evidence = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    shown = rows("What it finds")
    assert len(shown) == 5
    for _, accuracy, lowest, seconds in shown:
        (row,) = (found for name, found in measured.items() if name.startswith(f"{accuracy}, "))
        assert f"{float(row['seconds_total']):.1f}" == seconds
        assert re.search(rf"^\| {row['row']} \| {accuracy} \[[^|]*\], {lowest} \|", evidence, re.MULTILINE)


def do_masks(page: str) -> list[list[str]]:
    """The rows of a page of the bench: space, masks, images, per call, threads, contender, ..."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    found = [line.strip("| ").split(" | ") for line in lines]
    return [row for row in found if len(row) > 10 and row[1] == "do"]


def test_times_are_those_of_the_bench_pages() -> None:
    of_table, of_words = dict.fromkeys(re.findall(r"bench/results/[\w/-]+\.md", README))
    shown = rows("How fast")
    assert len(shown) == 6
    for space, contender, milliseconds, ratio in shown:
        assert any(
            row[0] == space and row[5:7] == [contender, milliseconds] and row[10] == ratio
            for row in do_masks(of_table)
        )
    ratios = {(row[5], row[0]): float(row[10].split()[0]) for row in do_masks(of_words)}
    words = " ".join(README.split())
    for contender in ("native", "native-bf16"):
        both = [f"{ratios[contender, space]:.1f}" for space in ("nasbench201", "darts")]
        assert " and ".join(both) + " times" in words
