"""Drawings can be read: colours that differ for everybody, texts that do not cover one another, and an SVG
that fits into any page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from znas.output import figures, html
from znas.output.figures import (
    PAGE,
    QUIET,
    SERIES,
    TEXT,
    canvas,
    label,
    overlaps,
    place_labels,
    png,
    style,
    svg,
)
from znas.output.palette import LINE, VARIABLES

Floats = NDArray[np.float64]
DARK_PAGE = "#16181c"
#: What somebody without a kind of cones sees of linear RGB (Machado, Oliveira and Fernandes 2009).
CONES = {
    "all": "1 0 0 0 1 0 0 0 1",
    "protanopia": "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deuteranopia": "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.01182 0.04294 0.968881",
    "tritanopia": "1.255528 -0.076749 -0.178779 -0.078411 0.930809 0.147602 0.004733 0.691367 0.3039",
}


def linear(colour: str) -> Floats:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) + 0.05 for colour in (one, other))
    return high / low


def oklab(rgb: Floats) -> Floats:
    """Where distances are about as large as they look (Ottosson 2020)."""
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    cones += [[0.0883024619, 0.2817188376, 0.6299787005]]
    seen = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099]]
    seen += [[0.0259040371, 0.7827717662, -0.808675766]]
    found: Floats = np.array(seen) @ np.cbrt(np.array(cones) @ np.clip(rgb, 0, 1))
    return found


@pytest.mark.parametrize("page", [PAGE, DARK_PAGE])
def test_marks_stand_out_on_a_white_and_on_a_dark_page(page: str) -> None:
    assert min(contrast(colour, page) for colour in SERIES) >= 3
    assert contrast(TEXT, PAGE) >= 4.5
    assert contrast(QUIET, PAGE) >= 4.5


@pytest.mark.parametrize("cones", CONES)
def test_colours_differ_for_everybody(cones: str) -> None:
    seen = [
        oklab(np.array(CONES[cones].split(), np.float64).reshape(3, 3) @ linear(colour)) for colour in SERIES
    ]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 0.08
    assert float(np.linalg.norm(seen[0] - seen[1])) > 0.25


def test_the_pages_style_names_the_same_colours() -> None:
    light = html.STYLE.partition("@media")[0]
    said = dict(re.findall(r"(--\w+): (#\w+)", light))
    for colour in (TEXT, PAGE, QUIET, LINE):
        short = said[VARIABLES[colour]]
        assert colour in (short, "#" + "".join(2 * letter for letter in short[1:]))


# --- SVG ---


@style()
def example(word: str = "one") -> Any:
    drawn, panels = canvas(1, 2, width=6, height=3)
    for axes in panels[0]:
        for i in range(len(SERIES)):
            axes.plot([0, 1], [i, i + 1], "o-", label=label(f"{word} {i} <&> $x$"))
        axes.set_title('a "title" of words')
        axes.grid()
        axes.set_xlim(0, 0.9)
    panels[0][0].legend()
    return drawn


def test_an_svg_fits_into_any_page() -> None:
    text = svg(example(), title="T <1>", description="D & d")
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("role"), root.get("width"), root.get("height")) == ("img", "100%", None)
    assert len(root.attrib["viewBox"].split()) == 4
    names = {each.get("id"): each.text for each in root}
    assert names[root.get("aria-labelledby")] == "T <1>"
    assert names[root.get("aria-describedby")] == "D & d"
    assert text.startswith("<svg ")
    tags = {each.tag.rpartition("}")[2] for each in root.iter()}
    assert tags <= {"svg", "title", "desc", "g", "defs", "path", "use", "text", "tspan", "clipPath", "rect"}
    written = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert 'a "title" of words' in written
    assert "one 3 <&> $x$" in written
    assert not re.search(r"https?:(?!//www.w3.org/2000/svg\")", text)


def test_every_colour_is_the_pages() -> None:
    text = svg(example(), title="T", description="D")
    used = set(re.findall(r"[ ,](#[0-9a-f]{6})\b", text))
    assert {TEXT, QUIET, PAGE, *SERIES} <= used <= set(VARIABLES)
    for colour in used:
        bare = text.replace(f"var({VARIABLES[colour]}, {colour})", "")
        assert colour not in bare
    assert f"fill: var(--text, {TEXT})" in text


def test_several_svgs_stand_in_one_page() -> None:
    one, again = (svg(example(), title="T", description="D") for _ in range(2))
    other = svg(example("two"), title="T", description="D")
    named = svg(example(), title="U", description="D")
    assert one == again
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, other, named)]
    assert all(len(each) > 5 for each in ids)
    assert not any(a & b for a, b in combinations(ids, 2))
    for text, own in zip((one, other, named), ids, strict=True):
        pointers = re.findall(r'(?:url\(|href=")#([^)"]+)', text)
        assert len(pointers) > 5
        assert set(pointers) <= own
        assert len(re.findall(r' id="', text)) == len(own)


def test_the_same_drawing_gives_the_same_bytes() -> None:
    assert png(example()) == png(example())
    assert b"Software" not in png(example())


def test_the_users_settings_neither_change_a_drawing_nor_are_changed() -> None:
    usual = svg(example(), title="T", description="D"), png(example())
    own = {"text.color": "white", "lines.linewidth": 9.0, "axes.grid": True, "svg.fonttype": "path"}
    with matplotlib.rc_context(own):
        before = dict(matplotlib.rcParams)
        assert (svg(example(), title="T", description="D"), png(example())) == usual
        assert dict(matplotlib.rcParams) == before


def test_letters_that_no_font_has_are_drawn_in_silence() -> None:
    with style():
        drawn, panels = canvas(1, 1, width=3, height=2)
        panels[0][0].set_title("\N{HANGUL SYLLABLE GA}")
        assert png(drawn)


# --- labels ---


@style()
def labelled(
    points: list[tuple[float, float]], texts: list[str], **limits: Any
) -> tuple[Any, Any, list[str]]:
    drawn, panels = canvas(1, 1, width=7, height=5)
    axes = panels[0][0]
    axes.plot(*np.array(points, np.float64).reshape(-1, 2).T, "o", label="points")
    axes.set(xlabel="x", ylabel="y", title="title", **limits)
    axes.legend(loc="lower right")
    return drawn, axes, place_labels(axes, points, texts)


def covered(drawn: Any, axes: Any, points: list[tuple[float, float]]) -> list[str]:
    """Labels that cover a point, the legend or the border."""
    drawn.draw_without_rendering()
    frame, legend = axes.get_window_extent(), axes.get_legend().get_window_extent()
    found = []
    for note in axes.texts:
        box = matplotlib.text.Text.get_window_extent(note)
        inside = [(x, y) for x, y in axes.transData.transform(points) if box.contains(x, y)]
        out = box.x0 < frame.x0 or box.y0 < frame.y0 or box.x1 > frame.x1 or box.y1 > frame.y1
        if inside or out or box.overlaps(legend):
            found.append(note.get_text())
    return found


LONG = "zero-cost proxies with a rather long name of their own"
CASES = {
    "one": [(0.5, 0.5)],
    "equal": [(1.0, 2.0)] * 24,
    "corners": [(0.0, 0.0), (0.0, 100.0), (100.0, 0.0), (100.0, 100.0)],
    "outlier": [(0.001 * i, 1.0 + 0.001 * (i % 5)) for i in range(30)] + [(1e6, -1e6)],
    "line": [(float(i), 0.0) for i in range(18)],
}


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_labels_find_room(name: str, long: bool) -> None:
    points = CASES[name]
    texts = [f"{LONG if long else 'p'} {i}" for i in range(len(points))]
    drawn, axes, missing = labelled(points, texts)
    assert missing == []
    assert sorted(note.get_text() for note in axes.texts) == sorted(texts)
    assert overlaps(drawn) == []
    assert covered(drawn, axes, points) == []


def test_a_label_is_near_its_point_or_has_a_line_to_it() -> None:
    points = [*CASES["equal"], (1.5, 2.05)]
    drawn, axes, _ = labelled(points, [f"name {i}" for i in range(len(points))])
    drawn.draw_without_rendering()
    ways = set()
    for note in axes.texts:
        box = matplotlib.text.Text.get_window_extent(note)
        point = axes.transData.transform(note.xy)
        gap = np.hypot(*(np.clip(point, box.min, box.max) - point)) * 72 / drawn.dpi
        ways.add(note.arrow_patch is not None)
        assert gap < 12 or note.arrow_patch is not None
    assert ways == {True, False}


def test_what_has_no_room_is_returned() -> None:
    points = [(0.5, 0.5)] * 400
    texts = [f"{LONG} {i}" for i in range(400)]
    drawn, axes, missing = labelled(points, texts)
    assert 0 < len(missing) < 400
    assert len(axes.texts) == 400 - len(missing)
    assert overlaps(drawn) == []
    outside = [(0.5, 0.5), (5.0, 0.5), (float("nan"), 0.5), (float("inf"), 0.5)]
    assert labelled(outside, ["in", "out", "nan", "inf"], xlim=(0, 1))[2] == ["out", "nan", "inf"]
    assert labelled([], [])[2] == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=25), st.integers(1, 40))
def test_labels_of_any_points_find_room(points: list[tuple[float, float]], length: int) -> None:
    texts = [f"{'m' * length}{i}" for i in range(len(points))]
    drawn, axes, missing = labelled(points, texts, xlim=(-0.1, 1.1), ylim=(-0.1, 1.1))
    assert overlaps(drawn) == []
    assert covered(drawn, axes, points) == []
    assert len(axes.texts) + len(missing) == len(points)


# --- overlaps ---


@style()
def test_overlaps_are_seen() -> None:
    drawn, panels = canvas(1, 1, width=4, height=3)
    axes = panels[0][0]
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.text(0.5, 0.5, "here")
    axes.text(0.52, 0.5, "there")
    assert overlaps(drawn) == [("here", "there")]
    axes.texts[1].set_visible(False)
    assert overlaps(drawn) == []
    axes.text(0.9, 0.2, "this one leaves the figure").set_in_layout(False)
    assert overlaps(drawn) == [("this one leaves the figure", "the figure's edge")]


@style()
def test_turned_texts_overlap_where_their_letters_do() -> None:
    drawn, panels = canvas(1, 1, width=4, height=3)
    axes = panels[0][0]
    axes.set_xticks(range(8), [f"sep_conv_{i}x{i}" for i in range(8)], rotation=45, ha="right")
    axes.set_xlim(-0.5, 7.5)
    assert overlaps(drawn) == []
    axes.set_xticks(range(8), [f"sep_conv_{i}x{i}" for i in range(8)], rotation=0, ha="center")
    assert len(overlaps(drawn)) >= 7


def test_nothing_but_the_figures_modules_knows_matplotlib() -> None:
    root = Path(figures.__file__).parents[1]
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"^\s*(?:import|from) matplotlib", path.read_text(), re.MULTILINE)
    }
    assert found == {"output/figures.py", "output/labels.py", "output/scales.py", "page/drawn.py"}
