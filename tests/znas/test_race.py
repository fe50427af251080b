from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

import znas
from tests.conftest import SPACES
from tests.znas.test_search import SMALL
from znas.interventions.query import coalition, drop
from znas.selection.race import CHUNKS, REPLICATES, Race, error_bound, looks
from znas.setup import Setup
from znas_engine.errors import InvalidValueError

Measure = Any
#: Spaces with so many neurons that few of them are measured here.
LARGE = ("darts", "mobilenet")


def queries(edges: int, operations: int) -> list[Any]:
    base = np.zeros((edges, operations), np.float32)
    return [coalition(base, e, [o]) for e in range(edges) for o in range(operations)]


def simulated(gap: float, envs: int, counts: int | None, rng: np.random.Generator) -> Measure:
    """Scores of an operation 0 that is better by `gap`: normal with a part that all masks share, or shares
    correct of `counts` images."""

    def measure(masks: Any, chunk: int) -> Any:
        best = gap * masks[:, :, 0].sum(1) + np.zeros((envs, 1))
        if counts is not None:
            return rng.binomial(counts, 0.1 + best) / counts
        return best + 3 * rng.standard_normal((envs, 1)) + rng.standard_normal(best.shape)

    return measure


@pytest.mark.ours
@pytest.mark.parametrize("counts", [None, 16], ids=["normal", "counts"])
@pytest.mark.parametrize("envs", [1, 2])
@pytest.mark.parametrize("confidence", [0.6, 0.9])
def test_wrong_winners_are_rarer_than_the_confidence_allows(
    confidence: float, envs: int, counts: int | None
) -> None:
    """2,000 races in the least favourable case: the best operation is better by nothing. At most
    1 - confidence of them may declare another one, up to binomial chance (an error rate of 1e-5)."""
    rng = np.random.default_rng(0)
    edges, repeats, wrong = 200, 10, 0
    for _ in range(repeats):
        race = Race(simulated(0, envs, counts, rng), confidence)
        means = race(queries(edges, 5)).mean(0).reshape(edges, 5)
        wrong += sum(heat.error is not None and means[e].argmax() != 0 for e, heat in race.heats.items())
    assert wrong <= scipy.stats.binom.ppf(1 - 1e-5, edges * repeats, 1 - confidence)


@pytest.mark.parametrize("envs", [1, 4])
def test_a_clear_winner_is_found_early(envs: int) -> None:
    race = Race(simulated(8, envs, None, np.random.default_rng(1)), 0.9)
    means = race(queries(200, 5)).mean(0).reshape(200, 5)
    assert (means.argmax(1) == 0).all()
    stopped = [heat for heat in race.heats.values() if heat.error is not None]
    assert len(stopped) > 190
    assert all(heat.error <= 0.1 and heat.chunks * envs >= REPLICATES for heat in stopped)
    assert race.saved > 0.2 * (race.saved + race.measured)


@pytest.mark.parametrize("envs", [1, 3])
def test_the_account_is_exact(envs: int) -> None:
    """Every score is either measured, once, or saved; and what is not raced is measured on every chunk."""
    rng = np.random.default_rng(2)
    measure, asked = simulated(2, envs, None, rng), []

    def counting(masks: Any, chunk: int) -> Any:
        asked.append((chunk, len(masks)))
        return measure(masks, chunk)

    base = np.ones((40, 5), np.float32) / 5
    lone, dropped = coalition(base, 0, [3]), drop(base, [1])
    several = [coalition(base, e, [o]) for e in range(1, 40) for o in range(5)]
    race = Race(counting, 0.9)
    found = race([lone, *several, dropped])
    assert found.shape == (envs, 2 + len(several))
    assert np.isfinite(found).all()
    assert race.measured == envs * sum(masks for _, masks in asked)
    assert race.measured + race.saved == envs * CHUNKS * (2 + len(several))
    assert race.measured == envs * (2 * CHUNKS + sum(5 * heat.chunks for heat in race.heats.values()))
    assert [chunk for chunk, _ in asked] == list(range(CHUNKS))
    assert set(race.heats) == set(range(1, 40))
    assert race.saved > 0


def test_the_bound_is_the_paired_t_of_the_closest_opponent() -> None:
    replicates = np.random.default_rng(3).normal([0, 1, 4, 5], 1, (6, 4))
    leader = replicates.mean(0).argmax()
    tails = [
        scipy.stats.ttest_rel(replicates[:, leader], replicates[:, j], alternative="greater").pvalue
        for j in range(4)
        if j != leader
    ]
    assert error_bound(replicates, 1) == pytest.approx(3 * max(tails))
    assert error_bound(replicates, 2) == pytest.approx(6 * max(tails))
    assert error_bound(replicates[:3], 1) == 1
    assert error_bound(np.tile([0.0, 1.0], (6, 1)), 1) == 1
    assert [looks(envs) for envs in (1, 2, 3, 4, 9)] == [4, 6, 6, 7, 7]


@pytest.mark.parametrize("space", SPACES)
def test_a_race_that_nothing_leaves_scores_every_chunk(space: str) -> None:
    """At a confidence that nothing reaches, every score is the mean of what is measured on the chunks."""
    arguments = SMALL[space] | {
        "images": 16,
        "resolution": 16,
        "p": 0.9 if space in LARGE else 0.3,
    }
    raced = znas.search(preset="naswot", **arguments, race=1 - 1e-15)
    assert raced.race is not None
    assert raced.race.saved == 0
    assert raced.evaluations == raced.race.measured == CHUNKS * (raced.observed + raced.ensembles_observed)
    assert all(edge.race is None or edge.race.error is None for edge in raced.edges)

    setup = Setup(raced.request)
    network = setup.space
    measured = [
        (e, network.operations.index(name), report.values)
        for e, edge in enumerate(raced.edges)
        for name, report in edge.operations.items()
        if not report.intervened
    ]
    masks = np.stack([network.do(e, o) for e, o, _ in measured])
    chunks = [setup.measure(masks, slice(2 * c, 2 * c + 2)) for c in range(CHUNKS)]
    np.testing.assert_allclose(np.mean(chunks, axis=0).T, [values for *_, values in measured], rtol=1e-12)


def test_a_raced_accuracy_is_the_accuracy(test_data: Any) -> None:
    """A score that is a mean over images: the same search, bit for bit, where nothing stops."""
    arguments = SMALL["nasbench201"] | {"score": "accuracy", "data": "cifar10", "data_dir": test_data}
    arguments |= {"images": 64, "resolution": 16, "envs": 2}
    raced, whole = (
        znas.search(preset="naswot", **arguments, race=1 - 1e-15),
        znas.search(preset="naswot", **arguments),
    )
    assert raced.arch == whole.arch
    assert [edge.operations for edge in raced.edges] == [edge.operations for edge in whole.edges]


@pytest.mark.parametrize("space", SPACES)
def test_a_race_does_not_depend_on_the_threads(space: str) -> None:
    p, envs = (0.75, 1) if space in LARGE else (0.5, 2)
    arguments = SMALL[space] | {"images": 32, "envs": envs, "resolution": 16, "p": p, "race": 0.5}
    one, two = (znas.search(preset="naswot", **arguments, threads=threads) for threads in (1, 2))
    of_threads = {"seconds": None, "threads": None, "request": None}
    assert one.to_dict() | of_threads == two.to_dict() | of_threads
    assert one.race is not None
    assert one.race.saved > 0
    assert one.to_dict()["race"]["saved"] == one.race.saved


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"race": 1.0}, "`race` must be at least 0.5 and below 1 but got 1"),
        ({"race": math.nan}, "`race` must be at least 0.5 and below 1 but got nan"),
        ({"images": 50}, "8 equal chunks of at least 1 images but got 50: pass --images 56"),
        ({"selection": "sequential"}, "--race needs --selection algorithm1 but got sequential"),
        ({"criterion": "leave-one-out"}, "--race needs --criterion keep but got leave-one-out"),
        ({"game": "shapley"}, "--race needs --game none but got shapley"),
        ({"aggregate": "rank"}, "--race needs --aggregate mean but got rank"),
        ({"score": "naswot+flops"}, "means of one score, but --score names several: .* use --preset naswot"),
        ({"finalists": 3}, "--race needs --finalists 1 but got 3"),
        ({"p": 1}, "--race needs a number below 1 for `p` but got 1"),
        ({"score": "flops"}, "the score 'flops' reads none: drop --race"),
    ],
)
def test_what_cannot_race_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        znas.search(preset="naswot", **({"race": 0.9} | arguments))
