"""What others reported, as data with its source: `published.json`."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.resources import files
from typing import Any

DATASETS = (("cifar100", r"cifar.?100"), ("cifar10", r"cifar.?10"), ("imagenet16", r"imagenet.?16|imagenet"))


@lru_cache(maxsize=1)
def published() -> dict[str, list[dict[str, Any]]]:
    """table1, table2, table3: methods with accuracy or error [mean, deviation or null], seconds, device.
    correlation: Kendall's tau of scores with NAS-Bench-201 accuracies. Every entry names its source."""
    found: dict[str, list[dict[str, Any]]] = json.loads(
        files("znas.reproduce").joinpath("published.json").read_text(encoding="utf-8")
    )
    return found


def method(table: str, name: str | None) -> dict[str, Any] | None:
    """The entry of that name, or None."""
    return next((entry for entry in published()[table] if entry["method"] == name), None)


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
