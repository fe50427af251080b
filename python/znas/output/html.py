"""A document as one HTML file that needs nothing beside it: style and pictures lie in it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape

from znas.output.document import Code, Document, Facts, Figure, Heading, Notes, Paragraph, Part, Table, pieces

STYLE = """
:root {
  color-scheme: light dark; --text: #1c1e21; --page: #fff; --quiet: #667; --line: #d5d8dd;
  --code: #f1f3f5
}
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6ea; --page: #16181c; --quiet: #9aa2ad; --line: #363b44; --code: #23272e }
}
body { margin: 0; padding: 1rem; background: var(--page); color: var(--text) }
body { font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 64rem; margin: 0 auto }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere }
h2 { margin-top: 2.5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line) }
p, ul, dd { overflow-wrap: anywhere }
ul { padding-left: 1.2rem; color: var(--quiet) }
code { font-family: ui-monospace, monospace; font-size: .9em; background: var(--code); padding: .1em .3em }
pre { overflow-x: auto; background: var(--code); padding: .8rem; border-radius: .4rem }
pre code { padding: 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem }
dt { color: var(--quiet) }
dd { margin: 0 }
.wide { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--quiet); padding-bottom: .4rem }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
th.left, td.left { text-align: left }
figure { margin: 1.5rem 0 }
img { max-width: 100%; height: auto; background: #fff; border-radius: .4rem }
figcaption { color: var(--quiet); font-size: .9rem }
"""


def render(document: Document) -> str:
    title = escape(document.title)
    body = "\n".join(map(_part, document.parts))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{_inline(document.title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _part(part: Part) -> str:
    match part:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Code(text):
            return f"<pre><code>{escape(text)}</code></pre>"
        case Notes(lines):
            return _element("ul", (f"<li>{_inline(line)}</li>" for line in lines))
        case Facts(pairs):
            return _element(
                "dl", (f"<dt>{_inline(label)}</dt><dd>{_inline(value)}</dd>" for label, value in pairs)
            )
        case Figure(_, png, caption):
            data = b64encode(png).decode()
            return (
                f'<figure><img src="data:image/png;base64,{data}" alt="{escape(caption)}">'
                f"<figcaption>{_inline(caption)}</figcaption></figure>"
            )
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
    body = "\n".join(_row("td", cells, table) for cells in rows)
    grid = f"<table>\n{caption}<thead>\n{head}\n</thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="wide">{grid}</div>'


def _row(kind: str, cells: Iterable[str], table: Table) -> str:
    opened = (
        f'<{kind} class="left">{text}' if column in table.left else f"<{kind}>{text}"
        for column, text in enumerate(cells)
    )
    return f"<tr>{''.join(f'{cell}</{kind}>' for cell in opened)}</tr>"


def _element(name: str, children: Iterable[str]) -> str:
    inner = "\n".join(children)
    return f"<{name}>\n{inner}\n</{name}>"


def _inline(text: str) -> str:
    return "".join(f"<code>{escape(p)}</code>" if code else escape(p) for p, code in pieces(text))
