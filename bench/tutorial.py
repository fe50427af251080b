"""Runs docs/tutorial.ipynb and keeps what its cells put out, in place.

python bench/tutorial.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"
#: The tag of the cell whose numbers a shorter run replaces.
SIZES = "parameters"


def executed(settings: str = "") -> Any:
    """The notebook with the outputs of a new kernel. settings: a cell that is run after that of SIZES."""
    import nbformat
    from nbclient import NotebookClient

    page = nbformat.read(PAGE, as_version=4)
    place = next(i for i, cell in enumerate(page.cells) if SIZES in cell.metadata.get("tags", ()))
    if settings:
        page.cells.insert(place + 1, nbformat.v4.new_code_cell(settings))
    where = {"metadata": {"path": str(PAGE.parent)}}
    NotebookClient(page, timeout=600, kernel_name="python3", resources=where, record_timing=False).execute()
    return page


def main() -> None:
    import nbformat

    page = executed()
    page.metadata.pop("language_info", None)  # of the Python that it was run by
    nbformat.write(page, PAGE)


if __name__ == "__main__":
    main()
