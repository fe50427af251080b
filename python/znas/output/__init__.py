"""What a result says, once, and how that looks as text, Markdown and HTML.

    document = Document("Title", [Paragraph("Said once."), Table(["edge", "worth"], [["0->1", "3.2"]])])
    text.render(document.parts), markdown.render(document), html.render(document), document.json()

In every text, what stands between two `backticks` is code, and a line break is a space.
"""

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
)

__all__ = [
    "Code",
    "Document",
    "Facts",
    "Figure",
    "Heading",
    "Notes",
    "Paragraph",
    "Part",
    "Picture",
    "Pictures",
    "Table",
]
