"""`make screenshots`: report pages of real searches, at both widths and in both schemes of colours.

Writes build/screenshots, to be looked at by whoever changed a page, and docs/report.png of the README.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image

import znas
from tests.browser import CHROMIUM, SCHEMES, WIDTHS, browser

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "screenshots"
#: As the pages name it: from where `make` is run.
PICTURES = Path("examples/five-classes")
#: Of the README's picture: pixels of the page, and colours.
SHOWN, COLOURS = (1000, 860), 160
SEARCHES: dict[str, dict[str, Any]] = {
    "nasbench201": {"max_params": "300k", "max_latency": "3ms@ort:cpu:1", "pareto": "flops"},
    "naswot": {"preset": "naswot", "p": 0, "envs": 4, "seed": 1},
    "darts": {"space": "darts", "preset": "naswot", "envs": 4, "supernet_channels": 4, "supernet_cells": 3},
    "chain": {"space": "znas_plugin_example.space:Chain", "finalists": 50, "envs": 2},
}


def main() -> None:
    if CHROMIUM is None:
        raise SystemExit("no chromium is installed: apt-get install chromium")
    sys.path.insert(0, str(ROOT / "examples" / "plugin" / "src"))
    shutil.rmtree(FOLDER, ignore_errors=True)
    runs = {}
    for name, asked in SEARCHES.items():
        print(f"searching: {name}", flush=True)
        runs[name] = znas.search(data_dir=PICTURES, **asked).save(FOLDER / "runs" / name)
    files = {f"{name}-folder": run / "report.html" for name, run in runs.items()}
    for name, run in runs.items():
        files[name] = znas.report(run).save(FOLDER / f"{name}.html")
    files["together"] = znas.report([runs["nasbench201"], runs["naswot"]]).save(FOLDER / "together.html")
    with browser() as chromium:
        for name, file in files.items():
            for width in WIDTHS:
                for scheme in SCHEMES:
                    chromium.shot(file, FOLDER / f"{name}-{width}-{scheme}.png", width, scheme)
        shown = FOLDER / "shown.png"
        chromium.shot(files["nasbench201"], shown, SHOWN[0], "light", SHOWN[1])
    with Image.open(shown) as picture:
        picture.convert("RGB").quantize(COLOURS).save(ROOT / "docs" / "report.png", optimize=True)
    print(f"{FOLDER.relative_to(ROOT)}: {len(files) * len(WIDTHS) * len(SCHEMES)} pictures")


if __name__ == "__main__":
    main()
