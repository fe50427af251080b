"""Draws the committed pictures again, from the numbers that are committed beside them.

python bench/pictures.py        docs/evidence/*.png and bench/results/*/*.png, in place
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from page import draw, passes

from znas.bench.reading import one_line, read
from znas.output import Figure
from znas.reproduce.drawings import draw_accuracies, draw_correlations, draw_cost
from znas.reproduce.figures import CORRELATION, TABLE2, load

ROOT = Path(__file__).parents[1]


def main() -> None:
    for folder, figure in pictures():
        (folder / figure.name).write_bytes(figure.png)
        print((folder / figure.name).relative_to(ROOT))


def pictures() -> Iterator[tuple[Path, Figure]]:
    """(folder, picture) of all that is committed."""
    evidence = ROOT / "docs" / "evidence"
    for path in sorted(evidence.glob("table*.json")):
        table = load(path, TABLE2)
        yield evidence, draw_accuracies(table, f"{path.stem}.png")
        cost = evidence / f"{path.stem}-cost.png"
        if cost.is_file():
            yield evidence, draw_cost(table, cost.name)
    for path in sorted(evidence.glob("correlation*.json")):
        yield evidence, draw_correlations(load(path, CORRELATION), f"{path.stem}.png")
    for path in sorted((ROOT / "bench" / "results").glob("*/*.json")):
        if path.with_suffix(".png").is_file():
            yield path.parent, draw(passes(read(path)), f"{path.stem}.png")


if __name__ == "__main__":
    one_line(main)
