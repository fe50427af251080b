"""Nothing that the tool did not write is truncated, replaced or deleted, whatever its name and kind.

Every verb runs once to tell the names that it uses, and then again with foreign files, folders, links and
pipes under each of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.command import supernet
from znas import priors
from znas_engine.spaces import get_space

pytestmark = pytest.mark.ours

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SMALL = [*supernet(2, 1, 8)]
GAUSSIAN = ["--data", "gaussian", *SMALL, "-q"]
TABLE2 = [
    "reproduce",
    "table2",
    "--rows",
    "random,most-parameters",
    "--seeds",
    "2",
    "--out",
    "out",
    *GAUSSIAN,
]
CORRELATION = [
    *("reproduce", "correlation", "--table", "t.csv", "--scores", "params", "--images", "4", "--out", "out"),
    *GAUSSIAN,
]
#: Verb -> what it is told; names that it uses in some runs only.
VERBS: dict[str, tuple[list[str], list[str]]] = {
    "prior fit": (["prior", "fit", "--out", "a.json", "--envs", "2", "--images", "4", *SMALL, "-q"], []),
    "prior fit one-shot": (
        [
            *("prior", "fit", "--source", "one-shot", "--out", "a.json", "--envs", "2", "--images", "4"),
            *("--data", "imagefolder", "--data-dir", "pictures", "--train-images", "16", "--batch", "8"),
            *("--epochs", "1", "--threads", "1", "--score", "naswot", *SMALL, "-q"),
        ],
        [],
    ),
    "prior fit table": (
        ["prior", "fit", "--source", "table", "--table", "t.csv", "--out", "a.json"],
        ["a.json.work"],
    ),
    "prior show": (["prior", "show", "prior.json", "--plot", "p.png"], []),
    "prior check": (["prior", "check", "prior.json", "--table", "t.csv", "--record"], []),
    "table2": (TABLE2, ["out/scores.work"]),
    "correlation": (CORRELATION, []),
    "sets": (["reproduce", "sets", "--out", "measured"], []),
    "figures": (["reproduce", "figures", "--out", "measured"], []),
    "robustness": (
        [
            *("diagnose", "--robustness", "--out", "out", "--seeds", "2", "--inits", "gaussian", "--ps", "1"),
            *("--p", "1", "--image-counts", "4", "--images", "4", "--norms", "calibrated", *SMALL, "-q"),
        ],
        [],
    ),
    "score": (
        ["score", "--file", "t.csv", "--score", "params", "--out", "a.csv", *SMALL, "-q"],
        ["a.csv.1-of-2.work"],
    ),
    "page": ([str(ROOT / "bench" / "page.py"), "bench.json", "page.md"], ["page.png"]),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    space = get_space("nasbench201")
    rng = np.random.default_rng(0)
    lines = ["arch,test"]
    for _ in range(80):
        genotype = space.genotype(np.eye(5, dtype=np.float32)[rng.integers(0, 5, 6)])
        lines.append(f"{genotype},{rng.uniform(20, 90)}")
    (folder / "t.csv").write_text("\n".join(lines))
    neurons = np.arange(30.0).reshape(6, 5)
    prior = priors.Prior(
        space=space,
        score="naswot",
        mean=neurons,
        variance=neurons + 1,
        drop_mean=None,
        drop_variance=None,
        provenance={},
    )
    priors.save(prior, folder / "prior.json")
    for name in "ab":
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{i}.png")
    newest = max((ROOT / "bench" / "results").rglob("*.json"))
    (folder / "bench.json").write_bytes(newest.read_bytes())
    arguments = [
        *CORRELATION[: CORRELATION.index("--scores")],
        *("--scores", "params,flops", "--images", "4", "--out", "measured", *GAUSSIAN),
    ]
    subprocess.run([sys.executable, "-m", "znas", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_foreign_stays(verb: str, inputs: Path, tmp_path: Path) -> None:
    arguments, names = VERBS[verb]
    job: dict[str, Any] = {"inputs": str(inputs), "arguments": arguments, "names": names}
    job["again"] = arguments[0] == "reproduce"
    done = subprocess.run(
        [sys.executable, str(HERE / "planted.py"), json.dumps(job), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    first, *found = map(json.loads, done.stdout.splitlines())
    assert first["code"] in (0, 1), first
    assert len(first["names"]) >= 1
    for case in found:
        assert case["same"], case
        assert case["code"] in (0, 1, 2), case
        assert case["code"] != 2 or case["said"].strip().count("\n") == 0, case
    assert any(case["code"] == 2 for case in found)
