"""A diagnosis: measured, held against the paper, and written as a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.diagnose import lemmas
from znas.diagnose.closed_forms import relu_excess_kurtosis
from znas.diagnose.distributions import Activations, Collector, ScoreSamples
from znas.diagnose.lemmas import Claim, ClosedForm, Intervened
from znas.diagnose.normality import RULE
from znas.files import check_new, work_file, write_folder
from znas.hooks import QUIET, Hooks
from znas.output import Document
from znas.output.pages import pages
from znas.request import Request
from znas_engine import __version__
from znas_engine.errors import StorageError
from znas_engine.journal import Journal
from znas_engine.tables import Table

LEMMAS = (lemmas.lemma_1, lemmas.lemma_2, lemmas.corollary_2_1, lemmas.corollary_2_2)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Everything `diagnose` measured. `stem_channels`: width behind the first convolution."""

    identity: dict[str, Any]
    activations: list[Activations]
    scores: list[ScoreSamples]
    claims: list[Claim]
    closed_forms: list[ClosedForm]
    intervened: list[Intervened]
    trained: NDArray[np.float64] | None
    stem_channels: int

    def to_dict(self) -> dict[str, Any]:
        """The content of diagnose.json: plain JSON."""
        return {
            "znas": __version__,
            "measured": self.identity,
            "rule": RULE,
            "claims": [claim.to_dict() for claim in self.claims],
            "first_layer": [asdict(row) for row in self.closed_forms],
            "second_layer_excess_kurtosis": relu_excess_kurtosis(self.stem_channels),
            "equation_8": [one.to_dict() for one in self.intervened],
        }

    def document(self) -> Document:
        """The content of report.md, with pictures."""
        from znas.diagnose.page import document

        return document(self)

    def summary(self) -> Document:
        """What the command prints."""
        from znas.diagnose.page import summary

        return summary(self)


def diagnose(
    request: Request,
    *,
    inits: Sequence[str],
    ps: Sequence[float],
    depths: int,
    table: Table | None,
    column: str | None,
    out: Path,
    hooks: Hooks = QUIET,
) -> Diagnosis:
    """Tests the paper's Gaussian statements on random supernets and writes the new folder `out`.

    request: as for a search; `envs` is the number of weight draws, `images` those of each. inits: families
    of weights. ps: of equation 8. depths: cells whose neurons are watched. table: accuracies of trained
    architectures, for equation 2.

    Finished pieces lie in `out`.work until the folder is written: a killed run goes on where it stopped.
    Raises ZnasError; see `znas.search`.
    """
    check_new(out)
    if table is not None:
        table.column(column)
    collector = Collector(request, inits=inits, depths=depths, hooks=hooks)
    with Journal(work_file(out), collector.identity) as journal:
        found = _judged(collector, journal, request, ps, table, column)
        try:
            write_folder(out, pages(found.document(), "diagnose"))
        except StorageError:
            hooks.unwritten(found)
            raise
        journal.discard()
    return found


def _judged(
    collector: Collector,
    journal: Journal,
    request: Request,
    ps: Sequence[float],
    table: Table | None,
    column: str | None,
) -> Diagnosis:
    activations, scores = collector.collect(journal)
    claims = [claim for lemma in LEMMAS for found in activations for claim in lemma(found)]
    claims += [claim for found in scores for claim in lemmas.equation_2(found)]
    if table is not None:
        claims.append(lemmas.equation_2_trained(table, column))
    first = activations[0].sites[0].node
    stem = next(node for node in collector.reference.graph.nodes if node.name == first)
    return Diagnosis(
        identity=collector.facts | {"inits": list(collector.inits), "ps": list(ps)},
        activations=activations,
        scores=scores,
        claims=claims,
        closed_forms=[row for a in activations for row in lemmas.first_layer_in_closed_form(a)],
        intervened=[lemmas.equation_8(s, collector.space, p, request.seed) for s in scores for p in ps],
        trained=None if table is None else table.column(column)[1],
        stem_channels=stem.shape[0],
    )
