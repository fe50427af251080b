"""What one seed measures of a table's architectures and of a supernet's masks: all that a search may ask."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from znas import jobs, priors
from znas.hooks import QUIET, Hooks
from znas.interventions.query import Query
from znas.interventions.scorer import Answer
from znas.method import Method
from znas.reproduce.correlation import functions, score_table
from znas.reproduce.folder import SCORES, SUPERNET
from znas.scoring.batches import identity
from znas.selection.active import Rows
from znas.selection.aggregate import Aggregate
from znas.selection.criteria import Floats
from znas.setup import Setup
from znas.shape import Many, Number
from znas_engine.backends.passes import count_passes
from znas_engine.environment import derive_seed
from znas_engine.errors import InvalidValueError
from znas_engine.journal import Journal
from znas_engine.scores import StaticScore
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.tables import Table

#: Environments of the supernet, at most: they are drawn when they are asked for.
ENVIRONMENTS = 1_000


@dataclass(slots=True)
class Supernet:
    """Measures masks of the supernet in any environment, each once: what `journal` holds is not repeated."""

    setup: Setup
    journal: Journal
    _known: dict[tuple[int, bytes], Floats] = field(default_factory=dict)

    def ask(self, environments: int, queries: Sequence[Query]) -> list[Answer]:
        """V of every query, float64 [K * S]: for each environment a value per score."""
        masks = [query.mask for query in queries]
        values = np.concatenate([self.values(masks, k) for k in range(environments)])
        return [Answer(column, intervened=False) for column in values.T]

    def values(self, masks: Sequence[Mask], environment: int) -> Floats:
        """float64 [S, n]"""
        keys = [(environment, mask.tobytes()) for mask in masks]
        new = {key: mask for key, mask in zip(keys, masks, strict=True) if key not in self._known}
        if new:
            together = np.stack(list(new.values()))
            key = f"{environment}/{hashlib.sha256(together.tobytes()).hexdigest()[:16]}"
            scores = len(self.setup.scores)
            shape = Many(Many(Number(), len(new), len(new)), scores, scores)
            found = jobs.piece(self.journal, key, shape, partial(self._measured, together, environment))
            self._known |= dict(zip(new, np.array(found).T, strict=True))
        return np.stack([self._known[key] for key in keys], axis=1)

    def _measured(self, masks: Mask, environment: int) -> list[list[float]]:
        found: list[list[float]] = self.setup.measure(
            masks, environments=slice(environment, environment + 1)
        ).tolist()
        return found


@dataclass(frozen=True, eq=False)
class Known:
    """One seed's values of a table, and its supernet.

    everyone: masks of all architectures of admitted functions, float32 [N, E, O]; which: of which function
    each is, int64 [N]. pool: the first of every function, [n, E, O]; archs, accuracy: its string, and its
    accuracy, float64 [n]. free: values of scores without a pass in the first environment, float64 [S, n].
    paid: of the others, float64 [K, S, n]. passes: of a mask in an environment.
    """

    method: Method
    space: SearchSpace[Any]
    everyone: Mask
    which: Rows
    pool: Mask
    archs: list[str]
    accuracy: Floats
    free: Floats
    paid: Floats
    passes: int
    supernet: Supernet

    @property
    def combine(self) -> Aggregate:
        return self.method.combine

    def rng(self, purpose: str) -> np.random.Generator:
        """The stream of one purpose, the same for every strategy."""
        return np.random.default_rng(derive_seed(self.method.seed, "ablation", purpose))

    @cached_property
    def shuffled(self) -> list[int]:
        """The pool in the order in which random ones are drawn from it."""
        return [int(i) for i in self.rng("references").permutation(len(self.pool))]

    @cached_property
    def ahead(self) -> Floats:
        """What scores without a pass say of the pool, float64 [n]; 0 where there are none."""
        return self.combine(self.free) if len(self.free) else np.zeros(len(self.pool))

    def total(self, rows: Sequence[int] | Rows, among: Sequence[int] | Rows, environment: int) -> Floats:
        """What is compared of the pool's `rows`, float64 [m]: as `znas.contest` does, scores with a pass are
        ranked among the rows `among` and those without among the pool."""
        values = self.paid[environment]
        found: Floats = self.ahead[rows] + self.combine(values[:, rows], values[:, among])
        return found

    def in_order(self, worth: Floats) -> Iterator[int]:
        """Rows of the pool by the worth of their architectures, float64 [N], ties at random; of a function
        its best."""
        mixed = self.rng("order").permutation(len(worth))
        return unique(self.which[mixed[np.argsort(-worth[mixed], kind="stable")]].tolist())

    @cached_property
    def prior(self) -> priors.Prior | None:
        """The one that the space ships."""
        return None if self.space.prior is None else priors.load(self.space.prior, self.space)


def unique(rows: Iterable[int]) -> Iterator[int]:
    """Each once, where it comes first."""
    return iter(dict.fromkeys(rows))


def check_scores(setup: Setup) -> None:
    """InvalidValueError where all scores are known without a pass: there is nothing to spend."""
    if not count_passes(setup.scores, setup.norm):
        names = "+".join(score.name for score in setup.scores)
        raise InvalidValueError(
            f"--score {names} needs no pass, and what passes add is compared: add a score that does, such "
            "as naswot"
        )


def known(
    setup: Setup,
    table: Table,
    column: str,
    *,
    architectures: int | None,
    folder: Path,
    journal: Journal,
    hooks: Hooks = QUIET,
) -> Known:
    """The values of one seed, that of `setup`: what `folder` holds is not measured again.

    The work file of the architectures' scores is that of `reproduce correlation` with this seed, scores and
    settings. journal: of `supernet_journal`.
    """
    space, scores = setup.space, setup.scores
    scored = score_table(
        table,
        scores,
        setup.request,
        architectures=architectures,
        work=folder / SCORES,
        progress=hooks.inner,
    )
    first, which = functions(space, scored.genotypes)
    masks = np.stack([space.mask(genotype) for genotype in scored.genotypes])
    admitted = np.flatnonzero([space.admits(masks[i]) for i in first])
    number = np.full(len(first), -1)
    number[admitted] = np.arange(len(admitted))
    rows, there = first[admitted], number[which] >= 0
    archs = [str(scored.genotypes[i]) for i in rows]
    trained = dict(zip(map(str, table.genotypes), table.columns[column].tolist(), strict=True))
    free = [scored.scores[s.name][0, rows] for s in scores if isinstance(s, StaticScore)]
    paid = [scored.scores[s.name][:, rows] for s in scores if not isinstance(s, StaticScore)]
    return Known(
        method=Method.of(setup.request.settled(), space, scores),
        space=space,
        everyone=masks[there],
        which=number[which][there],
        pool=masks[rows],
        archs=archs,
        accuracy=np.array([trained[arch] for arch in archs]),
        free=np.stack(free) if free else np.empty((0, len(rows))),
        paid=np.stack(paid, axis=1),
        passes=count_passes(scores, setup.norm),
        supernet=Supernet(Setup(replace(setup.request, envs=ENVIRONMENTS)), journal),
    )


def supernet_journal(setup: Setup, folder: Path) -> Journal:
    """Of the supernet's masks of one seed."""
    about = identity(setup, setup.scores, job="reproduce ablation", seed=setup.seed, init=setup.init)
    return Journal(folder / SUPERNET, about)
