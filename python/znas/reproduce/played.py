"""The default search on a table, looked up instead of measured: what every set of scores finds in one half.

It is the procedure of `znas.contest`, with its own functions (`znas.selection.shortlist`):

    pool      = the functions of the half
    shortlist = the `finalists` that the set's scores without a pass rank first in the pool
    others    = as many random ones, drawn as architectures of the table are
    total     = log-ranks of scores without a pass in the pool + of the others among the random ones
    found     = the best after halving from environment to environment

A total is a sum over scores, and all sets with the same scores without a pass compare the same architectures:
log-ranks are taken once for all of them. What a search compares beside, the largest architecture, is left
out: it is in one half only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from znas.reproduce.statistics import kendall
from znas.selection.aggregate import log_rank
from znas.selection.criteria import Floats
from znas.selection.shortlist import Rows, from_best, halving
from znas_engine.environment import derive_seed
from znas_engine.progress import Progress, unheard

#: Names of scores.
Set = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Half:
    """Functions of a table. scores: by name, float64 [K, n], a row per environment. accuracy: float64 [n].
    copies: how many architectures of the table compute each, int64 [n]."""

    scores: dict[str, Floats]
    accuracy: Floats
    copies: NDArray[np.int64]

    @property
    def environments(self) -> int:
        return min(map(len, self.scores.values()))

    @property
    def shares(self) -> Floats:
        """Which share of the half is better than each, float64 [n]."""
        return 1 - np.searchsorted(np.sort(self.accuracy), self.accuracy, "right") / len(self.accuracy)

    def digest(self) -> str:
        """The same for the same content."""
        found = hashlib.sha256(repr(list(self.scores)).encode())
        for array in (*self.scores.values(), self.accuracy, self.copies):
            found.update(array.tobytes())
        return found.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Players:
    """What sets with the same scores without a pass compare, m architectures.

    rows: of the half, int64 [m]. ahead: their totals by scores without a pass, float64 [m]. log_ranks: by
    score with a pass, float64 [K, m]. random: bool [m].
    """

    rows: Rows
    ahead: Floats
    log_ranks: dict[str, Floats]
    random: NDArray[np.bool_]

    def winner(self, paid: Collection[str], finalists: int, seed: int) -> int:
        """The row that these scores find."""
        environments = len(next(iter(self.log_ranks.values()), self.ahead[None]))
        totals = np.broadcast_to(self.ahead, (environments, len(self.ahead)))
        totals = totals + sum(self.log_ranks[name] for name in paid)
        rows, _ = halving(
            totals[0],
            self.random,
            finalists,
            environments,
            lambda rows, k: totals[k, rows],
            _rng(seed, "finalists"),
        )
        return int(self.rows[rows[0]])


def play(
    half: Half,
    sets: Sequence[Set],
    free: Collection[str],
    *,
    finalists: int,
    envs: int,
    seed: int,
    progress: Progress = unheard,
) -> list[int]:
    """The row of the half that every set finds, [sets].

    free: which scores need no pass. envs: so many of the half's environments, from the one on that `seed`
    says, in which those scores are read. finalists: fewer than the half has functions. progress: told of
    sets.
    """
    first = seed % half.environments
    environments = [(first + k) % half.environments for k in range(envs)]
    in_pool = {name: log_rank(half.scores[name][first][None]) for name in half.scores if name in free}
    paid = {name: rows[environments] for name, rows in half.scores.items() if name not in free}
    known: dict[Set, Players] = {}
    found = []
    for names in sets:
        unpaid = tuple(name for name in names if name in free)
        if unpaid not in known:
            ahead: Floats = np.sum([in_pool[name] for name in unpaid], axis=0)
            known[unpaid] = players(half, ahead, paid, finalists, seed)
        found.append(known[unpaid].winner([name for name in names if name in paid], finalists, seed))
        progress(len(found), len(sets))
    return found


def players(half: Half, ahead: Floats, paid: Mapping[str, Floats], finalists: int, seed: int) -> Players:
    """ahead: the pool's totals by scores without a pass, float64 [n]. paid: of the others the values, float64
    [K, n]."""
    shortlist = from_best(ahead, _rng(seed, "shortlist"))[:finalists]
    # Functions in the order in which uniform draws of architectures meet them.
    met = np.argsort(_rng(seed, "references").exponential(size=len(ahead)) / half.copies)
    others = met[~np.isin(met, shortlist)][:finalists]
    rows = np.concatenate([shortlist, others])
    log_ranks = {
        name: np.stack([log_rank(row[None, rows], row[None, others]) for row in values])
        for name, values in paid.items()
    }
    return Players(rows, ahead[rows], log_ranks, np.arange(len(rows)) >= len(shortlist))


def taus(half: Half, sets: Sequence[Set], progress: Progress = unheard) -> list[float]:
    """Kendall's tau with accuracy of every set's sum of log-ranks in the half, of means over environments.
    progress: told of sets."""
    log_ranks = {name: log_rank(values.mean(0)[None]) for name, values in half.scores.items()}
    found = []
    for names in sets:
        found.append(kendall(np.sum([log_ranks[name] for name in names], axis=0), half.accuracy))
        progress(len(found), len(sets))
    return found


def _rng(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, purpose))
