"""How to use what was found, and how to find it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from znas import summary
from znas.meaning import flag
from znas.output import Code, Facts, Heading, Paragraph, Part, Table
from znas.page.gathered import Run, digests
from znas.request import Request
from znas_engine.data import IN_MEMORY
from znas_engine.data.preprocess import FORMULA, Preprocess

#: Of images, where nobody has said how they are made.
UNSAID = "nobody has said here how images are made of pictures"
#: Characters of a line of a command, at most, where it can be broken.
WIDTH = 68
#: Names of classes that are listed.
CLASSES = 20


def parts(runs: Sequence[Run]) -> Iterator[Part]:
    """Commands, and how pictures become images."""
    yield Heading("How to use it")
    yield Paragraph(
        "`train` trains it and writes the file that classifies, with its accuracy. Or train it your own way: "
        "`architecture.py` of the run folder builds the network with PyTorch alone, and `deploy` makes one "
        "ONNX file of your weights, checks it against PyTorch and times it."
    )
    for run in runs:
        if len(runs) > 1:
            yield Heading(run.name, 3)
        where = shlex.quote(run.where)
        yield Code(
            f"znas-engine train {where} --out trained\n"
            f"znas-engine deploy {where} --weights weights.pt --out model.onnx"
        )
        yield Facts(list(_fed(run.result.preprocess)))


def _fed(fed: Preprocess | None) -> Iterator[tuple[str, str]]:
    if fed is None or not fed.known:
        yield "pictures", UNSAID if fed is None or fed.note is None else fed.note
        return
    yield "input", summary.how_fed(fed)
    if fed.crop is not None:
        yield "crop", fed.crop
    if fed.resize is not None:
        yield "resize", fed.resize
    yield "then", FORMULA
    if fed.classes is not None:
        more = f" and {len(fed.classes) - CLASSES} more" if len(fed.classes) > CLASSES else ""
        yield "classes", ", ".join(fed.classes[:CLASSES]) + more


def again(runs: Sequence[Run]) -> Iterator[Part]:
    """Command, seed, versions, digests."""
    yield Heading("How to repeat it")
    for run in runs:
        if len(runs) > 1:
            yield Heading(run.name, 3)
        yield from _again(run)


def _again(run: Run) -> Iterator[Part]:
    result = run.result
    written = command(result.request)
    if written is None:
        yield Paragraph(
            "Its search was asked for in Python, with objects that no command names; `result.json` holds its "
            "request."
        )
    else:
        yield Code(written)
    c = result.conditions
    yield Facts(
        [
            ("seed", f"{c.seed}: the same in every process and with every number of threads"),
            ("versions", ", ".join(f"{name} {number}" for name, number in result.versions.items())),
            ("data", c.origin),
        ]
    )
    rows = [[name, f"`{digest}`"] for name, digest in digests(run).items()]
    yield Table(["of", "SHA-256"], rows, left=(0, 1))


def command(request: Request) -> str | None:
    """What searches the same again, in lines; None where something was an object that no command names."""
    plain = request.to_dict()
    if plain["data"] == IN_MEMORY or any(str(value).startswith("(object ") for value in plain.values()):
        return None
    ordinary = Request().to_dict()
    words = ["znas-engine search"]
    for name, value in plain.items():
        if name == "seed" or value != ordinary[name]:
            words.append(flag(name) if value is True else f"{flag(name)} {shlex.quote(_text(name, value))}")
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 1 > WIDTH:
            lines[-1] += " \\"
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines)


def _text(name: str, value: Any) -> str:
    """As the command line takes it."""
    if isinstance(value, list):
        return ("+" if name == "score" else ",").join(map(str, value))
    return str(value)
