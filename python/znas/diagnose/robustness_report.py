"""What `diagnose --robustness` found, as a table, a page and a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from znas.diagnose.agreement import Agreement
from znas.diagnose.page import number
from znas.output import Document, Figure, Heading, Paragraph, Part, Table
from znas.output.figures import QUIET, SERIES, canvas, label, png, style
from znas.output.heat import NAME, heat_map, size
from znas.output.scales import focus
from znas.request import Request
from znas_engine import __version__

TITLE = "Does the search choose the same architecture again?"
#: How the settings are laid out.
DESIGN = (
    "One factor at a time: every setting differs from the base in one value, and all use the same seeds. A "
    "seed decides weights, images, draws and ties. Interactions between factors are not seen."
)


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Of the selected architectures, percent, from a table. missing: selected ones that it does not have."""

    mean: float | None
    std: float | None
    lowest: float | None
    missing: int


@dataclass(frozen=True, slots=True)
class Varied:
    """All seeds of one setting. factor, value: what differs from the base ("base", "" for itself).

    architectures, choices: per seed. with_base: the mean share of edges that the search of the same seed
    under the base settings chose alike; 1 for the base.
    """

    factor: str
    value: str
    architectures: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]
    agreement: Agreement
    with_base: float
    accuracies: Accuracies | None

    @property
    def label(self) -> str:
        return f"{self.factor} {self.value}".strip()


@dataclass(frozen=True, eq=False)
class Robustness:
    """What `robustness` found. measured: the base as plain JSON. overall: agreement of all searches
    together. random: mean accuracy of the table's architectures, what a uniform draw from it has; column: the
    table's column."""

    base: Request
    measured: dict[str, Any]
    seeds: int
    edges: tuple[str, ...]
    varied: list[Varied]
    overall: Agreement
    column: str | None
    random: float | None

    def to_dict(self) -> dict[str, Any]:
        """The content of robustness.json: plain JSON."""
        return {
            "znas": __version__,
            "base": self.measured,
            "seeds": self.seeds,
            "design": DESIGN,
            "edges": list(self.edges),
            "overall": asdict(self.overall),
            "settings": [asdict(one) for one in self.varied],
            "table": {"column": self.column, "mean_of_all": self.random},
        }

    def document(self) -> Document:
        """The content of report.md, with the picture."""
        return document(self)

    def summary(self) -> Document:
        """What the command prints."""
        return summary(self)


def document(found: Robustness) -> Document:
    """The content of report.md, with the picture."""
    b = found.base.to_dict()
    base = f"{b['space']}, {b['data']}, {b['score']}, init {b['init']}, p {b['p']}, {b['images']} images, "
    base += f"norm {b['norm']}"
    parts: list[Part] = [
        Paragraph(
            f"Base: {base}, game {b['game']}, {b['envs']} environments, seeds from {b['seed']}. "
            f"{_legend(found)}"
        ),
        _settings(found),
        Heading("Most frequent operation per edge, and its share"),
        _modes(found),
    ]
    caption = "Agreement by setting and edge, and its kappa"
    parts.append(Figure("agreement.png", picture(found), caption))
    return Document(TITLE, parts, found.to_dict())


def summary(found: Robustness) -> Document:
    """One line per setting."""
    return Document(TITLE, [_settings(found), Paragraph(_legend(found))], found.to_dict())


def _settings(found: Robustness) -> Table:
    """A row per setting, and one over all searches."""
    headings = [
        *("setting", "pairwise agreement", "chance", "Fleiss' kappa", "uniform kappa"),
        *("least modal share", "like base"),
    ]
    if found.column is not None:
        headings += [f"{found.column}: mean", "std", "lowest", "missing"]
    rows = []
    for one in found.varied:
        cells = [one.label, *_agreement_cells(one.agreement), number(one.with_base)]
        if one.accuracies is not None:
            a = one.accuracies
            spread = ["-" if value is None else f"{value:.2f}" for value in (a.mean, a.std, a.lowest)]
            cells += [*spread, str(a.missing)]
        rows.append(cells)
    blank = ["-"] * (len(headings) - 6)
    return Table(headings, [*rows, ["all searches", *_agreement_cells(found.overall), *blank]])


def _agreement_cells(found: Agreement) -> list[str]:
    figures = (found.pairwise, found.chance, found.kappa, found.uniform_kappa, min(found.modal_share))
    return [number(value) for value in figures]


def _modes(found: Robustness) -> Table:
    rows = [
        [
            one.label,
            *(
                f"{name} {share:.2f}"
                for name, share in zip(one.agreement.modal, one.agreement.modal_share, strict=True)
            ),
        ]
        for one in found.varied
    ]
    return Table(("setting", *found.edges), rows)


def _legend(found: Robustness) -> str:
    """What the columns mean, with the chance levels."""
    text = (
        f"{found.seeds} seeds per setting. {DESIGN} Pairwise agreement: the probability that two searches of "
        "a setting chose the same operation on an edge; chance: the same for searches that draw from the "
        "overall shares of operations, against which Fleiss' kappa is taken; uniform kappa is taken against "
        f"a uniform draw, {found.overall.uniform_chance:.3g}. 1 is full agreement, 0 chance. Like base: the "
        "share of edges chosen as the base chose them at the same seed."
    )
    if found.random is None:
        return text
    return f"{text} The mean of all architectures in the table, a uniform draw, is {found.random:.2f}."


def picture(found: Robustness) -> bytes:
    return png(drawing(found))


@style()
def drawing(found: Robustness) -> Any:
    """Left: share of the most frequent operation, settings by edges. Right: kappa per setting."""
    labels = [one.label for one in found.varied]
    width, height = size(len(labels), len(found.edges))
    drawn, panels = canvas(1, 2, width=width + 5, height=height)
    shares, kappas = panels[0]
    values = np.array([one.agreement.modal_share for one in found.varied])
    heat_map(drawn, shares, values, labels, found.edges, digits=2, limits=(0, 1))
    shares.set_title("share of the most frequent operation")
    known = [one.agreement.uniform_kappa for one in found.varied]
    kappas.axvline(0, color=QUIET, linewidth=0.8)
    kappas.plot(known, range(len(labels)), "o", color=SERIES[0], clip_on=False)
    kappas.set_yticks(range(len(labels)), [label(name, NAME) for name in labels])
    kappas.set(ylim=(len(labels) - 0.5, -0.5), xlim=focus([0, 1], keep=known, most=1))
    kappas.set_xlabel("0: as a uniform draw, 1: all searches alike")
    kappas.set_title("kappa against a uniform draw")
    kappas.grid(axis="y")
    return drawn
