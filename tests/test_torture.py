"""A short form of `make torture`: some of its inputs and kills."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.torture.account import REFUSED, RIGHT, Account, judged, table
from tests.torture.fuzz import fuzz
from tests.torture.inputs import KINDS
from tests.torture.kills import kill
from znas_engine.errors import InvalidValueError


@pytest.mark.parametrize("kind", KINDS)
def test_fuzzed_inputs_end_right_or_in_one_line(kind: str) -> None:
    account = fuzz(kind, seed=17, count=60, until=math.inf)
    assert account.wrong == []
    assert account.tried == 60
    assert account.refused + account.right == 60


def test_a_killed_search_goes_on(cache: Path) -> None:
    """The other jobs' kills have their tests where the jobs have theirs."""
    (account,) = kill(seed=17, kills=2, until=math.inf, only="search")
    assert account.wrong == []
    assert account.right >= 2


def test_what_counts_as_wrong() -> None:
    """A refusal is one printable line; another error, another answer and a crash are wrong."""

    def refuse(case: object) -> bool:
        raise InvalidValueError("no\nsuch \x1b thing")

    assert judged(refuse, 1) == REFUSED
    assert judged(lambda case: True, 1) == RIGHT
    assert judged(lambda case: False, 1) == "another result"
    assert judged(lambda case: case.missing, 1).startswith("AttributeError: ")
    account = Account("x")
    for verdict in (RIGHT, REFUSED, "a crash"):
        account.add(verdict, "case")
    assert account.row() == ["x", "3", "1", "1", "1"]
    assert account.wrong == ["a crash <- case"]
    assert table([account]).splitlines()[-1].split() == [
        "|",
        "all",
        "|",
        "3",
        "|",
        "1",
        "|",
        "1",
        "|",
        "1",
        "|",
    ]


@pytest.mark.parametrize("harm", ["shifted", "another column", "a hundredth", "one line"])
def test_a_table_that_is_read_wrongly_is_noticed(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What judges must not accept whatever stands somewhere in the file."""
    import znas_engine.tables as tables

    right = tables.read_table

    def wrong(*given: Any, **more: Any) -> Any:
        table = right(*given, **more)
        name, values = table.column(None)
        match harm:
            case "shifted":
                values = np.roll(values, 1)
            case "another column":
                values = np.arange(len(values), dtype=float)
            case "a hundredth":
                values = values / 100
            case _:
                values = np.where(np.arange(len(values)) == 3, values[0], values)
        return replace(table, columns={**table.columns, name: values})

    monkeypatch.setattr(tables, "read_table", wrong)
    kind = KINDS["tables"](tmp_path)
    cases = [kind.make(Random(seed)) for seed in range(300)]
    found = [judged(kind.use, case) for case in cases if case[1] is not None]  # no byte was changed
    assert found.count(RIGHT) == 0
    assert found.count("another result") >= 30


def test_a_hang_and_a_crash_are_cases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The process of a kind dies: the case that it was at is wrong, and the rest is tried."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nfrom tests.torture.inputs.documents import Genotypes\nuse = Genotypes.use\n"
        "def crash(self, case):\n    self.n = getattr(self, 'n', 0) + 1\n"
        "    return os._exit(9) if self.n == 3 else use(self, case)\nGenotypes.use = crash\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    account = fuzz("genotype texts", seed=0, count=5, until=math.inf)
    assert account.tried == 5
    assert [line.split(":")[0] for line in account.wrong] == ["a crash (exit code 9)"]
