"""Flat rows as CSV and as a data frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from znas_engine.errors import MissingDependencyError


def as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """A line of names, in the order in which they first appear, and one per record; empty where it lacks
    one."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def as_frame(records: Sequence[Mapping[str, Any]]) -> Any:
    """A pandas.DataFrame with a row per record; MissingDependencyError without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise MissingDependencyError("a data frame needs pandas: pip install pandas") from error
    return pandas.DataFrame.from_records(records)
