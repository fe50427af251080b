"""Every rendering shows all of a document, whatever its texts are made of."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

import znas
from znas import priors
from znas.bench.tables import document as bench_document
from znas.cli.doctor import _checks
from znas.cli.doctor import document as doctor_document
from znas.output import Code, Document, Facts, Figure, Heading, Notes, Paragraph, Table, html, markdown, text
from znas.output.document import CODE, one_line
from znas.output.figures import canvas, png
from znas.output.records import as_csv
from znas.priors.document import document as priors_document
from znas_engine.spaces import get_space

ROOT = Path(__file__).parents[2]
#: What Markdown and HTML give a meaning to, more often than chance would.
AWKWARD = st.sampled_from([*"|<>&*_`~[]()#!\\-+=:.1a \n\"'", "&amp;", "</td>", "](", "|\n|", "**", "---"])
TEXTS = st.lists(AWKWARD | st.characters(exclude_categories=["C", "Z"]), max_size=12).map("".join)
CELLS = st.lists(st.lists(TEXTS, min_size=3, max_size=3), min_size=1, max_size=4)
VOID = {"meta", "img"}


class Page(HTMLParser):
    """The texts of the innermost elements by tag; fails where tags are not balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag not in ("strong", "code"):
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.texts:
            tag, before = self.texts[-1]
            self.texts[-1] = (tag, before + data)

    def of(self, *tags: str) -> list[str]:
        return [shown(found) for tag, found in self.texts if tag in tags]


def shown(raw: str) -> str:
    """As a reader sees it: white space runs together."""
    return " ".join(raw.split())


def expected(raw: str) -> str:
    """Without the backticks of code."""
    return shown(CODE.sub(r"\1", one_line(raw)))


def rendered_markdown(source: str) -> Page:
    """By a parser of CommonMark and GitHub's tables."""
    return Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(source))


@given(CELLS, TEXTS, st.sets(st.tuples(st.integers(0, 3), st.integers(0, 2))))
def test_every_cell_is_visible_in_each_rendering(
    rows: list[list[str]], caption: str, marked: set[tuple[int, int]]
) -> None:
    table = Table(rows[0], rows[1:], caption=caption, marked=marked)
    marks = {(r + 1, c) for r, c in marked}
    cells = [
        shown(f"{expected(cell)} *") if (r, c) in marks else expected(cell)
        for r, row in enumerate(rows)
        for c, cell in enumerate(row)
    ]
    document = Document("Title", [table])
    for page in (Page(html.render(document)), rendered_markdown(markdown.render(document))):
        assert page.of("th", "td") == cells
        assert [t for t in page.of("caption", "p") if t] == [t for t in [expected(caption)] if t]
    lines = text.render([table], emphasis=False).split("\n")[bool(caption) :]
    assert len(lines) == 1 + len(rows)
    for line, row in zip([lines[0], *lines[2:]], rows, strict=True):
        rest = line
        for cell in filter(None, (one_line(cell).strip() for cell in row)):  # columns are aligned
            before, found, rest = rest.partition(cell)
            assert found == cell
            assert before.strip(" *") == ""


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_every_sentence_is_visible_in_each_rendering(lines: list[str]) -> None:
    parts = [part for line in lines for part in (Heading(line), Paragraph(line), Notes([line]))]
    document = Document(lines[0], parts)
    for page in (Page(html.render(document)), rendered_markdown(markdown.render(document))):
        for tag, texts in (("h1", lines[:1]), ("h2", lines), ("p", lines), ("li", lines)):
            assert [t for t in page.of(tag) if t] == [t for t in map(expected, texts) if t]
    printed = shown(text.render(parts, emphasis=False))
    for line in lines:
        assert shown(one_line(line)) in printed


@given(st.lists(AWKWARD, max_size=12).map("".join).filter(str.strip))
def test_code_is_shown_letter_by_letter(raw: str) -> None:
    raw = raw.strip()
    document = Document("Title", [Code(raw)])
    for page in (Page(html.render(document)), rendered_markdown(markdown.render(document))):
        (found,) = (t for tag, t in page.texts if tag == "pre")
        assert found.rstrip("\n") == raw
    assert text.render(document.parts) == raw


def test_what_steers_a_terminal_is_written_out() -> None:
    """And halves of characters, which no file holds."""
    raw = "a\x1b[31m\x07\udcff\x7fb"
    parts = [
        Heading(raw),
        Paragraph(raw),
        Code(raw),
        Notes([raw]),
        Facts([(raw, raw)]),
        Table([raw], [[raw]]),
    ]
    document = Document(raw, parts)
    for page in (html.render(document), markdown.render(document), text.render(parts, emphasis=False)):
        assert not {*"\x1b\x07\x7f\udcff"} & {*page}
        assert page.replace("\\\\", "\\").count(r"a\x1b[31m\x07\udcff\x7fb") >= len(parts)


def test_columns_are_aligned_and_marks_keep_them_so() -> None:
    table = Table(["edge", "a"], [["x", "1.25"], ["longer", "3"]], marked={(0, 1)})
    plain = text.render([table], emphasis=False)
    assert plain.splitlines() == ["edge         a", "─" * 14, "x       1.25 *", "longer     3"]
    assert text.render([table], emphasis=True) == plain.replace("1.25 *", "\033[1m1.25 *\033[0m")
    words = text.render([replace(table, marked=(), left=(0, 1))], emphasis=False)
    assert words.splitlines() == ["edge    a", "─" * 12, "x       1.25", "longer  3"]
    assert "| --- | ---: |" in markdown.render(Document("", [table]))
    assert "| x | **1.25 \\*** |" in markdown.render(Document("", [table]))
    assert "<td><strong>1.25 *</strong></td>" in html.render(Document("", [table]))
    assert '<td class="left">longer</td>' in html.render(Document("", [table]))


def test_emphasis_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(["edge"], [["x"]], marked={(0, 0)})
    assert "\033" not in text.render([table])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\033[1m" in text.render([table])


def test_parts_follow_one_another_as_they_belong_together() -> None:
    parts = [
        Paragraph("First."),
        Heading("Numbers"),
        Facts([("one", "1"), ("a longer label", "2")]),
        Notes(["Said of them."]),
    ]
    assert text.render(parts).splitlines() == [
        *("First.", "", "Numbers", "one             1", "a longer label  2", "", "note        Said of them.")
    ]
    assert markdown.render(Document("T", parts)).splitlines() == [
        *("# T", "", "First.", "", "## Numbers", "", "* one: 1", "* a longer label: 2", "", "* Said of them.")
    ]


def test_a_page_needs_nothing_beside_it() -> None:
    """The picture lies in the page; nothing refers to another place."""
    drawn, axes = canvas(1, 1, width=2, height=1)
    axes[0][0].plot([0, 1])
    figure = Figure("a b.png", png(drawn), 'One "line" of `code` <here>')
    document = Document("T", [figure], {"one": 1})
    with Image.open(io.BytesIO(figure.png)) as picture:
        assert (picture.format, picture.size) == ("PNG", (240, 120))
    page = Page(html.render(document))
    (image,) = (attributes for tag, attributes in page.attributes if tag == "img")
    assert str(image["src"]).startswith("data:image/png;base64,")
    assert image["alt"] == figure.caption
    others = [a for tag, a in page.attributes if tag != "img"]
    assert not any(name in a for a in others for name in ("src", "href"))
    assert "url(" not in html.STYLE
    assert re.search(r"!\[[^]]*\]\(a%20b\.png\)", markdown.render(document))
    assert document.figures() == {"a b.png": figure.png}
    assert document.json() == '{\n "one": 1\n}\n'
    assert "a b.png" in text.render(document.parts)


def test_records_of_different_fields_share_one_csv() -> None:
    records: list[dict[str, Any]] = [{"a": 1, "b": 'x,"y"'}, {"c": 2.5, "a": "two\nlines"}]
    assert as_csv(records) == 'a,b,c\n1,"x,""y""",\n"two\nlines",,2.5\n'


# --- documents of real results ---


@pytest.fixture(scope="module")
def found() -> dict[str, Document]:
    """One of every result that is made within seconds; the others are rendered in their own tests."""
    size: dict[str, Any] = {
        "supernet_channels": 4,
        "supernet_cells": 1,
        "resolution": 16,
        "images": 8,
        "threads": 1,
    }
    bench = json.loads((ROOT / "bench/results/amd-epyc-25-1-2-cores/88d0675.json").read_text())
    shipped = get_space("nasbench201").prior
    assert shipped is not None
    return {
        "search": znas.search(preset="naswot", p=0.5, envs=2, **size).document(),
        "search of several scores": znas.search(score="naswot+flops", p=0.5, **size).document(),
        "darts": znas.search(space="darts", p=1, seed=3).document(),
        "prior": priors_document(priors.load(shipped)),
        "bench": bench_document(bench),
        "doctor": doctor_document(list(_checks())),
    }


RESULTS = ("search", "search of several scores", "darts", "prior", "bench", "doctor")


@pytest.mark.parametrize("name", RESULTS)
def test_a_real_result_says_the_same_in_every_rendering(name: str, found: dict[str, Document]) -> None:
    document = found[name]
    pages = [Page(html.render(document)), rendered_markdown(markdown.render(document))]
    wanted = [shown(letters) for letters in _texts(document)]
    assert wanted
    for page in pages:
        all_of_it = shown(" ".join(letters for _, letters in page.texts))
        for letters in wanted:
            assert CODE.sub(r"\1", letters) in all_of_it
    printed = shown(text.render(document.parts))
    for letters in wanted:
        assert letters in printed
    assert json.loads(document.json()) == json.loads(json.dumps(document.data))


def _texts(document: Document) -> Iterator[str]:
    for part in document.parts:
        match part:
            case Table():
                yield from (cell for row in [part.headings, *part.cells()] for cell in row)
            case Facts(pairs):
                yield from (value for _, value in pairs)
            case Notes(lines):
                yield from lines
            case Heading(letters) | Paragraph(letters) | Code(letters):
                yield letters


def test_a_search_is_told_as_it_was(found: dict[str, Document]) -> None:
    """The selected operation of every edge is marked, what was drawn has its sign, the facts are its own."""
    result = znas.search(
        preset="naswot",
        p=0.5,
        envs=2,
        supernet_channels=4,
        supernet_cells=1,
        resolution=16,
        images=8,
        threads=1,
    )
    lines = text.render(result.document().parts, emphasis=False).splitlines()
    assert lines[0] == result.arch
    rows = {line.split()[0].strip("()"): line for line in lines if line.lstrip("(").startswith("cell:")}
    assert rows.keys() == {edge.edge for edge in result.edges}
    for edge in result.edges:
        report = edge.operations[edge.selected]
        sign = "~" if report.intervened else ""
        assert f" {sign}{report.mean:.4g} ± {report.std:.2g} *" in rows[edge.edge]
        assert rows[edge.edge].count("*") == 1
        assert rows[edge.edge].count("~") == sum(bool(r.intervened) for r in edge.operations.values())
    labels = [line.split()[0] for line in lines[2:7]]
    assert labels == ["network", "neurons", "images", "device", "seconds"]
    assert f"{result.observed} observed, {result.intervened} intervened (p = 0.5)" in lines[3]
