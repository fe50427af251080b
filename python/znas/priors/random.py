"""A prior from random supernets: many draws of weights and images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from znas import jobs
from znas.priors.base import Prior
from znas.priors.environments import Store, check_environments, fit_environments
from znas_engine.data import Dataset
from znas_engine.environment import draw_environments
from znas_engine.evaluator import Evaluator
from znas_engine.progress import Progress, unheard
from znas_engine.scores import Score


def fit_random(
    evaluator: Evaluator,
    dataset: Dataset,
    *,
    score: Score,
    environments: int,
    images: int,
    init: str,
    seed: int,
    provenance: dict[str, Any],
    work: Path,
    store: Store | None = None,
    progress: Progress = unheard,
) -> Prior:
    """`fit_environments` over `environments` untrained supernets; resumable through `work`."""
    check_environments(environments)
    return fit_environments(
        evaluator,
        draw_environments(dataset, count=environments, images=images, init=init, seed=seed),
        score=score,
        identity={
            "source": "random",
            "data": jobs.images(dataset),
            "data_code": jobs.code(dataset),
            "images": images,
            "init": init,
            "seed": seed,
        },
        provenance=provenance,
        work=work,
        store=store,
        progress=progress,
    )
