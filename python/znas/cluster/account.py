"""Who did how much of a job."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class OfNode:
    """One machine. busy: seconds of its workers."""

    workers: set[str] = field(default_factory=set)
    units: int = 0
    masks: int = 0
    busy: float = 0.0
    lost: int = 0
    repeated: int = 0


class Account:
    """Of all that a place did, from its first unit on."""

    def __init__(self) -> None:
        self.nodes: dict[str, OfNode] = {}
        self._began: float | None = None

    def did(self, host: str, worker: str, masks: int, seconds: float) -> None:
        """A worker did a unit."""
        if self._began is None:
            self._began = time.monotonic() - seconds
        node = self.nodes.setdefault(host, OfNode())
        node.workers.add(worker)
        node.units += 1
        node.masks += masks
        node.busy += seconds

    def lost(self, host: str, units: int) -> None:
        """A worker was lost with so many units before it."""
        node = self.nodes.setdefault(host, OfNode())
        node.lost += 1
        node.repeated += units

    @property
    def seconds(self) -> float:
        """Since the first unit began."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def lines(self) -> list[str]:
        """In words, a line per node."""
        found = []
        for host, node in sorted(self.nodes.items()):
            share = node.busy / max(self.seconds * max(len(node.workers), 1), 1e-9)
            said = f"{host}: {node.units:,} units"
            if node.masks:
                said += f", {node.masks:,} masks"
            said += f", {node.busy:.1f} s of {len(node.workers)} worker{'s' * (len(node.workers) > 1)}"
            said += f", {min(share, 1):.0%} of the time"
            if node.lost:
                said += f"; {node.lost} lost, {node.repeated} units done again"
            found.append(said)
        return found
