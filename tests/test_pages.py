"""Every page speaks of what exists: links, pictures, anchors, paths, modules and their names, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import pytest

from znas.cli import VERBS
from znas.presets import PRESETS
from znas_engine.backends import BACKENDS
from znas_engine.data import DATASETS
from znas_engine.scores import SCORES
from znas_engine.spaces import SPACES

ROOT = Path(__file__).parents[1]
ROOMS = ("bench", "csrc", "docs", "engine", "examples", "python", "stubs", "tests")
#: The history speaks of what was.
HISTORY = ROOT / "CHANGELOG.md"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for room in ROOMS for page in (ROOT / room).rglob("*.md"))],
    key=lambda page: page.relative_to(ROOT).parts,
)
LINK = re.compile(r"\]\(([^()\s]+)\)|<img[^>]* src=\"([^\"]+)\"")
PATH = re.compile(rf"`((?:{'|'.join(ROOMS)})/[\w./-]+)")
#: A file by the end of its path, such as `backends/chunked.py`.
FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)+\.(?:py|pyi|cpp|hpp|inl|cu|md|json|sh))`")
PLACES = ("", "engine/znas_engine", "python/znas", "csrc/src", "docs")
#: Names of entry points, which look like modules.
GROUPS = {each.group for each in (SPACES, SCORES, DATASETS, BACKENDS, PRESETS)}
MODULE = re.compile(r"`(znas(?:_engine)?(?:\.\w+)+)")
COMMAND = re.compile(r"(?:`|\$ |    )znas-engine ([a-z][\w-]*)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

names = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def missing_links(page: Path, text: str) -> Iterator[str]:
    """Relative links of a page whose file or heading is not there."""
    for found in LINK.finditer(FENCE.sub("", text)):
        target = unquote(found[1] or found[2])
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path
        lost = bool(path) and not file.exists()
        if not lost and anchor:
            lost = anchor not in anchors(file.read_text(encoding="utf-8") if path else text)
        if lost:
            yield target


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_paths(text: str) -> list[str]:
    """Paths of this repository in backticks that are not there."""
    lost = [path for path in PATH.findall(text) if not (ROOT / path.rstrip(".")).exists()]
    ends = [path for path in FILE.findall(text) if path.split("/")[0] not in (*ROOMS, "runs", "my_package")]
    return lost + [path for path in ends if not any((ROOT / place / path).exists() for place in PLACES)]


def options() -> dict[str, set[str]]:
    """What every verb takes, and every part of a verb: "prior fit" -> --out, ..."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = re.split(r"^##+ znas-engine ", page, flags=re.MULTILINE)[1:]
    return {
        section.split("\n")[0]: set(
            re.findall(r"--[\w-]+", "".join(re.findall(r"^\| (`.*?) \|", section, re.M)))
        )
        for section in sections
    }


def unknown_options(text: str) -> list[str]:
    """Options of commands in a page that their verbs do not take."""
    known = options()
    wrong = []
    whole = re.sub(r" *\\\n *", " ", text)
    for line in re.findall(r"znas-engine ([^\n`]+)", re.sub(r"\$\([^)]*\)", "", whole)):
        verb = next((v for v in sorted(known, key=len, reverse=True) if line.startswith(v)), None)
        taken = known[verb] | {"--help"} if verb else {"--help"}
        wrong += [f"{line.split()[0]} {o}" for o in re.findall(r" (--[\w-]+)", line) if o not in taken]
    return wrong


def exists(name: str) -> bool:
    """Whether `package.module.Name.attribute` is there."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@names
def test_links_and_pictures_are_there(page: Path) -> None:
    assert not list(missing_links(page, page.read_text(encoding="utf-8")))


@names
def test_paths_modules_and_verbs_are_there(page: Path) -> None:
    if page == HISTORY:
        return
    text = page.read_text(encoding="utf-8")
    assert not missing_paths(text)
    assert not [name for name in MODULE.findall(text) if name not in GROUPS and not exists(name)]
    made = re.findall(r"^# python/znas/cli/(\w+)\.py$", text, re.MULTILINE)
    assert set(COMMAND.findall(text)) <= {*VERBS, *made}
    assert not unknown_options(text)


def test_every_equation_is_where_the_page_says() -> None:
    """The third column of docs/method.md: names below znas or znas_engine."""
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    rows = [
        line.split("|") for line in text.splitlines() if re.match(r"\| (eqs?\.|Lemma|Prop|Alg|sec)", line)
    ]
    assert len(rows) > 15
    wrong = []
    for row in rows:
        last = ""
        for name in re.findall(r"`([\w.]+)`", row[3]):
            # `module.one`, `two`: what stands alone is beside what came before it.
            full = name if "." in name else f"{last.rpartition('.')[0]}.{name}"
            if not any(map(exists, (full, f"znas.{full}", f"znas_engine.{full}"))):
                wrong.append(name)
            last = full
    assert not wrong


def test_what_is_missing_is_found() -> None:
    text = (
        '[a](no.md) ![b](../README.md) [c](#there) [d](#Here) <img src="no.png"> [e](https://x.y)\n# There\n'
    )
    assert list(missing_links(ROOT / "docs" / "x.md", text + " [f](../README.md#nowhere)")) == [
        "no.md", "#Here", "no.png", "../README.md#nowhere"
    ]  # fmt: skip
    paths = "`engine/znas_engine/networks` `engine/znas_engine/graph.py` `python/znas/api.py` `spaces/no.py`"
    assert missing_paths(paths) == [
        "engine/znas_engine/networks",
        "python/znas/api.py",
        "spaces/no.py",
    ]
    assert unknown_options("    znas-engine prior fit --out x \\\n      --nothing 3 --space darts") == [
        "prior --nothing"
    ]
    assert exists("znas.search")
    assert exists("znas_engine.spaces.base.SearchSpace.do")
    assert not exists("znas.api")
    assert not exists("znas_engine.spaces.base.SearchSpace.dont")
