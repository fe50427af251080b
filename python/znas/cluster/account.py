"""Who did how much of a job, and how busy they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

from znas.cluster.news import News, heard
from znas.hooks import Report

#: Machines that get a line of their own in the end, and a place beside a bar.
NODES, BESIDE = 20, 4


@dataclass(slots=True)
class _Worker:
    """since, until: when it was there; None: to the end. busy: seconds that it worked."""

    since: float
    until: float | None = None
    units: int = 0
    masks: int = 0
    busy: float = 0.0


@dataclass(slots=True)
class _Node:
    """Workers by name; how many were lost, and how many units were done again since they failed there."""

    workers: dict[str, _Worker] = field(default_factory=dict)
    lost: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Did:
    """What one machine did, or all. workers: all that were there, here: those that still are. busy: seconds
    of them; utilisation: that, of the seconds in which they were there. lost: workers. repeated: units that
    were done again since they failed there."""

    workers: int
    here: int
    units: int
    masks: int
    busy: float
    utilisation: float
    lost: int
    repeated: int


class Account:
    """Of what is heard, from the beginning of the first unit to the end of the last."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._began: float | None = None
        self._ended = 0.0

    def hear(self, news: News) -> None:
        """See `znas.cluster.news`."""
        if news.host is None or news.worker is None:
            return
        now = time.monotonic()
        node = self._nodes.setdefault(news.host, _Node())
        match news.kind:
            case "worker":
                node.workers.setdefault(news.worker, _Worker(now))
            case "unit":
                seconds = news.seconds or 0.0
                began = now - seconds
                self._began = began if self._began is None else min(self._began, began)
                self._ended = now
                worker = node.workers.setdefault(news.worker, _Worker(self._began))
                worker.units, worker.masks = worker.units + 1, worker.masks + (news.masks or 0)
                worker.busy += seconds
            case "lost" | "repeated":
                node.repeated += news.units or 0
                if news.kind == "lost":
                    node.lost += 1
                    if news.worker in node.workers:
                        node.workers[news.worker].until = now

    @property
    def seconds(self) -> float:
        """From the first unit's beginning to the last one's end."""
        return 0.0 if self._began is None else self._ended - self._began

    def whole(self) -> Did:
        """Of all machines."""
        return self._did(self._nodes.values())

    def machines(self) -> list[tuple[str, Did]]:
        """Each with its name, those first that did most."""
        found = [(host, self._did([node])) for host, node in self._nodes.items()]
        return sorted(found, key=lambda each: (-each[1].masks, -each[1].units, each[0]))

    def _did(self, nodes: Iterable[_Node]) -> Did:
        nodes = list(nodes)
        workers = [worker for node in nodes for worker in node.workers.values()]
        there, busy = sum(map(self._there, workers)), sum(worker.busy for worker in workers)
        return Did(
            workers=len(workers),
            here=sum(worker.until is None for worker in workers),
            units=sum(worker.units for worker in workers),
            masks=sum(worker.masks for worker in workers),
            busy=busy,
            utilisation=min(1.0, busy / there) if there else 0.0,
            lost=sum(node.lost for node in nodes),
            repeated=sum(node.repeated for node in nodes),
        )

    def _there(self, worker: _Worker) -> float:
        """Seconds, of those since the first unit began."""
        until = self._ended if worker.until is None else worker.until
        began = until if self._began is None else self._began
        return max(0.0, until - max(worker.since, began))

    def speeds(self) -> str:
        """`vm-1 120 masks/s, vm-2 lost; 2 units done again`: those that did most, by name, and the rest
        together; nothing before the first unit is done."""
        if not self.seconds:
            return ""
        found, whole = self.machines(), self.whole()

        def speed(of: Sequence[Did]) -> str:
            if not any(did.here for did in of):
                return "lost"
            if whole.masks:
                return f"{sum(did.masks for did in of) / self.seconds:,.0f} masks/s"
            return f"{60 * sum(did.units for did in of) / self.seconds:,.0f} units/min"

        said = [f"{host} {speed([did])}" for host, did in sorted(found[:BESIDE], key=lambda each: each[0])]
        if rest := [did for _, did in found[BESIDE:]]:
            said.append(f"{len(rest):,} more {speed(rest)}")
        again = f"; {_counted(whole.repeated, 'unit')} done again" if whole.repeated else ""
        return ", ".join(said) + again

    def lines(self) -> list[str]:
        """In words: all, then each of several machines; none before the first unit is done."""
        if self._began is None:
            return []
        found = self.machines()
        who = found[0][0] if len(found) == 1 else _counted(len(found), "machine")
        said = [f"{who}: {_said(self.whole())}, in {self.seconds:.1f} s"]
        if len(found) > 1:
            said += [f"{host}: {_said(did)}" for host, did in found[:NODES]]
        rest = len(found) - NODES
        return [*said, f"and {_counted(rest, 'machine')} that did less"] if rest > 0 else said

    def facts(self) -> dict[str, Any]:
        """The same as plain JSON."""
        nodes = [{"host": host} | asdict(did) for host, did in self.machines()]
        return asdict(self.whole()) | {"seconds": self.seconds, "nodes": nodes}


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _said(did: Did) -> str:
    parts = [_counted(did.units, "unit")]
    if did.masks:
        parts.append(_counted(did.masks, "mask"))
    parts.append(f"{_counted(did.workers, 'worker')} busy {did.utilisation:.0%} of the time")
    if did.lost:
        parts.append(f"{did.lost:,} lost")
    if did.repeated:
        parts.append(f"{_counted(did.repeated, 'unit')} done again")
    return ", ".join(parts)


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
