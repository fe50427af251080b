"""A document as one HTML file that needs nothing beside it: style and pictures lie in it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape

from znas.output.document import (
    Code,
    Document,
    Facts,
    Figure,
    Heading,
    Notes,
    Paragraph,
    Part,
    Picture,
    Pictures,
    Table,
    one_line,
    pieces,
    visible,
)
from znas.output.palette import SERIES

#: Of a colour, what the darkest cell of a heat map has of it: letters stay readable on every page.
DARKEST = 0.5
_BLUE = " ".join(str(int(SERIES[0][place : place + 2], 16)) for place in (1, 3, 5))
#: Columns of a table whose letters are as usual, at most.
DENSE = 7
#: Of a page to the inch.
PIXELS = 96
#: Of its width, what a picture has at least on a narrow page.
SMALLEST = 0.75

#: On a page of its own, and within another's.
_LIGHT = """
  color-scheme: light dark; --text: #1c1e21; --page: #ffffff; --quiet: #5f6470; --line: #d5d8dd;
  --code: #f3f4f6; {series}
"""
_DARK = """
    --text: #e4e6ea; --page: #16181c; --quiet: #a3abb6; --line: #3a404a; --code: #22262c;
"""
RULES = """
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; text-wrap: balance }
h1 { font-size: 1.7rem; margin: 1rem 0 }
h2 { font-size: 1.3rem; margin: 2.75rem 0 1rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line) }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem }
p, ul, dd { overflow-wrap: anywhere }
p { max-width: 46rem }
ul { padding-left: 1.2rem; color: var(--quiet) }
code { font-family: ui-monospace, monospace; font-size: .9em }
code { background: var(--code); padding: .1em .3em; border-radius: .25rem }
pre { overflow-x: auto; background: var(--code); padding: .7rem .8rem; border-radius: .4rem }
pre code { padding: 0; background: none }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1rem; font-size: .95rem }
dt { color: var(--quiet) }
dd { margin: 0 }
dl.large { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0 }
dl.large div { display: flex; flex-direction: column-reverse; justify-content: flex-end }
dl.large div { flex: 1 1 8rem; box-sizing: border-box }
dl.large div { padding: .6rem .9rem; border: 1px solid var(--line); border-radius: .4rem }
dl.large dt { font-size: .85rem }
dl.large dd { font-size: 1.3rem; line-height: 1.3; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--quiet); padding-bottom: .4rem }
caption { position: sticky; left: 0; max-width: min(calc(100vw - 2rem), 46rem) }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
th { font-weight: 600 }
th.left, td.left { text-align: left }
th.left:first-child, td.left:first-child { position: sticky; left: 0; background: var(--page) }
.dense { font-size: .8rem }
.dense th, .dense td { padding: .28rem .4rem }
figure { margin: 1.5rem 0 }
img { max-width: 100%; height: auto; background: #fff; border-radius: .4rem }
figcaption { color: var(--quiet); font-size: .9rem }
.pictures { display: flex; flex-wrap: wrap; gap: 0 2rem; align-items: flex-start }
.pictures figure { min-width: 0; max-width: 100%; margin: 1rem 0 }
.picture { overflow-x: auto }
.picture svg { display: block }
"""
PRINT = """
@media print {
  body { padding: 0; font-size: 10pt }
  main { max-width: none }
  h2, h3 { break-after: avoid }
  td { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  figure, table, pre, dl { break-inside: avoid }
  .wide, .picture, pre { overflow: visible }
  pre { white-space: pre-wrap; overflow-wrap: anywhere }
  th, td { padding: .2rem .4rem }
  th, td.left, .dense td { white-space: normal }
  td.left:last-child, td code { overflow-wrap: anywhere }
  table { font-size: 8pt }
  .dense { font-size: 6pt }
  .dense th, .dense td { padding: .15rem .2rem }
}
"""


def _variables(of: str) -> str:
    """The colours of a page as variables of what the selector names; print is always light."""
    light = "; ".join(f"--series-{number}: {colour}" for number, colour in enumerate(SERIES, 1))
    return (
        f"{of} {{{_LIGHT.format(series=light)}}}\n"
        f"@media screen and (prefers-color-scheme: dark) {{\n  {of} {{{_DARK}  }}\n}}\n"
    )


STYLE = (
    f"{_variables(':root')}"
    "body { margin: 0; padding: 1rem; background: var(--page); color: var(--text) }\n"
    "body { font: 1rem/1.5 system-ui, sans-serif; -webkit-text-size-adjust: 100% }\n"
    f"main {{ max-width: 64rem; margin: 0 auto }}{RULES}{PRINT}"
)


def render(document: Document) -> str:
    title = escape(one_line(document.title))
    body = "\n".join(map(_part, document.parts))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{_inline(document.title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def fragment(document: Document) -> str:
    """The document for within another page, a notebook's, of whose style it changes nothing."""
    body = "\n".join(map(_part, document.parts))
    looks = f".znas {{ color: var(--text); background: var(--page); padding: .5rem\n{RULES}}}"
    own = f"{_variables('.znas')}{looks}"
    return f'<div class="znas">\n<style>{own}</style>\n{body}\n</div>\n'


def _part(part: Part) -> str:
    match part:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Code(text):
            return f"<pre><code>{escape(visible(text))}</code></pre>"
        case Notes(lines):
            return _element("ul", (f"<li>{_inline(line)}</li>" for line in lines))
        case Facts(pairs, large):
            each = [f"<dt>{_inline(label)}</dt><dd>{_inline(value)}</dd>" for label, value in pairs]
            if large:
                return _element("dl", (f"<div>{pair}</div>" for pair in each), ' class="large"')
            return _element("dl", each)
        case Figure(_, png, caption):
            data = b64encode(png).decode()
            return (
                f'<figure><img src="data:image/png;base64,{data}" alt="{escape(caption)}">'
                f"<figcaption>{_inline(caption)}</figcaption></figure>"
            )
        case Pictures(pictures):
            return _element("div", map(_picture, pictures), ' class="pictures"')
        case Table():
            return _table(part)


def _table(table: Table) -> str:
    caption = f"<caption>{_inline(table.caption)}</caption>\n" if table.caption else ""
    rows = [
        [
            f"<strong>{text}</strong>" if (number, column) in table.marked else text
            for column, text in enumerate(map(_inline, cells))
        ]
        for number, cells in enumerate(table.cells())
    ]
    head = _row("th", map(_inline, table.headings), table)
    body = "\n".join(_row("td", cells, table, number) for number, cells in enumerate(rows))
    kind = ' class="dense"' if len(table.headings) > DENSE else ""
    grid = f"<table{kind}>\n{caption}<thead>\n{head}\n</thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="wide">{grid}</div>'


def _row(kind: str, cells: Iterable[str], table: Table, number: int = -1) -> str:
    """number: of the row below the headings."""
    found = []
    for column, text in enumerate(cells):
        left = ' class="left"' if column in table.left else ""
        shade = table.shades.get((number, column))
        colour = "" if shade is None else f' style="background: rgb({_BLUE} / {DARKEST * shade:.3f})"'
        found.append(f"<{kind}{left}{colour}>{text}</{kind}>")
    return f"<tr>{''.join(found)}</tr>"


def _picture(picture: Picture) -> str:
    """As large as it is drawn; a narrow page makes it smaller, and scrolls it where its letters would be too
    small."""
    width = PIXELS * picture.width
    return (
        f'<figure style="width: {width:.0f}px"><div class="picture"><div style="min-width: '
        f'{SMALLEST * width:.0f}px">{picture.svg}'
        f"</div></div><figcaption>{_inline(picture.caption)}</figcaption></figure>"
    )


def _element(name: str, children: Iterable[str], attributes: str = "") -> str:
    inner = "\n".join(children)
    return f"<{name}{attributes}>\n{inner}\n</{name}>"


def _inline(text: str) -> str:
    return "".join(f"<code>{escape(p)}</code>" if code else escape(p) for p, code in pieces(text))
