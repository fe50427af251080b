"""What was tried and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from znas_engine.errors import LONGEST, ZnasError

RIGHT, REFUSED = "right", "refused"


@dataclass(slots=True)
class Account:
    """Of one kind of trouble. wrong: what was tried and what came of it, one line each."""

    kind: str
    tried: int = 0
    right: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    remark: str = ""

    def add(self, verdict: str, case: object = "") -> None:
        """verdict: RIGHT, REFUSED, or what went wrong."""
        self.tried += 1
        if verdict == RIGHT:
            self.right += 1
        elif verdict == REFUSED:
            self.refused += 1
        else:
            self.wrong.append(f"{verdict} <- {str(case)[:500]}")

    def row(self) -> list[str]:
        return [self.kind, *(f"{n:,}" for n in (self.tried, self.refused, self.right, len(self.wrong)))]


def judged(use: Callable[[Any], bool], case: Any) -> str:
    """use: of the case; whether what came of it is right. It may raise a ZnasError of one printable line."""
    try:
        return RIGHT if use(case) else "another result"
    except ZnasError as error:
        line = str(error)
        plain = line and line.isprintable() and len(line) <= LONGEST
        return REFUSED if plain else f"no plain line: {line!r:.200}"
    except Exception as error:  # noqa: BLE001 - whatever else is raised is what is looked for
        return f"{type(error).__name__}: {error!s:.200}"


def table(accounts: list[Account]) -> str:
    """Markdown, aligned."""
    total = Account("all")
    for each in accounts:
        total.tried += each.tried
        total.right += each.right
        total.refused += each.refused
        total.wrong += each.wrong
    rows = [["what", "tried", "refused in one line", "right", "wrong"]]
    rows += [each.row() for each in [*accounts, total]]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if c == 0 else ":") for c, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
