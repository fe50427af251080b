"""`znas.report`: runs in, one page out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from znas.files import check_new, write_file
from znas.hooks import QUIET
from znas.hooks import Report as Remarks
from znas.notebook import shown
from znas.output import Document, html
from znas.output.notebook import Shown
from znas.page import Gathered, document
from znas.report.runs import Given, opened
from znas.report.standing import ENVS, RANDOM, measured
from znas.scoring.asked import number_of
from znas.training.written import read
from znas_engine.arguments import check_between, function
from znas_engine.errors import InvalidValueError, briefly
from znas_engine.paths import named
from znas_engine.progress import Progress
from znas_engine.spaces import SearchSpace

__all__ = ["ENVS", "RANDOM", "Page", "report"]

#: Draws of weights and images, at most.
MOST_ENVS = 1000


@dataclass(frozen=True, slots=True, repr=False)
class Page(Shown):
    """The answer of `znas.report`."""

    gathered: Gathered

    def __repr__(self) -> str:
        runs = self.gathered.runs
        names = ", ".join(run.name for run in runs[:4]) + (", ..." if len(runs) > 4 else "")
        return f"<Page of {len(runs)} runs: {names}>"

    def document(self) -> Document:
        """What the command prints, for any renderer of `znas.output`."""
        return document(self.gathered)

    def to_html(self) -> str:
        """One file that needs nothing beside it; the same but for seconds where the runs are."""
        return html.render(self.document())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON of all that is on it."""
        return self.gathered.to_dict()

    def save(self, path: str | Path) -> Path:
        """Writes a new file; StorageError where there is one or it cannot be written."""
        return write_file(named(path, "the output"), self.to_html().encode())


def report(
    runs: Given | Sequence[Given],
    *,
    trained: str | Path | Sequence[str | Path] = (),
    random: int = RANDOM,
    envs: int = ENVS,
    space: str | SearchSpace[Any] | None = None,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress = QUIET.progress,
    remarks: Remarks = QUIET.report,
) -> Page:
    """One page about one search or several: what was found, how good it is, why, what it cost.

        page = znas.report("runs/first", random=100)
        page.save("first.html")

    runs: a run folder, its result.json or a `SearchResult`, or a list of them, which are shown side by side.
    trained: folders of trainings, whose accuracies are shown.
    random: architectures among which what was found is placed, by the scores of its search on weights and
        images that it did not see; 0 leaves that out. envs: draws of these, 2 or more for an interval.
    space: instead of the one that the results name. data_dir: where the images lie now.
    out: a new file that the page is written to.
    progress: called with (architectures measured, all of them). remarks: with lines worth showing.

    Raises:
        ZnasError: as `znas.load`; a training that there is not; images that are not here any more.
    """
    random = number_of("random", random)
    envs = check_between("envs", envs, 1, MOST_ENVS)
    function("progress", progress)
    where = None if out is None else named(out, "the output")
    if where is not None:
        check_new(where)
    found = opened(_several(runs), space)
    if not found:
        raise InvalidValueError("there is no run to report on: name a folder that `search --out` wrote")
    accuracies = [row for folder in _several(trained) for row in read(named(folder, "`trained`"))]
    if random:
        folder = None if data_dir is None else named(data_dir, "`data_dir`")
        with shown("architectures", progress) as told:
            found = measured(found, random, envs, folder, told, remarks)
    page = Page(Gathered(tuple(found), tuple(accuracies)))
    if where is not None:
        page.save(where)
    return page


def _several(given: Any) -> list[Any]:
    """One or a list of them."""
    if isinstance(given, list | tuple):
        return list(given)
    if isinstance(given, bytes | dict | set):
        raise InvalidValueError(f"`runs` must be run folders or results but got {briefly(given)}")
    return [given]
