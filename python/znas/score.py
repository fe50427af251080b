"""`znas.score`: any architectures in, their scores and where they stand out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from znas import jobs
from znas.cluster.account import job
from znas.costs.counts import COUNTS
from znas.costs.limits import Counted
from znas.files import work_file
from znas.hooks import QUIET, Hooks, Report
from znas.meaning import remarks
from znas.method import Method
from znas.notebook import shown
from znas.packages import outside
from znas.request import CLUSTER, Request, request_of
from znas.scoring import asked
from znas.scoring.batches import Batch, Batches, identity
from znas.scoring.standing import Floats, intervals, percentiles, ranks
from znas.scoring.table import ScoreRow, ScoreTable, check_output
from znas.setup import Setup
from znas_engine import __version__
from znas_engine.arguments import function, truth
from znas_engine.backends import get_backend
from znas_engine.backends.passes import count_passes
from znas_engine.errors import InvalidValueError
from znas_engine.gpu import with_card
from znas_engine.paths import named
from znas_engine.progress import Progress
from znas_engine.spaces import Genotype

#: Random architectures of percentiles, unless told otherwise.
REFERENCES = 200
#: Architectures whose networks show that counts of many are sums.
CHECKED = 16
#: The fields of a request that decide a score; others are not read.
READ = (
    *("space", "data", "data_dir", "channels_in", "backend", "device", "threads", "preset", "score"),
    *("aggregate", "envs", "images", "norm", "dtype", "init", "seed", "resolution"),
    *("supernet_channels", "supernet_cells", "supernet_resolution"),
    *("network_channels", "network_cells"),
    *CLUSTER,
)


class Scoring:
    """Which architectures are scored by what, and what came of it.

        scoring = Scoring(request, random=100)
        with scoring.pieces(out) as pieces:
            table = scoring.table(pieces)

    architectures, file, random, everything, references: as of `score`. genotypes: what they name, by
    notation. references: likewise. Raises as `score`.
    """

    def __init__(
        self,
        request: Request,
        *,
        architectures: Any = (),
        file: str | Path | None = None,
        random: int = 0,
        everything: bool = False,
        references: int = REFERENCES,
        report: Report = QUIET.report,
    ) -> None:
        request = Request(p=0, **{name: getattr(request, name) for name in READ})
        self._within = QUIET.progress
        self.setup = Setup(request, Hooks(lambda done, total: self._within(done, total), report))
        space = self.setup.space
        self.method = Method.of(request.settled(), space, self.setup.scores)
        random, wanted = asked.number_of("random", random), asked.number_of("references", references)
        found = asked.written(space, architectures)
        found += [] if file is None else asked.of_file(space, file, report)
        found += asked.drawn(space, random, self.method.rng("random"), report) if random else []
        found += asked.every(space) if truth("everything", everything) else []
        self.genotypes = asked.distinct(found, report)
        if not self.genotypes:
            raise InvalidValueError(
                "there is nothing to score: name architectures, or pass --file FILE, --random N or --all"
            )
        others = asked.drawn(space, wanted, self.method.rng("references"), report) if wanted else []
        self.references = asked.distinct(others)
        #: All that is measured, each once.
        self.measured: dict[str, Genotype] = self.genotypes | self.references

    def pieces(self, out: Path | None) -> AbstractContextManager[jobs.Kept]:
        """Where finished pieces lie until `out` is written: beside it, or nowhere where that is None."""
        setup = self.setup
        about = identity(
            setup,
            setup.scores,
            job="score",
            seed=setup.seed,
            envs=setup.envs,
            init=setup.init,
            architectures=hashlib.sha256("\n".join(self.measured).encode()).hexdigest(),
        )
        return jobs.opened(None if out is None else work_file(out), about)

    def table(self, pieces: jobs.Kept, progress: Progress = QUIET.progress) -> ScoreTable:
        """Measures what is not among the pieces, and compares."""
        batches = list(self._batches(pieces, progress))
        pieces.whole()
        values = np.concatenate([batch.values for batch in batches], axis=1)
        return self._compared(values, sum(batch.seconds for batch in batches))

    def _batches(self, pieces: jobs.Kept, progress: Progress) -> Iterator[Batch]:
        batches = Batches(self.setup, list(self.measured.values()), pieces, "scores")
        total, done, said = batches.total, 0, 0
        each = self.setup.envs * count_passes(self.setup.scores, self.setup.norm)

        def tell(count: int) -> None:
            nonlocal said
            said = max(said, count)  # batches are not always whole in their order
            progress(said, total)

        def within(passes: int, of: int) -> None:
            """Of the batches that are being measured: `Setup` counts its passes on."""
            tell(min(done + (passes - self.setup.evaluations) // each, total - 1))

        self._within = within
        for batch in batches:
            done += batch.values.shape[1]
            tell(done)
            yield batch

    def _compared(self, measured: Floats, seconds: float) -> ScoreTable:
        """measured: float64 [K * S, n] of all that was."""
        setup, method = self.setup, self.method
        place = {arch: column for column, arch in enumerate(self.measured)}
        values = measured[:, : len(self.genotypes)]
        among = measured[:, [place[arch] for arch in self.references]] if self.references else values
        aggregate = method.combine(values, among)
        shares: Floats | None = None
        ends: tuple[Floats, Floats] | None = None
        if self.references:
            shares = percentiles(values, among, method.combine)
            ends = intervals(values, among, method.combine, len(setup.scores), method.rng("intervals"))
        admitted = [setup.space.admits(setup.space.mask(each)) for each in self.genotypes.values()]
        genotypes = list(self.genotypes.values())
        counts = {
            name: counted(Counted(setup.space, setup.trained, COUNTS[name].of), genotypes)
            for name in ("params", "flops")
        }
        standing = ranks(aggregate)
        by_score = values.reshape(setup.envs, len(setup.scores), -1)
        rows = [
            ScoreRow(
                arch=arch,
                values={s.name: tuple(by_score[:, k, i].tolist()) for k, s in enumerate(setup.scores)},
                aggregate=float(aggregate[i]),
                rank=int(standing[i]),
                percentile=None if shares is None else float(shares[i]),
                low=None if ends is None else float(ends[0][i]),
                high=None if ends is None else float(ends[1][i]),
                admitted=bool(admitted[i]),
                **{name: int(values[i]) for name, values in counts.items()},
            )
            for i, arch in enumerate(self.genotypes)
        ]
        return ScoreTable(
            request=setup.request,
            space=setup.space,
            # Where all was measured before, what is said of it is the same.
            conditions=replace(setup.conditions(), device=", ".join(map(with_card, setup.devices))),
            rows=tuple(rows),
            aggregate=method.aggregate,
            references=tuple(self.references),
            supernet=setup.macro,
            macro=setup.trained,
            seconds=seconds,
            notes=tuple(self._notes(admitted)),
            versions={"znas-engine": __version__, "numpy": np.__version__}
            | {package: version(package) for package in get_backend(setup.record).packages}
            | outside(setup.request.settled()),
        )

    def _notes(self, admitted: Sequence[bool]) -> Iterator[str]:
        setup = self.setup
        if self.references:
            yield (
                f"percentiles are among {len(self.references):,} random architectures, admitted and of "
                f"different functions (seed {setup.seed})"
            )
        if self.references and setup.envs == 1:
            yield "one environment gives percentiles no interval: pass --envs 8"
        if not all(admitted):
            yield (
                f"{len(admitted) - sum(admitted):,} are not admitted (disconnected, or against a rule of the "
                "space): they are scored all the same, and no search finds them"
            )
        yield from remarks(setup.request.settled(), setup.scores, setup.dataset)


def counted(cost: Counted, genotypes: Sequence[Genotype]) -> Floats:
    """Of every architecture, [n]. Of many it is a sum over (edge, operation) where that is what some of their
    networks have; otherwise every network is built."""
    if len(genotypes) > 2 * len(cost.space.neurons()):  # a sum needs a network of each
        some = np.random.default_rng(0).choice(len(genotypes), min(CHECKED, len(genotypes)), replace=False)
        found = cost.of_masks(np.stack([cost.space.mask(genotype) for genotype in genotypes]))
        if all(found[i] == cost.of(genotypes[i]) for i in some):
            return found
    return np.array([cost.of(genotype) for genotype in genotypes])


def score(
    architectures: Any = (),
    request: Request | None = None,
    *,
    file: str | Path | None = None,
    random: int = 0,
    everything: bool = False,
    references: int = REFERENCES,
    out: str | Path | None = None,
    progress: Progress = QUIET.progress,
    report: Report = QUIET.report,
    **options: Any,
) -> ScoreTable:
    """Score architectures as themselves, as the final round of a search does, without training anything.

        table = znas.score(["|nor_conv_3x3~0|+|...|"], random=50, score="naswot", envs=8)
        table.rows[0].percentile, table.to_csv(), table.to_frame()

    architectures: a list of them, in any notation of the space or as genotypes. file: more of them, of a
        table with or without accuracies or with one per line. random: so many random ones, admitted and of
        different functions. everything: all of a small space. Each is measured once.
    request: a whole `znas.Request`, of which READ is read; or those fields as keyword arguments.
    references: random architectures of the space among which percentiles, and ranks of an aggregate, are
        taken: what is said of an architecture does not depend on which others were given. 0: none, and
        ranks are taken among those given.
    out: a new file, .csv or .json, that is written too; the same call goes on where a killed one stopped.
    progress: called with (architectures measured, all of them).

    Raises:
        ZnasError: as `znas.search`; architectures that the space does not read; a file that there is.
    """
    given = request_of(request, options, READ)
    function("progress", progress)
    where = None if out is None else named(out, "the output")
    if where is not None:
        check_output(where)
    scoring = Scoring(
        given,
        architectures=architectures,
        file=file,
        random=random,
        everything=everything,
        references=references,
        report=report,
    )
    with job(report), scoring.pieces(where) as pieces, shown("architectures", progress) as told:
        table = scoring.table(pieces, told)
        if where is not None:
            table.save(where)
            pieces.discard()
    return table
