"""What a dashboard reads of a job on a cluster: with --json, stderr is one JSON object per line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from znas.cluster.news import News, heard

_WRITTEN: ContextVar[bool] = ContextVar("written", default=False)


@contextmanager
def events() -> Iterator[None]:
    """What is heard of the cluster within is written."""
    before = _WRITTEN.set(True)
    try:
        with heard(_write_news):
            yield
    finally:
        _WRITTEN.reset(before)


def written() -> bool:
    """Whether stderr is events, and lines for people have to be one."""
    return _WRITTEN.get()


def write(kind: str, **facts: Any) -> None:
    """One event, with its time: UTC, ISO 8601."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"time": now, "kind": kind} | facts), file=sys.stderr, flush=True)


def _write_news(news: News) -> None:
    if news.kind != "remark":  # the job's own report hears it
        write(**news.facts())
