"""Mean and variance over environments of the scores under do(e, o) and drop(e)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas import jobs
from znas.cluster.spread import Asked, beneath, each_of
from znas.priors.base import Prior
from znas.selection.topology import contested_edges
from znas.shape import Many, Number
from znas_engine.backends.passes import count_passes
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.evaluator import ALL, Evaluator
from znas_engine.progress import Progress, unheard
from znas_engine.scores import Score

#: What is done with a prior while its work file is still there.
Store = Callable[[Prior], None]


def fit_environments(
    evaluator: Evaluator,
    environments: Sequence[Environment],
    *,
    score: Score,
    identity: Mapping[str, Any],
    provenance: dict[str, Any],
    work: Path,
    store: Store | None = None,
    progress: Progress = unheard,
) -> Prior:
    """The moments of the raw score of every neuron, and of every edge that competes for a place.

    identity: where the environments come from; with the evaluator and the score it names the job. Every
    finished environment is written to `work`, so that a killed run goes on where it stopped, to the same
    result. store: is given the prior; `work` is removed once it returns, and stays without one. Raises
    InvalidValueError for fewer than 2 environments, a neuron without variance, or a `work` file of another
    job.
    """
    total = check_environments(len(environments))
    space = evaluator.space
    neurons = space.neurons()
    edges = contested_edges(space)
    masks = np.stack([space.do(e, o) for e, o in neurons] + [space.drop(e) for e in edges])
    job = {
        "job": "prior fit",
        "space": space.name,
        "macro": asdict(evaluator.macro),
        "network": jobs.network(evaluator.graph),
        "norm": evaluator.norm,
        "backend": evaluator.name,
        "device": ",".join(evaluator.devices),
        "score": [score.name, *jobs.settings(score)],
        "code": jobs.code(space, score, beneath(evaluator), packages=evaluator.packages),
        **identity,
    }
    shape = Many(Number(), len(masks), len(masks))
    passes = len(masks) * count_passes([score], evaluator.norm)
    with jobs.opened(work, job) as kept:
        shapes = dict.fromkeys(kept.mine(map(str, range(total))), shape)

        def measured(keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
            before, of = (len(shapes) - len(keys)) * passes, len(shapes) * passes
            asked = (Asked(masks, score, [environments[int(key)]], ALL) for key in keys)
            for number, found in each_of(evaluator, asked, lambda done, _: progress(before + done, of)):
                yield keys[number], found.values[0].tolist()

        rows = list(jobs.each_piece(kept, shapes, measured))
        kept.whole()
        prior = _prior(evaluator, score, neurons, edges, np.array(rows), provenance)
        if store is not None:
            store(prior)
            kept.discard()
    return prior


def check_environments(count: int) -> int:
    """`count`, or InvalidValueError where no variance can be estimated."""
    if count < 2:
        raise InvalidValueError(f"`envs` must be at least 2 to estimate a variance but got {count}")
    return count


def _prior(
    evaluator: Evaluator,
    score: Score,
    neurons: list[tuple[int, int]],
    edges: list[int],
    values: NDArray[np.float64],
    provenance: dict[str, Any],
) -> Prior:
    space = evaluator.space
    average, variances = values.mean(0), values.var(0, ddof=1)
    if not (variances > 0).all():
        e, o = (neurons + [(e, -1) for e in edges])[int(variances.argmin())]
        what = (
            f"do({space.edges[e].label}, {space.operations[o]})"
            if o >= 0
            else f"drop({space.edges[e].label})"
        )
        raise InvalidValueError(
            f"the score {score.name!r} under {what} is {average[int(variances.argmin())]:.6g} in every "
            "environment: no variance to learn; use more --envs or --images"
        )
    mean = np.full(space.shape, np.nan)
    variance = np.full(space.shape, np.nan)
    at = tuple(zip(*neurons, strict=True))
    mean[at], variance[at] = average[: len(neurons)], variances[: len(neurons)]
    drop_mean = drop_variance = None
    if edges:
        drop_mean, drop_variance = (np.full(len(space.edges), np.nan) for _ in range(2))
        drop_mean[edges], drop_variance[edges] = average[len(neurons) :], variances[len(neurons) :]
    return Prior(
        space=space,
        score=score.name,
        mean=mean,
        variance=variance,
        drop_mean=drop_mean,
        drop_variance=drop_variance,
        provenance=provenance,
    )
