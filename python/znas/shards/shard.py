"""Which part of how many."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from znas_engine.arguments import check_between
from znas_engine.errors import InvalidValueError, briefly

#: Parts of a job, at most.
MOST = 1_000_000

_FORM = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shard:
    """The part `number` of `count`, from 1: every count-th piece."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`2/8`; InvalidValueError for anything else."""
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise InvalidValueError(
                f"`shard` must be a part and how many there are, such as 2/8, but got {briefly(text)}"
            )
        count = check_between("shards", int(found[2]), 1, MOST)
        return cls(check_between("shard", int(found[1]), 1, count), count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, pieces: list[str], first: int = 0) -> list[str]:
        """Its own of a job's pieces, in order. first: the number of the first of these."""
        return pieces[(self.number - 1 - first) % self.count :: self.count]

    def folder(self, out: Path) -> Path:
        """Where it leaves what it did of `out`."""
        return out.with_name(f"{out.name}.{self.number}-of-{self.count}")
