"""A page as a real browser shows it, and what is wrong with it: what `tests/test_browser.py` and
`make screenshots` drive."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Debian's: a browser that a package manager keeps up to date, not one of an automation package's own.
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: Nothing that calls anybody, and no sandbox, which root does not get.
OPTIONS = [
    *("--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
#: A telephone and a desk, in pixels.
WIDTHS = (360, 1280)
#: A4 within margins of a centimetre.
PAPER = 718
SCHEMES = ("light", "dark")
#: Of text to what is behind it (WCAG 2.2, level AA).
CONTRAST = 4.5

#: Pairs of texts of one picture that cover one another by more than a pixel, and texts that leave it.
LABELS = """() => {
  const wrong = [];
  for (const svg of document.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].filter(each => each.textContent.trim());
    const boxes = texts.map(each => each.getBoundingClientRect());
    texts.forEach((text, i) => {
      const a = boxes[i];
      const inside = a.left >= frame.left - 1 && a.right <= frame.right + 1;
      if (!inside || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
        wrong.push(`${text.textContent} leaves its picture`);
      boxes.slice(0, i).forEach((b, j) => {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 1 && high > 1)
          wrong.push(`${texts[j].textContent} is covered by ${text.textContent}`);
      });
    });
  }
  return wrong;
}"""

#: Texts whose contrast to what is painted behind them is too low; behind letters of a picture lie its shapes.
CONTRASTS = """least => {
  const read = text => {
    const [r, g, b, a] = (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    return {r, g, b, a: text === 'transparent' || text === 'none' ? 0 : a === undefined ? 1 : a};
  };
  const over = (top, below) => {
    const mix = name => top.a * top[name] + (1 - top.a) * below[name];
    return {r: mix('r'), g: mix('g'), b: mix('b'), a: 1};
  };
  const light = ({r, g, b}) => {
    const [x, y, z] = [r, g, b].map(each => each / 255)
      .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ratio = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = element => {
    const layers = [];
    for (let each = element; each; each = each.parentElement)
      layers.push(read(getComputedStyle(each).backgroundColor));
    const scheme = getComputedStyle(document.documentElement).colorScheme;
    const dark = scheme.includes('dark') && matchMedia('(prefers-color-scheme: dark)').matches;
    const canvas = dark ? {r: 18, g: 18, b: 18, a: 1} : {r: 255, g: 255, b: 255, a: 1};
    return layers.reverse().reduce((below, top) => over(top, below), canvas);
  };
  const wrong = [];
  const judge = (element, colour, below) => {
    const found = ratio(over(colour, below), below);
    if (found < least)
      wrong.push(`${element.textContent.trim().slice(0, 40)}: ${found.toFixed(2)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || seen.has(element)) continue;
    if (element.closest('svg, style, script, noscript')) continue;
    seen.add(element);
    judge(element, read(getComputedStyle(element).color), behind(element));
  }
  for (const svg of document.querySelectorAll('svg')) {
    const shapes = [...svg.querySelectorAll('path, rect, circle, ellipse, text')];
    shapes.forEach((text, place) => {
      if (text.tagName !== 'text') return;
      const box = text.getBoundingClientRect();
      const middle = new DOMPoint(box.left + box.width / 2, box.top + box.height / 2);
      let below = behind(svg);
      for (const shape of shapes.slice(0, place)) {
        if (shape.tagName === 'text' || shape.closest('defs, clipPath')) continue;
        const own = middle.matrixTransform(shape.getScreenCTM().inverse());
        const style = getComputedStyle(shape);
        const fill = read(style.fill);
        fill.a *= Number(style.fillOpacity) * Number(style.opacity);
        if (fill.a > 0 && shape.isPointInFill(own)) below = over(fill, below);
      }
      const style = getComputedStyle(text);
      const colour = read(style.fill);
      colour.a *= Number(style.fillOpacity) * Number(style.opacity);
      judge(text, colour, below);
    });
  }
  return wrong;
}"""

#: Pictures that say nothing to who does not see them.
SILENT = """() => {
  const named = svg => ['aria-labelledby', 'aria-describedby'].every(name => {
    const about = document.getElementById(svg.getAttribute(name));
    return about && svg.contains(about) && about.textContent.trim();
  });
  const silent = [...document.querySelectorAll('svg')]
    .filter(svg => svg.getAttribute('role') !== 'img' || !named(svg));
  return [...silent, ...[...document.images].filter(image => !image.alt.trim())]
    .map(each => each.outerHTML.slice(0, 80));
}"""

OVERFLOW = """() => {
  const most = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= most) return [];
  return [...document.body.querySelectorAll('*')]
    .filter(each => each.getBoundingClientRect().right > most + 1)
    .map(each => `${each.tagName} reaches ${each.getBoundingClientRect().right}`).slice(0, 5);
}"""

#: Ids that occur twice, headings that skip a level.
STRUCTURE = """() => {
  const ids = [...document.querySelectorAll('[id]')].map(each => each.id);
  const twice = ids.filter((id, place) => ids.indexOf(id) !== place).map(id => `the id ${id} occurs twice`);
  const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map(each => Number(each.tagName[1]));
  const skipped = levels.filter((level, i) => level > (i ? levels[i - 1] + 1 : 1));
  return [...twice, ...skipped.map(level => `a heading of level ${level} follows none above it`)];
}"""


@dataclass
class Visit:
    """What was seen of a page. wrong: by check, what it found."""

    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=dict)


class Browser:
    """Headless Chromium."""

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium

    @contextmanager
    def page(self, file: Path, visit: Visit, **context: Any) -> Iterator[Any]:
        """The page, opened; what it asks for besides itself is refused and noted."""
        own = file.resolve().as_uri()

        def answer(route: Any) -> None:
            if route.request.url == own:
                route.continue_()
            else:
                visit.requests.append(route.request.url)
                route.abort()

        opened = self._chromium.new_context(**context)
        try:
            page = opened.new_page()
            page.route("**/*", answer)
            page.on("console", lambda said: visit.errors.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: visit.errors.append(str(error)))
            page.on("dialog", lambda dialog: (visit.errors.append("a dialog"), dialog.dismiss()))
            page.goto(own)
            yield page
        finally:
            opened.close()

    def look(
        self, file: Path, width: int = WIDTHS[1], scheme: str = SCHEMES[0], media: str = "screen"
    ) -> Visit:
        """Everything that is checked, at one width and in one scheme of colours. media: or print."""
        visit = Visit()
        context = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
        with self.page(file, visit, **context) as page:
            page.emulate_media(media=media)
            visit.wrong = {
                "labels": page.evaluate(LABELS),
                "contrast": page.evaluate(CONTRASTS, CONTRAST),
                "alternatives": page.evaluate(SILENT),
                "overflow": page.evaluate(OVERFLOW),
                "structure": page.evaluate(STRUCTURE),
            }
        visit.wrong |= {"requests": visit.requests, "errors": visit.errors}
        return visit

    def read(self, file: Path, *, scripts: bool) -> str:
        """The text that a reader sees."""
        with self.page(file, Visit(), java_script_enabled=scripts) as page:
            text: str = page.inner_text("body")
            return text

    def shot(self, file: Path, out: Path, width: int, scheme: str, height: int | None = None) -> None:
        """A picture of the page, of all of it or of its upper part."""
        context = {"viewport": {"width": width, "height": height or 800}, "color_scheme": scheme}
        with self.page(file, Visit(), **context) as page:
            page.screenshot(path=out, full_page=height is None)


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium while it is used; its profile is an empty folder that goes with it."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        try:
            yield Browser(chromium)
        finally:
            chromium.close()
