"""The report page in a real browser: nothing wrong on it at any width and in any colours, and every check can
fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import znas
from tests.browser import CHROMIUM, PAPER, SCHEMES, WIDTHS, Browser, browser
from tests.ragged import Ragged

pytest.importorskip("playwright", reason="the extra dev brings playwright, which drives a browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: apt-get install chromium"),
    pytest.mark.ours,
]

ROOT = Path(__file__).parents[1]
TINY: dict[str, Any] = {"supernet_channels": 4, "supernet_cells": 1, "resolution": 16, "images": 8}
PAGES = ("run folder", "darts", "chain", "ragged", "side by side")


ROW = {"name": "<b>found</b>", "arch": "a", "params": 1, "flops": 2, "seed": 0, "epochs": 3, "seconds": 4.5}
ROW |= {"accuracy": 0.5, "interval": [0.4, 0.6], "images": 100, "deployed_accuracy": 0.5}
TRAINING = {"rows": [ROW, ROW | {"name": "resnet20"}], "recipe": {"name": "quick"}, "judged_on": "val"}
TRAINING |= {"learned_from": 300}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of real searches: a run folder's own page with a front and names that are HTML; two cells, a chain and
    somebody else's cell with their standing; several beside one another with what was trained."""
    folder = tmp_path_factory.mktemp("pages")
    hostile = folder / "<img src=x onerror=alert(1)>&amp;"
    hostile.symlink_to(ROOT / "examples" / "five-classes")
    size = {**TINY, "data_dir": hostile}
    first = znas.search(finalists=60, pareto="flops", max_params="60%", **size)
    run = first.save(folder / "first")
    second = znas.search(preset="naswot", game="shapley", envs=2, seed=1, **size).save(folder / "second")
    darts = znas.search(space="darts", preset="naswot", envs=2, **TINY | {"supernet_cells": 3})
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(ROOT / "examples" / "plugin" / "src")
        chain = znas.search(space="znas_plugin_example.space:Chain", preset="naswot", **TINY)
    ragged = znas.search(space=Ragged(), score="naswot+params", p=0, **TINY)
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "training.json").write_text(json.dumps(TRAINING))
    made = {"darts": darts, "chain": chain, "ragged": ragged}
    found = {
        name: znas.report(of, random=6, envs=2).save(folder / f"{name}.html") for name, of in made.items()
    }
    several = znas.report([run, second, darts], trained=[folder / "a", folder / "b"], random=4)
    found["side by side"] = several.save(folder / "several.html")
    return {"run folder": run / "report.html"} | found


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wrong_with_a_page(
    name: str, width: int, scheme: str, pages: dict[str, Path], chromium: Browser
) -> None:
    visit = chromium.look(pages[name], width, scheme)
    assert not {check: found for check, found in visit.wrong.items() if found}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_on_paper(name: str, pages: dict[str, Path], chromium: Browser) -> None:
    assert not any(chromium.look(pages[name], PAPER, media="print").wrong.values())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_without_scripts(name: str, pages: dict[str, Path], chromium: Browser) -> None:
    text = chromium.read(pages[name], scripts=False)
    assert text == chromium.read(pages[name], scripts=True)
    for heading in ("What was found", "How good it is", "Why", "What it cost", "How to use it"):
        assert f"{heading}\n" in text
    assert "How to repeat it\n" in text


def test_what_comes_from_files_is_text(pages: dict[str, Path], chromium: Browser) -> None:
    text = chromium.read(pages["side by side"], scripts=True)
    assert "<b>found</b>" in text
    assert "<img src=x onerror=alert(1)>&amp;" in text


SVG = '<svg role="img" aria-labelledby="t" aria-describedby="d" viewBox="0 0 200 50" width="200">{}</svg>'
ABOUT = '<title id="t">T</title><desc id="d">D</desc>'
#: By check, a page that is wrong in that way and in no other.
BROKEN = {
    "labels": SVG.format(ABOUT + '<text x="9" y="20">one</text><text x="12" y="22">two</text>'),
    "contrast": '<p style="color: #aaa">pale</p>',
    "alternatives": SVG.replace('aria-labelledby="t" ', "").format(ABOUT),
    "overflow": '<div style="width: 3000px">wide</div>',
    "structure": "<h3>too deep</h3>",
    "requests": '<img src="https://example.org/x.png" alt="x">',
    "errors": "<script>nothing.there()</script>",
}
MORE = {
    "a label that leaves its picture": ("labels", SVG.format(ABOUT + '<text x="180" y="20">leaves</text>')),
    "pale letters in a picture": (
        "contrast",
        SVG.format(ABOUT + '<text x="9" y="20" fill="#bbb">pale</text>'),
    ),
    "letters on a dark shape": (
        "contrast",
        SVG.format(ABOUT + '<rect width="200" height="50" fill="#333"/><text x="9" y="20">dark</text>'),
    ),
    "letters on a shaded cell": (
        "contrast",
        '<table><tr><td style="background: rgb(16 88 248 / 0.95)">1</td></tr></table>',
    ),
    "a picture without a description": ("alternatives", SVG.format('<title id="t">T</title>')),
    "an image without words": (
        "alternatives",
        '<img alt="" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">',
    ),
    "an id that occurs twice": ("structure", '<p id="a">a</p><p id="a">b</p>'),
    "a style from elsewhere": ("requests", '<link rel="stylesheet" href="https://example.org/x.css">'),
    "a line to the console": ("errors", '<script>console.error("oh")</script>'),
}


def page_of(body: str, folder: Path) -> Path:
    file = folder / "page.html"
    file.write_text(f"<!DOCTYPE html><html lang=en><title>T</title><body><h1>T</h1>{body}</body></html>")
    return file


@pytest.mark.parametrize(("check", "body"), [*BROKEN.items(), *MORE.values()], ids=[*BROKEN, *MORE])
def test_every_check_can_fail(check: str, body: str, tmp_path: Path, chromium: Browser) -> None:
    wrong = chromium.look(page_of(body, tmp_path)).wrong
    assert wrong[check]
    #: A request that is refused is an error too.
    others = {name: found for name, found in wrong.items() if found} if check != "requests" else {check: 1}
    assert list(others) == [check]


def test_a_page_that_needs_a_script_is_seen(tmp_path: Path, chromium: Browser) -> None:
    file = page_of('<p id="p"></p><script>p.textContent = "made"</script>', tmp_path)
    assert "made" in chromium.read(file, scripts=True)
    assert "made" not in chromium.read(file, scripts=False)


def test_a_page_that_is_right_passes(tmp_path: Path, chromium: Browser) -> None:
    body = "<h2>a</h2><p>b</p>" + SVG.format(ABOUT + '<text x="9" y="20">one</text>')
    for width in WIDTHS:
        assert not any(chromium.look(page_of(body, tmp_path), width).wrong.values())
