"""How the community trains and measures what a search of a table found."""

from __future__ import annotations

from dataclasses import dataclass

from znas.reproduce.published import published
from znas_engine.spaces import Macro, get_space


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How the community trains what a search found.

    name: of the table in `published.json`. recipe: see `znas.training.recipe`. usual_rows: what the paper's
    own rows need, and their baselines; the other rows cost minutes per seed.
    """

    name: str
    title: str
    space: str
    epochs: int
    recipe: str
    resolution: int
    classes: int
    usual_rows: tuple[str, ...]

    @staticmethod
    def of(name: str) -> Evaluation:
        """What `published.json` says of that table."""
        table = published()["tables"][name]
        facts = {key: table[key] for key in ("title", "space", "epochs", "recipe", "resolution", "classes")}
        return Evaluation(name, **facts, usual_rows=tuple(table["usual_rows"]))

    @property
    def macro(self) -> Macro:
        """The size at which parameters and multiply-accumulates are counted."""
        return get_space(self.space).evaluation_macro(resolution=self.resolution, classes=self.classes)


def counted(name: str) -> Macro:
    """The size of the network that a table's accuracies or errors are of."""
    table = published()["tables"][name]
    return get_space(table["space"]).evaluation_macro(
        resolution=table["resolution"], classes=table["classes"]
    )
