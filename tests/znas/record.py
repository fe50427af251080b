"""26 searches whose results must stay what they are: `python -m tests.znas.record` writes them down.

The record was made before the house was opened (commit 5753180). A search that is run again must give the
same JSON but for times, versions and keys that are new: bit for bit on a machine whose arithmetic is that of
the record (`arithmetic`), and to `CLOSE` elsewhere, where sums of floats come in another order.
"""

from __future__ import annotations

import contextlib
import io
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from znas.cli import main
from znas_engine import kernels

RECORD = Path(__file__).with_name("record.json")
#: Relative, for floats of another machine.
CLOSE = 1e-3
#: Say nothing about the architecture.
VOLATILE = ("seconds", "versions", "device", "request")

TINY = "--supernet-channels 4 --supernet-cells 1 --resolution 16 --images 16"
SMALL = "--supernet-channels 4 --supernet-cells 3 --resolution 16 --images 16"
DARTS = f"--space darts {SMALL}"
FIVE = "patterns+path_norm+entropy+phi+flops"
FOUR = f"{TINY} --score naswot+path_norm+isometry+live_flops --p 0 --norm batch"
NASWOT = f"--preset naswot {TINY}"
NASWOT_DARTS = f"--preset naswot {DARTS}"
SEARCHES = {
    "shortlist": f"{TINY} --finalists 10",
    "shortlist-darts": f"{DARTS} --finalists 4 --envs 2",
    "log-rank": f"{FOUR} --finalists 20",
    "log-rank-darts": f"{DARTS} --score {FIVE} --p 0 --norm batch --finalists 10",
    "log-rank-two-environments": f"{FOUR} --finalists 5 --envs 2 --seed 3",
    "paper": f"--preset paper {TINY} --data imagefolder --data-dir @ --seed 1",
    "paper-p0": f"--preset paper {TINY} --data imagefolder --data-dir @ --p 0 --envs 3",
    "paper-darts": f"--preset paper {DARTS} --data imagefolder --data-dir @",
    "naswot": f"{NASWOT}",
    "naswot-ort": f"{NASWOT} --backend ort",
    "naswot-torch": f"{NASWOT} --backend torch --seed 2",
    "naswot-darts": f"{NASWOT_DARTS}",
    "naswot-darts-ort": f"{NASWOT_DARTS} --backend ort --norm batch",
    "naswot-darts-torch": f"{NASWOT_DARTS} --backend torch --p 0.9",
    "nothing-measured": "--preset naswot --p 1 --seed 5",
    "nothing-measured-darts": "--preset naswot --space darts --p 1 --seed 5",
    "shapley": f"{NASWOT} --game shapley",
    "shapley-permutation": f"{NASWOT} --game shapley --estimator permutation --max-evaluations 20",
    "shapley-darts-p": f"{NASWOT_DARTS} --game shapley --p 0.95 --estimator bandit --max-evaluations 60",
    "interaction": f"{NASWOT} --game interaction --p 0.3",
    "sequential": f"{NASWOT} --selection sequential --order confidence --criterion leave-one-out",
    "race": f"{NASWOT} --race 0.6 --p 0.2 --images 64",
    "finalists": f"{NASWOT} --finalists 8 --p 0 --init uniform --norm identity",
    "prior": f"{NASWOT} --prior shipped --prior-scale raw --p auto --envs 2 --intervention bayesian",
    "prior-raw": f"{NASWOT} --prior shipped --prior-scale raw --p 0.5 --intervention cdf_difference",
    "prior-darts": f"{NASWOT_DARTS} --prior shipped --force-prior --p 0.7 --aggregate lcb --envs 2",
}


def arithmetic() -> dict[str, str]:
    """What the last bits of floats depend on."""
    packages = {name: version(name) for name in ("numpy", "torch", "onnxruntime")}
    return {"kernels": kernels.available_isas()[-1], **packages}


def pictures(folder: Path) -> None:
    """Two classes of sixteen pictures each, the same wherever they are made."""
    from PIL import Image

    rng = np.random.default_rng(7)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(16):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")


def search(name: str, folder: Path) -> dict[str, Any]:
    """The JSON of one search, without what is volatile. folder: of `pictures`."""
    words = SEARCHES[name].replace("@", str(folder)).split()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(["search", "--quiet", "--json", "--threads", "2", *words])
    found: dict[str, Any] = json.loads(printed.getvalue())
    found["data"].pop("origin")  # names the folder
    return {key: value for key, value in found.items() if key not in VOLATILE}


def _record() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        pictures(Path(folder) / "pictures")
        found = {name: search(name, Path(folder) / "pictures") for name in SEARCHES}
    lines = [f'"arithmetic": {json.dumps(arithmetic())}']
    lines += [
        f"{json.dumps(name)}: {json.dumps(result, separators=(',', ':'))}" for name, result in found.items()
    ]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    _record()
