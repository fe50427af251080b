"""docs/cli.md, made of the commands themselves: `python -m znas.cli.reference` writes it."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG
from typing import Any

import typer

from znas.cli import VERBS, app
from znas.files import write_file
from znas.output import Code, Document, Heading, Paragraph, Part, Table, markdown
from znas.presets import ORDINARY, PRESETS
from znas.request import OPTIONS
from znas_engine import paths
from znas_engine.errors import StorageError
from znas_engine.scores import SCORES, GradientScore, StaticScore
from znas_engine.spaces import SPACES

PAGE = Path("docs") / "cli.md"


def reference() -> str:
    """The page. It says what comes with znas-engine, whatever else is installed."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("znas-engine", [VERBS[0]], resilient_parsing=True)
    parts: list[Part] = [
        Paragraph(
            "Written by `make docs` from the commands themselves; `znas-engine VERB --help` says the same, "
            "with the names that installed packages add. Exit codes: 0 done, 1 the answer is no, 2 a mistake "
            "that the user can mend or a machine that has too little of something (one line on stderr), 70 a "
            "defect of znas-engine (a traceback, to be reported), 130, 143 or 129 a signal (SIGINT, SIGTERM, "
            "SIGHUP). Results go to stdout, progress and remarks to stderr; what cannot be written at the "
            "end is printed all the same, and then the exit code is 2."
        )
    ]
    for verb in VERBS:
        command = root.get_command(context, verb)
        parts += _command(f"znas-engine {verb}", command)
        for name, part in getattr(command, "commands", {}).items():
            parts += _command(f"znas-engine {verb} {name}", part, level=3)
    return markdown.render(Document("The command line", [*parts, *_presets(), *_scores()]))


def write() -> None:
    """Writes the page anew; StorageError where the file is not one."""
    page = reference().encode()
    about = paths.itself(PAGE, "the page")
    if about is None:
        write_file(PAGE, page)
    elif S_ISREG(about.st_mode) and paths.read(PAGE, "the page").startswith(page[: page.index(b"\n") + 1]):
        paths.replace(PAGE, page)
    else:
        raise StorageError(f"{PAGE} is not the page that this writes and is left as it is")


def _command(title: str, command: Any, level: int = 2) -> Iterator[Part]:
    """A verb's help and one table of what it takes."""
    yield Heading(title, level)
    # Within typer's help \b begins lines that stay as they are.
    for paragraph in inspect.cleandoc(command.help).split("\n\n"):
        yield Code(paragraph.lstrip("\b\n")) if "\b" in paragraph else Paragraph(paragraph)
    if shown := [each for each in command.params if not getattr(each, "hidden", False)]:
        yield Table(["option", "what", "default"], list(map(_row, shown)), left=(0, 1, 2))


def _presets() -> Iterator[Part]:
    """What they set in every space."""
    columns = list(ORDINARY)
    rows = []
    for preset in map(PRESETS.get, PRESETS.builtin):
        for space in map(SPACES.get, SPACES.builtin):
            values = ORDINARY | preset.values(space)
            shown = ["" if values[name] is None else str(values[name]) for name in columns]
            rows.append([preset.name, space.name, *shown])
    yield Heading("Presets")
    yield Paragraph("What is not given is what the preset says; `cells` left open is the space's own.")
    yield Table(["preset", "space", *columns], rows, left=range(2 + len(columns)))


def _scores() -> Iterator[Part]:
    """The first paragraph of what their modules say, or of their classes where a module has several."""
    rows = []
    scores = list(map(SCORES.get, SCORES.builtin))
    in_module = Counter(type(score).__module__ for score in scores)
    for score in scores:
        alone = in_module[type(score).__module__] == 1
        said = inspect.getdoc(inspect.getmodule(type(score)) if alone else type(score)) or ""
        needs = ["labels"] * score.needs_labels + ["gradients"] * isinstance(score, GradientScore)
        needs += ["no pass"] * isinstance(score, StaticScore)
        rows.append([f"`{score.name}`", said.partition("\n\n")[0], ", ".join(needs)])
    yield Heading("Scores")
    yield Paragraph("Gradients need `--backend torch`. Several joined by `+` are combined by rank.")
    yield Table(["score", "what", "needs"], rows, left=(0, 1, 2))


def _row(parameter: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        return [f"`{parameter.name.upper()}`", parameter.help, "required" if parameter.required else ""]
    return [", ".join(f"`{name}`" for name in parameter.opts), *_what(parameter)]


def _what(parameter: Any) -> tuple[str, str]:
    """What it is, and its default."""
    help = parameter.help
    if parameter.name in OPTIONS:
        option = OPTIONS[parameter.name]
        help = help.replace(option.described(), option.described(installed=False))
    what, of_preset, _ = help.partition(" [of the preset]")
    if parameter.required:
        return what, "required"
    if of_preset:
        return what, "of the preset"
    if isinstance(parameter.show_default, str):  # None stands for it
        return what, f"`{parameter.show_default}`"
    if parameter.default is None or parameter.default is False:
        return what, ""
    return what, f"`{parameter.default}`"


if __name__ == "__main__":
    write()
