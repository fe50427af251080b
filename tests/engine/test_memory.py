"""Any number of masks and environments takes bounded memory, and the same scores come of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import SPACES, small
from znas_engine.backends import get_backend
from znas_engine.backends.pool import PREPARED, ROOM, WAITING, Kept, in_turn
from znas_engine.backends.workers import Workers
from znas_engine.data import Batch, Dataset, load
from znas_engine.environment import STAYING, Environment, draw_environments
from znas_engine.errors import InvalidValueError
from znas_engine.scores import get_scores

pytestmark = pytest.mark.ours

NB201 = SPACES["nasbench201"]

#: Prints the peak of a process that scores `masks` masks in `envs` environments of `images` images, in kB.
PEAK = """
import resource, sys
import numpy as np
from znas_engine.backends import get_backend
from znas_engine.data import load
from znas_engine.environment import draw_environments
from znas_engine.spaces import Macro, get_space
masks, envs, images, score = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
space = get_space("nasbench201")
evaluator = get_backend("native")(space, Macro(channels=2, cells=1, resolution=32, classes=10))
drawn = draw_environments(load("gaussian"), count=envs, images=images, init="gaussian", seed=0)
many = np.broadcast_to(space.mixture(), (masks, *space.shape))
found = evaluator.evaluate(many, score=score, environments=drawn)
assert found.values.shape == (envs, masks) and np.isfinite(found.values).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(masks: int, envs: int, images: int, score: str) -> int:
    """Bytes."""
    arguments = [sys.executable, "-c", PEAK, *map(str, (masks, envs, images, score))]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return 1024 * int(ran.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss has another unit elsewhere")
def test_a_million_masks_take_no_more_than_their_scores() -> None:
    few, many = peak(1_000, 1, 1, "params"), peak(201_000, 1, 1, "params")
    assert (many - few) / 200_000 < 100  # bytes a mask; all submitted at once took 2,100


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss has another unit elsewhere")
def test_environments_beyond_those_that_stay_take_nothing() -> None:
    images = 256  # 3 MB an environment: 450 MB where all of them are held
    held = peak(1, STAYING // (images * 3 * 32 * 32 * 4), images, "params")
    assert peak(1, 150, images, "params") - held < 100 * 2**20


def test_batches_are_taken_as_threads_come_to_need_them() -> None:
    taken, given = 0, 0
    lock = threading.Lock()
    ahead: list[int] = []

    def batches() -> Iterator[np.ndarray]:
        nonlocal taken
        for k in range(1_000):
            with lock:
                taken += 1
                ahead.append(taken - given)
            yield np.full(1, k)

    with Workers(2, places=1) as workers:
        found = []
        for each in in_turn(workers, 2, lambda batch: int(batch[0]), batches()):
            with lock:
                given += 1
            found.append(each)
    assert found == list(range(1_000))
    assert max(ahead) <= 2 * WAITING + 1


class Counted(Dataset):
    """Notes what is drawn."""

    name, classes, resolution, labelled, size, origin = "counted", 10, 8, False, 10**6, "a test"

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def _draw(self, images: int, seed: int) -> Batch:
        self.drawn.append(seed)
        pixels = np.random.default_rng(seed).standard_normal((images, 3, 8, 8)).astype(np.float32)
        return Batch(pixels, None)


def test_environments_are_drawn_when_they_are_asked_for() -> None:
    data = Counted()
    environments = draw_environments(data, count=10_000, images=2, init="gaussian", seed=1)
    assert len(environments) == 10_000
    assert len(data.drawn) == 1  # to see that there are such images
    tenth = environments[9]
    assert len(data.drawn) == 2
    assert environments[9] is tenth  # it stays
    assert environments[-1].seed == environments[9_999].seed
    part = environments[5:10]
    assert [each.seed for each in part] == [environments[k].seed for k in range(5, 10)]
    assert part[-1] is environments[5:10][-1] is tenth  # what was prepared of it is found again
    with pytest.raises(IndexError):
        environments[10_000]


def test_those_that_do_not_stay_are_the_same_when_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("znas_engine.environment.STAYING", 4 * 2 * 3 * 8 * 8 * 4)
    data = Counted()
    environments = draw_environments(data, count=9, images=2, init="gaussian", seed=1)
    first, second = list(environments), list(environments)
    assert len(data.drawn) == 4 + 2 * 5
    for a, b in zip(first, second, strict=True):
        assert a.seed == b.seed
        assert np.array_equal(a.batch.images, b.batch.images)
    scores = [
        get_backend("torch")(NB201, replace(small(NB201), resolution=8)).evaluate(
            NB201.mixture()[None], score="naswot", environments=asked
        )
        for asked in (environments, first)
    ]
    assert np.array_equal(scores[0].values, scores[1].values)


def test_images_that_are_not_there_are_refused_before_work() -> None:
    with pytest.raises(InvalidValueError, match="`images` must be between 1 and 65,536"):
        draw_environments(load("gaussian"), count=3, images=70_000, init="gaussian", seed=0)


def environment(seed: int, images: int = 1) -> Environment:
    return Environment(seed, "gaussian", Batch(np.zeros((images, 3, 32, 32), np.float32), None))


def test_what_is_prepared_goes_with_its_environment_the_newest_never() -> None:
    kept, made = Kept(devices=1, each=1), []

    def get(of: Environment, key: str) -> None:
        kept.get(of, key, lambda: made.append((of.seed, key)))

    environments = [environment(k) for k in range(PREPARED)]
    for each in environments:
        get(each, "pass")
    for each in environments:
        get(each, "pass")
    assert len(made) == PREPARED
    get(environments[-1], "static")  # one too many: the oldest environment goes
    assert environments[0] not in kept.made
    assert len(kept) == PREPARED
    large = Kept(devices=1, each=ROOM)
    for of, key in ((environments[0], "a"), (environments[0], "b"), (environments[1], "a")):
        large.get(of, key, lambda: 0)
        assert list(large.made)[-1] is of
    assert list(large.made) == [environments[1]]


def test_images_count_once_however_much_is_prepared_of_them() -> None:
    large = environment(0, images=ROOM // (3 * 32 * 32 * 4))
    kept = Kept(devices=1, each=1)
    for key in "abc":
        kept.get(large, key, lambda: 0)
    kept.get(environment(1), "a", lambda: 0)
    assert len(kept.made) == 1


def test_measuring_again_prepares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = get_backend("torch")(NB201, small(NB201))
    prepared: list[int] = []
    prepare = evaluator.prepare

    def noted(environment: Environment, **options: object) -> object:
        prepared.append(environment.seed)
        return prepare(environment, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluator, "prepare", noted)
    environments = draw_environments(
        load("gaussian", resolution=16), count=8, images=2, init="gaussian", seed=0
    )
    for _ in range(3):
        evaluator.evaluate(
            NB201.mixture()[None], score=get_scores("naswot+params"), environments=environments
        )
    assert len(prepared) == len(set(prepared)) == 8


def test_two_scores_of_one_name_are_two_scores() -> None:
    from znas_engine.scores.cost import Params

    class Twice(Params):
        def cost(self, node: object) -> int:
            return 2 * super().cost(node)  # type: ignore[arg-type]

    evaluator = get_backend("torch")(NB201, small(NB201))
    data = load("gaussian", resolution=16).batch(1, seed=0)
    one = Environment(0, "gaussian", data)
    values = [
        float(evaluator.evaluate(NB201.mixture()[None], score=score, environments=one).values[0, 0])
        for score in (Params(), Twice(), Params())
    ]
    assert values[1] == 2 * values[0]
    assert values[2] == values[0]
