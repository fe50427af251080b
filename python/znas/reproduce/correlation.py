"""How scores rank the architectures of a table: Kendall's tau and Spearman's rho with their accuracy."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas import jobs
from znas.hooks import QUIET
from znas.meaning import reads_norm
from znas.output.records import as_csv
from znas.reproduce.published import column_key, published
from znas.reproduce.sheet import Sheet
from znas.reproduce.statistics import Correlation, over_environments, over_functions, rank_correlations
from znas.request import Request
from znas.scoring.batches import Batch, Batches, identity
from znas.selection.aggregate import log_rank
from znas.selection.criteria import Floats
from znas.selection.members import count
from znas.setup import Setup
from znas_engine.backends import get_backend
from znas_engine.errors import InvalidValueError
from znas_engine.progress import Progress
from znas_engine.scores import Score, StaticScore
from znas_engine.spaces import Genotype, SearchSpace, get_space
from znas_engine.tables import Table


@dataclass(frozen=True, eq=False)
class Scored:
    """The architectures of a table (or of a sample of it) with all their scores and accuracies.

    scores: by name, float64 [K, n], a row per environment. accuracies: by name, float64 [n]. measured,
    seconds: by score, how many were measured, each function once, and what that cost.
    """

    genotypes: list[Genotype]
    scores: dict[str, Floats]
    accuracies: dict[str, Floats]
    measured: dict[str, int]
    seconds: dict[str, float]

    def subset(self, rows: Sequence[int]) -> Scored:
        """Some of the architectures; they were measured together with all."""
        return Scored(
            [self.genotypes[i] for i in rows],
            {name: values[:, rows] for name, values in self.scores.items()},
            {name: values[rows] for name, values in self.accuracies.items()},
            self.measured,
            self.seconds,
        )


def score_table(
    table: Table,
    scores: Sequence[Score],
    request: Request,
    *,
    architectures: int | None,
    work: Path,
    progress: Progress = QUIET.progress,
) -> Scored:
    """Every score of every architecture as itself, in `request.envs` environments.

    Where architectures compute the same function, the first is measured for all of them; scores without a
    pass are computed for each.

    architectures: see `sampled`. work, progress: see `score_architectures`.
    """
    genotypes, accuracies = sampled(table, request, architectures)
    return score_architectures(genotypes, accuracies, scores, request, work=work, progress=progress)


def sampled(
    table: Table, request: Request, architectures: int | None
) -> tuple[list[Genotype], dict[str, Floats]]:
    """All architectures of a table, or a sample of so many drawn by `request.seed`, with their accuracies."""
    check_sample(table, architectures)
    size = len(table.genotypes)
    chosen = np.arange(size)
    if architectures is not None:
        chosen = np.sort(np.random.default_rng(request.seed).choice(size, architectures, replace=False))
    accuracies = {name: values[chosen] for name, values in table.accuracies().items()}
    return [table.genotypes[i] for i in chosen], accuracies


def score_architectures(
    genotypes: list[Genotype],
    accuracies: dict[str, Floats],
    scores: Sequence[Score],
    request: Request,
    *,
    work: Path,
    progress: Progress = QUIET.progress,
) -> Scored:
    """The same of any architectures.

    Scores are journaled in `work`, a batch of architectures at a time; scores may be added to the same file
    later. The backend "auto" is chosen per score.
    """
    space = get_space(request.space)
    text = "\n".join(map(str, genotypes)).encode()
    base = Setup(_as_read(request, scores[0]))
    about = identity(
        base,
        job="reproduce correlation",
        seed=request.seed,
        envs=base.envs,
        init=base.init,
        architectures=hashlib.sha256(text).hexdigest(),
    )
    for of_one_score in ("backend", "device", "code", "score"):  # `_measured` says them of each
        del about[of_one_score]
    about["norm"] = request.settled().norm
    found = Scored(genotypes, {}, accuracies, {}, {})
    total = len(genotypes)
    ways: dict[str, NDArray[np.int64]] = {}
    waiting: deque[tuple[str, Batches]] = deque()
    measured: dict[str, list[Batch]] = {}
    with jobs.opened(work, about) as kept:
        for score in scores:
            first = which = np.arange(total)
            if not isinstance(score, StaticScore):
                first, which = functions(space, genotypes)
            setup = Setup(_as_read(request, score))
            waiting.append((score.name, _batches(setup, [genotypes[i] for i in first], kept)))
            ways[score.name], found.measured[score.name] = which, len(first)
        while waiting:  # each with its supernet, which goes with it
            name, batches = waiting.popleft()

            def advance(share: float, number: int = len(measured)) -> None:
                progress(number * total + int(total * share), len(scores) * total)

            measured[name] = _measured(batches, advance)
            del batches
        kept.whole()
    for name, parts in measured.items():
        found.scores[name] = np.concatenate([part.values for part in parts], axis=1)[:, ways[name]]
        found.seconds[name] = sum((part.seconds for part in parts), 0.0)
    return found


def _as_read(request: Request, score: Score) -> Request:
    """The request for one of several scores, of which some may read the normalisation that is asked for."""
    return replace(request, score=score, norm=request.norm if reads_norm(score) else None)


def check_sample(table: Table, architectures: int | None) -> None:
    """InvalidValueError where the table has no sample of so many."""
    size = len(table.genotypes)
    if architectures is not None and not 2 <= architectures <= size:
        raise InvalidValueError(
            f"`architectures` must be between 2 and the {size:,} of {table.path} but got {architectures}"
        )


def _batches(setup: Setup, genotypes: Sequence[Genotype], kept: jobs.Kept) -> Batches:
    """One score of every architecture, [K, m]."""
    (score,) = setup.scores
    evaluator = get_backend(setup.record)
    code = jobs.code(setup.dataset, setup.space, evaluator, score, packages=evaluator.packages)
    how = [setup.backend, *setup.devices, code, jobs.settings(score)]
    digest = hashlib.sha256(json.dumps(how).encode()).hexdigest()[:16]
    return Batches(setup, genotypes, kept, f"{score.name}/{digest}")


def _measured(batches: Batches, advance: Callable[[float], None]) -> list[Batch]:
    """advance: is told the share that is done."""
    found: list[Batch] = []
    done = 0
    for batch in batches:
        found.append(batch)
        done += batch.values.shape[1]
        advance(done / batches.total)
    return found


def unique_rows(space: SearchSpace[Any], genotypes: Sequence[Genotype]) -> list[int]:
    """The first architecture of every function."""
    return [int(i) for i in functions(space, genotypes)[0]]


def functions(
    space: SearchSpace[Any], genotypes: Sequence[Genotype]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(first int64 [m], which int64 [n]): the first architecture of every function, and of which function
    each architecture is."""
    number: dict[Hashable, int] = {}
    which = np.array([number.setdefault(space.function_of(g), len(number)) for g in genotypes])
    return np.unique(which, return_index=True)[1], which


def correlation(scored: Scored, sets: Sequence[str], table: Table, request: Request) -> Sheet:
    """Both protocols, every score or set of scores `a+b`, every accuracy column."""
    space = get_space(request.space)
    unique, which = functions(space, scored.genotypes)
    parts = {"all": (scored, which)}
    if len(unique) < len(scored.genotypes):
        parts["unique"] = scored.subset(unique.tolist()), np.arange(len(unique))
    whole = len(scored.genotypes) == count(space)
    envs = request.settled().envs
    assert envs is not None
    again = which_interval(envs, whole=whole)
    entries = [
        entry_of(part, of, protocol, name, column, request, again)
        for protocol, (part, of) in parts.items()
        for name in sets
        for column in scored.accuracies
    ]
    return Sheet(
        title=f"Rank correlation with accuracy, {len(scored.genotypes):,} architectures of {table.path.name}",
        headings=[
            *("score", "protocol", "column", f"Kendall tau [{again}]", f"Spearman rho [{again}]"),
            "published tau",
            *("seconds", "architectures/s"),
        ],
        cells=[_cells(entry) for entry in entries],
        notes=[
            interval_in_words(again, envs, whole=whole),
            (
                f"all: every architecture; unique: the first of every function, "
                f"{len(unique):,} of {len(scored.genotypes):,} here"
            ),
            "a+b: sum over scores of log(rank / n) in this population",
            (
                f"each architecture is scored as itself, {request.settled().images} images, {envs} "
                f"environment(s), {request.supernet_channels} channels, {request.supernet_cells} cell(s), "
                f"seed {request.seed}; params and flops are of that network"
            ),
            "seconds: of measuring every function once (scores without a pass: every architecture)",
            *_published_over(space.name),
        ],
        records=[_record(entry) for entry in entries],
        data={
            "table": "correlation",
            "space": request.space if isinstance(request.space, str) else space.name,
            "accuracies": table.path.name,
            "rows": entries,
        },
        left=(0, 1, 2),
    )


def which_interval(environments: int, *, whole: bool) -> str:
    """What is drawn again for an interval: of a whole space its environments, where there are several."""
    return "environments" if whole and environments > 1 else "functions"


def interval_in_words(again: str, environments: int, *, whole: bool) -> str:
    """What an interval is of, and what it is not."""
    if again == "environments":
        end = "the table is the whole space, of which nothing was sampled"
        return (
            f"value [95 % percentile bootstrap over {environments} environments: weights and images]; "
            f"{end if whole else 'not of other architectures'}"
        )
    said = "value [95 % percentile bootstrap over functions]: architectures of one function drawn together"
    if not whole:
        return f"{said}; not of other weights and images"
    return (
        f"{said}. The table is the whole space, so this is no sampling error, but how much hangs on single "
        "functions; --envs 8 gives that of weights and images"
    )


def entry_of(
    part: Scored,
    which: NDArray[np.int64],
    protocol: str,
    name: str,
    column: str,
    request: Request,
    again: str,
) -> dict[str, Any]:
    """One score or set of scores `a+b` against one accuracy. protocol: of which architectures, or of which
    part of them. which: of which function each is, int64 [n]. again: what is drawn again for the interval."""
    names = name.split("+")
    combine = combination(names)
    scores, truth = np.stack([part.scores[n] for n in names]), part.accuracies[column]
    values = combine(scores.mean(1))
    if again == "environments":
        others = over_environments(scores, truth, combine, request.seed)
    else:
        others = over_functions((values, truth), which, request.seed)
    kendall, spearman = rank_correlations((values, truth), others)
    spent = sum(part.seconds.get(n, 0.0) for n in names)
    return {
        "score": name,
        "protocol": protocol,
        "column": column,
        "architectures": len(values),
        "interval": again,
        "kendall": asdict(kendall),
        "spearman": asdict(spearman),
        "published_kendall": _published(get_space(request.space).name, name, protocol, column),
        "seconds": spent,
        "per_second": max(part.measured[n] for n in names) / spent if spent else None,
    }


def combination(names: Sequence[str]) -> Callable[[Floats], Floats]:
    """Of several scores float64 [S, n] one number per architecture, [n]; of one score itself."""
    return _alone if len(names) == 1 else log_rank


def _alone(values: Floats) -> Floats:
    """float64 [1, n] -> [n]"""
    (only,) = values
    found: Floats = only
    return found


def _published_over(space: str) -> list[str]:
    """The note on published figures, if there are any of this space."""
    known = published()["correlation"]
    note = f"published tau: over {known['over']}, in that publication's own setting"
    return [note] if known["space"] == space else []


def _published(space: str, name: str, protocol: str, column: str) -> float | None:
    """Of the same space, protocol and column."""
    known = published()["correlation"]
    for entry in known["scores"] if known["space"] == space else []:
        if entry["score"] == name and entry["protocol"].startswith(protocol):
            found: float | None = entry["kendall"].get(column_key(column))
            return found
    return None


def _cells(entry: dict[str, Any]) -> list[str]:
    reported = entry["published_kendall"]
    return [
        entry["score"],
        f"{entry['protocol']}, {entry['architectures']:,}",
        entry["column"],
        in_brackets(Correlation(**entry["kendall"])),
        in_brackets(Correlation(**entry["spearman"])),
        "" if reported is None else f"{reported:.3f}",
        f"{entry['seconds']:.1f}",
        "" if entry["per_second"] is None else f"{entry['per_second']:.1f}",
    ]


def in_brackets(found: Correlation) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _record(entry: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in entry.items() if name not in ("kendall", "spearman")}
    for name in ("kendall", "spearman"):
        flat |= {f"{name}_{part}": value for part, value in entry[name].items()}
    return flat


def scores_csv(scored: Scored) -> str:
    """One line per architecture: its string, scores and accuracies."""
    return _csv(scored, {name: values.mean(0) for name, values in scored.scores.items()} | scored.accuracies)


def environments_csv(scored: Scored) -> str:
    """One line per architecture: its string, the score in each environment, and accuracies."""
    each = {column(name, k): row for name, rows in scored.scores.items() for k, row in enumerate(rows)}
    return _csv(scored, each | scored.accuracies)


def column(score: str, environment: int) -> str:
    """What it is called there."""
    return f"{score}@{environment}"


def _csv(scored: Scored, columns: dict[str, Floats]) -> str:
    return as_csv(
        [
            {"arch": str(genotype)} | {name: float(values[i]) for name, values in columns.items()}
            for i, genotype in enumerate(scored.genotypes)
        ]
    )
