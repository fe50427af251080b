"""Texts that people write and files that they exchange: genotypes, tables, priors, results."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
import runpy
import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import znas
from tests.torture import mutate
from tests.torture.inputs.base import DARTS, NB201, Input
from tests.torture.processes import REPOSITORY

ACCURACIES = ("acc", "cifar10_test", "accuracy", "top1")
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"


class Genotypes(Input):
    """Texts: one that is read says the same again."""

    name = "genotype texts"

    def make(self, rng: Random) -> tuple[Any, str]:
        space = rng.choice([NB201, DARTS])
        valid = str(space.genotype(space.random_path(np.random.default_rng(rng.getrandbits(32)))))
        return space, mutate.text_of(valid, rng)

    def use(self, case: tuple[Any, str]) -> bool:
        space, text = case
        genotype = space.parse(text)
        again = space.parse(str(genotype))
        return bool(again == genotype) and space.mask(genotype).shape == space.shape


class Tables(Input):
    """CSV: every value that is taken stands beside its architecture in the file, and is a percentage; and
    while only cells, lines and columns are changed, the accuracies are those of the column that was written
    as one, each beside its own architecture."""

    name = "tables"

    def make(self, rng: Random) -> tuple[bytes, dict[str, set[str]] | None]:
        draws = np.random.default_rng(rng.getrandbits(32))
        rows = [
            [str(NB201.genotype(NB201.random_path(draws))), f"{rng.uniform(5, 95):.2f}"] for _ in range(12)
        ]
        head = [
            rng.choice(["arch", "architecture", "cell", "model"]),
            rng.choice(ACCURACIES),
        ]
        table = [head, *rows]
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(table))
            row = table[at]
            cell = rng.randrange(len(row)) if row else 0
            match rng.randrange(12):
                case 0:
                    table = [[("" if k == 0 else str(k - 1)), *each] for k, each in enumerate(table)]
                case 1 if row:
                    row[cell] = rng.choice(mutate.WORDS)
                case 2 if row:
                    row[cell] = rng.choice(
                        ["", "nan", "-5", "9186.63", "0.91", "101", "93.1%", "1e2", "9 1", "91,5", "-"]
                    )
                case 3:
                    table.insert(at, list(row))
                case 4:
                    table.insert(at, [])
                case 5:
                    table = [[*each, rng.choice(["params", "1234567"])] for each in table]
                case 6:
                    table = [[*each, each[-1] if each else ""] for each in table]
                case 7 if row:
                    row.append("7")
                case 8 if row:
                    del row[cell]
                case 9:
                    table = [
                        table[0],
                        *(
                            (
                                [each[0], str(float(each[1]) / 100)]
                                if len(each) == 2 and _is_number(each[1])
                                else each
                            )
                            for each in table[1:]
                        ),
                    ]
                case 10:
                    table = [each[::-1] for each in table]
                case _:
                    table.append([rng.choice([CELL, CELL.replace("none", "conv")]), "50.5"])
        text = io.StringIO()
        csv.writer(
            text, delimiter=rng.choice([",", ",", ",", ";", "\t"]), lineterminator=rng.choice(["\n", "\r\n"])
        ).writerows(table)
        data = text.getvalue().encode(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"]), "replace")
        if rng.random() < 0.3:
            return mutate.bytes_of(data, rng), None
        return data, self._written(table)

    @staticmethod
    def _written(table: list[list[str]]) -> dict[str, set[str]] | None:
        """By architecture, what stands in its lines below the name of an accuracy."""
        header = [name.strip() for name in table[0]]
        names = [k for k, name in enumerate(header) if name in ACCURACIES]
        if len(names) != 1 or any(cell in mutate.WORDS for cell in header):
            return None
        found: dict[str, set[str]] = {}
        for row in table[1:]:
            for cell in row:
                if "~" in cell and len(row) > names[0]:
                    found.setdefault(_plain(cell), set()).add(row[names[0]].strip())
        return found

    def use(self, case: tuple[bytes, dict[str, set[str]] | None]) -> bool:
        from znas_engine.tables import read_table

        data, written = case
        table = read_table(self.put("table.csv", data), NB201)
        if written is not None:
            name, values = table.column(None)
            return name in ACCURACIES and all(
                {_percent(text) for text in written[_plain(str(genotype))]} == {value}
                for genotype, value in zip(table.genotypes, values.tolist(), strict=True)
            )
        return self._beside(data, table)

    @staticmethod
    def _beside(case: bytes, table: Any) -> bool:
        encoding = "utf-16" if case[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        lines = [_plain(line) for line in case.decode(encoding, "replace").splitlines()]
        for values in table.accuracies().values():
            if not ((values >= 0) & (values <= 100)).all():
                return False
            for genotype, value in zip(table.genotypes, values.tolist(), strict=True):
                beside = [
                    float(number)
                    for line in lines
                    if _plain(str(genotype)) in line
                    for number in re.findall(
                        r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", line.replace(_plain(str(genotype)), " ")
                    )
                ]
                if not any(math.isclose(value, b) for b in beside):
                    return False
        return True


class Priors(Input):
    """JSON: one that is read is what its file says, and is written and read again as it was."""

    name = "priors"

    def make(self, rng: Random) -> str:
        document = json.loads(NB201.prior.read_text())
        return mutate.json_of(document, rng)

    def use(self, case: str) -> bool:
        from znas import priors

        found = priors.load(self.put("prior.json", case))
        plain = json.loads(case)
        again = self.folder / "again.json"
        again.unlink(missing_ok=True)
        priors.save(found, again)
        return (
            priors.load(again).to_dict() == found.to_dict()
            and found.to_dict()["mean"] == plain["mean"]
            and found.check == plain["check"]
            and str(found.to_dict()).isprintable()
        )


class Results(Input):
    """result.json: one that is read can be shown in every form, and its architecture is the file's."""

    name = "results"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        result = znas.search(
            score="params", p=0.0, supernet_channels=2, supernet_cells=1, resolution=8, finalists=1
        )
        self.document = json.loads(result.to_json())

    def make(self, rng: Random) -> str:
        return mutate.json_of(self.document, rng)

    def use(self, case: str) -> bool:
        from znas.output import html, text

        found = znas.load(self.put("result.json", case))
        shown = text.render(found.document().parts) + html.render(found.document()) + found.to_json()
        shown += znas.report(found, random=0).to_html()
        return found.arch == json.loads(case)["arch"] and "\x1b" not in shown


class Benchmarks(Input):
    """Other people's benchmark results, compared and made into a page: exit code 0, or 2 and a line."""

    name = "benchmark results"

    def make(self, rng: Random) -> str:
        results = sorted((REPOSITORY / "bench" / "results").glob("*/*.json"))
        return mutate.json_of(json.loads(rng.choice(results).read_text()), rng)

    def use(self, case: str) -> bool:
        before, page = self.put("before.json", case), self.folder / "page.md"
        for path in (page, page.with_suffix(".png")):
            path.unlink(missing_ok=True)
        for script, arguments in (("compare.py", [before, before]), ("page.py", [before, page])):
            said = io.StringIO()
            before_arguments, sys.argv = sys.argv, [script, *map(str, arguments)]
            try:
                with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                    runpy.run_path(str(REPOSITORY / "bench" / script), run_name="__main__")
            except SystemExit as end:
                if end.code not in (0, None, 2):
                    return False
            finally:
                sys.argv = before_arguments
        return True


def _plain(text: str) -> str:
    return re.sub(r"\s", "", text.replace("\t", ","))


def _percent(text: str) -> float:
    """As people write it."""
    return float(text.rstrip("%").replace(",", "."))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
