"""What others reported, as data with its source: `published.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from functools import lru_cache
from importlib.resources import files
from typing import Any

DATASETS = (("cifar100", r"cifar.?100"), ("cifar10", r"cifar.?10"), ("imagenet16", r"imagenet.?16|imagenet"))


@lru_cache(maxsize=1)
def published() -> dict[str, Any]:
    """What `published.json` holds. Every method and every score names its source.

    tables: table1, table2, table3 and more, each of a `space`, with a `title`, the images and classes that
        its networks are trained on, and its `methods`: accuracy or error [mean, deviation or null], seconds,
        device, and the `rows` of ours that it stands beside. usual_rows: those that are run where none are
        named; all where it names none. Tables of sizes say how the network is trained (epochs, recipe).
    correlation: Kendall's tau of `scores` with the accuracies of a `space`, `over` so many architectures.
    """
    found: dict[str, Any] = json.loads(
        files("znas.reproduce").joinpath("published.json").read_text(encoding="utf-8")
    )
    return found


def space_of(table: str) -> str:
    """The name of the space that a table is about."""
    return str(published()["tables"][table]["space"])


def methods(table: str) -> list[dict[str, Any]]:
    """All methods of a table."""
    found: list[dict[str, Any]] = published()["tables"][table]["methods"]
    return found


def beside(table: str, row: str) -> dict[str, Any] | None:
    """The method that stands beside a row of ours, or None."""
    return next((method for method in methods(table) if row in method["rows"]), None)


def apart(table: str, rows: Collection[str]) -> list[dict[str, Any]]:
    """The methods that stand beside none of these rows."""
    return [method for method in methods(table) if not set(rows) & set(method["rows"])]


def column_key(column: str) -> str | None:
    """The dataset and split that a table's column names, `cifar10-test` for `cifar10_test_200ep`; None where
    it does not say, or says another number of epochs than the 200 that were published."""
    text = column.lower()
    dataset = next((name for name, pattern in DATASETS if re.search(pattern, text)), None)
    split = "test" if "test" in text else "val" if "val" in text else None
    epochs = re.search(r"(\d+)\s*_?-?ep", text)
    if dataset is None or split is None or (epochs and epochs[1] != "200"):
        return None
    return f"{dataset}-{split}"
