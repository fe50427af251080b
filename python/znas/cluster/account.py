"""Who did how much of a job, and how busy they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from znas.cluster.news import News, heard
from znas.hooks import Report

#: Machines that get a line of their own.
NODES = 20


@dataclass(slots=True)
class OfWorker:
    """since, until: when it was there; None: to the end. busy: seconds that it worked."""

    host: str
    since: float
    until: float | None = None
    units: int = 0
    masks: int = 0
    busy: float = 0.0


@dataclass(frozen=True, slots=True)
class OfNode:
    """One machine, or all. busy: seconds of its workers. utilisation: that, of the seconds in which they were
    there. lost: workers. repeated: units that were done again since they failed there."""

    workers: int
    units: int
    masks: int
    busy: float
    utilisation: float
    lost: int
    repeated: int


class Account:
    """Of what is heard, from the beginning of the first unit to the end of the last."""

    def __init__(self) -> None:
        self._workers: dict[tuple[str, str], OfWorker] = {}
        self._lost: dict[str, int] = {}
        self._repeated: dict[str, int] = {}
        self._began: float | None = None
        self._ended = 0.0

    def hear(self, news: News) -> None:
        """See `znas.cluster.news`."""
        now = time.monotonic()
        host, who = news.host or "?", (news.host or "?", news.worker or "?")
        if news.kind == "worker":
            self._workers.setdefault(who, OfWorker(host, now))
        elif news.kind == "unit":
            seconds = news.seconds or 0.0
            self._began = now - seconds if self._began is None else min(self._began, now - seconds)
            self._ended = now
            found = self._workers.setdefault(who, OfWorker(host, self._began))
            found.units, found.masks = found.units + 1, found.masks + (news.masks or 0)
            found.busy += seconds
        elif news.kind in ("lost", "repeated"):
            self._repeated[host] = self._repeated.get(host, 0) + (news.units or 0)
            if news.kind == "lost":
                self._lost[host] = self._lost.get(host, 0) + 1
                if who in self._workers:
                    self._workers[who].until = now

    @property
    def seconds(self) -> float:
        """From the first unit's beginning to the last one's end."""
        return 0.0 if self._began is None else self._ended - self._began

    @property
    def hosts(self) -> list[str]:
        """Machines, those first that did most."""
        found = {each.host for each in self._workers.values()} | {*self._lost, *self._repeated}
        return sorted(found, key=lambda host: (-self.of(host).busy, host))

    def of(self, host: str | None = None) -> OfNode:
        """One machine; all of them by default."""
        workers = [each for each in self._workers.values() if host in (None, each.host)]
        there = sum(self._there(each) for each in workers)
        busy = sum(each.busy for each in workers)
        return OfNode(
            workers=len(workers),
            units=sum(each.units for each in workers),
            masks=sum(each.masks for each in workers),
            busy=busy,
            utilisation=min(1.0, busy / there) if there else 0.0,
            lost=sum(count for name, count in self._lost.items() if host in (None, name)),
            repeated=sum(count for name, count in self._repeated.items() if host in (None, name)),
        )

    def _there(self, worker: OfWorker) -> float:
        """Seconds, of those since the first unit began."""
        until = self._ended if worker.until is None else worker.until
        began = until if self._began is None else self._began
        return max(0.0, until - max(worker.since, began))

    def lines(self) -> list[str]:
        """In words: all, then each of several machines; none before the first unit is done."""
        if self._began is None:
            return []
        hosts = self.hosts
        who = hosts[0] if len(hosts) == 1 else _counted(len(hosts), "machine")
        said = [f"{who}: {_said(self.of())}, in {self.seconds:.1f} s"]
        if len(hosts) > 1:
            said += [f"{host}: {_said(self.of(host))}" for host in hosts[:NODES]]
        rest = len(hosts) - NODES
        return [*said, f"and {_counted(rest, 'machine')} that did less"] if rest > 0 else said

    def facts(self) -> dict[str, Any]:
        """The same as plain JSON."""
        nodes = [{"host": host} | _facts(self.of(host)) for host in self.hosts]
        return _facts(self.of()) | {"seconds": self.seconds, "nodes": nodes}


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _said(of: OfNode) -> str:
    parts = [_counted(of.units, "unit")]
    if of.masks:
        parts.append(_counted(of.masks, "mask"))
    parts.append(f"{_counted(of.workers, 'worker')} busy {of.utilisation:.0%} of the time")
    if of.lost:
        parts.append(f"{of.lost:,} lost")
    if of.repeated:
        parts.append(f"{_counted(of.repeated, 'unit')} done again")
    return ", ".join(parts)


def _facts(of: OfNode) -> dict[str, Any]:
    return {name: getattr(of, name) for name in OfNode.__slots__}


_WITHIN: ContextVar[bool] = ContextVar("within", default=False)


@contextmanager
def job(report: Report, end: Callable[[Account], None] | None = None) -> Iterator[None]:
    """What is done within is one job: `report` hears the cluster's remarks, and in the end who did how much.

    end: is given the account instead. A job within another is a part of that and says nothing. Nothing is
    said where no cluster did anything, nor of a job that fails.
    """
    if _WITHIN.get():
        yield
        return
    account = Account()

    def hear(news: News) -> None:
        account.hear(news)
        if news.kind == "remark" and news.text is not None:
            report(news.text)

    within = _WITHIN.set(True)
    try:
        with heard(hear):
            yield
    finally:
        _WITHIN.reset(within)
    if end is not None:
        end(account)
    else:
        for line in account.lines():
            report(line)
