"""What a notebook shows of a result instead of its repr."""

from __future__ import annotations

from znas.output import html
from znas.output.document import Document


class Shown:
    """Of what has a document, that."""

    __slots__ = ()

    def document(self) -> Document:
        """What the command prints."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return html.fragment(self.document())
