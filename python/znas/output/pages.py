"""A document as the files of a folder."""

from __future__ import annotations

from znas.output import html, markdown
from znas.output.document import Document


def pages(document: Document, name: str) -> dict[str, bytes]:
    """report.md, report.html, NAME.json and the pictures."""
    return {
        f"{name}.json": document.json().encode(),
        "report.md": markdown.render(document).encode(),
        "report.html": html.render(document).encode(),
    } | document.figures()
