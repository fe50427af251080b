"""A job is the content, code and settings that its results depend on, and nothing else."""

from __future__ import annotations

import importlib
import os
import sys
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import SPACES
from znas import jobs, priors
from znas.priors.one_shot import begun_with
from znas.priors.random import fit_random
from znas.reproduce.rows import choose
from znas.reproduce.trials import run_trials
from znas.request import Request
from znas.setup import Setup
from znas.shape import Each, Either, Many, Number, misshapen
from znas_engine.data import Batch, Dataset, load
from znas_engine.errors import InvalidValueError, StorageError
from znas_engine.journal import Journal
from znas_engine.scores import Score, get_score

pytestmark = pytest.mark.ours

TINY: dict[str, Any] = {
    "supernet_channels": 2,
    "supernet_cells": 1,
    "resolution": 8,
    "images": 8,
    "preset": "naswot",
}
SPACE = SPACES["nasbench201"]


class Pictures(Dataset):
    """Somebody's images: the same wherever they lie."""

    name, classes, resolution, labelled, size = "theirs", 10, 8, False, 64

    def __init__(self, place: str, content: str = "one", shift: int = 0) -> None:
        self.origin, self.identity, self.shift = f"pictures in {place}", content, shift

    def _draw(self, images: int, seed: int) -> Batch:
        return load("gaussian", resolution=8).batch(images, seed=seed + self.shift)


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    path = tmp_path / "prior.json"
    assert SPACE.prior is not None
    path.write_bytes(SPACE.prior.read_bytes())
    return path


def searched(work: Path, prior: str = "shipped", **changes: Any) -> Any:
    rows = choose(SPACE, ["random", "prior-argmax"], prior)
    return run_trials(rows, Setup(Request(**(TINY | changes))), seeds=1, prior=prior, work=work)


def test_threads_and_spelling_are_no_part_of_a_job(prior: Path, tmp_path: Path) -> None:
    """Nor is the place of what is read: every one of these goes on."""
    work = tmp_path / "work"
    first = searched(work, str(prior), threads=1)
    copy = tmp_path / "copy.json"
    copy.write_bytes(prior.read_bytes())
    (tmp_path / "link.json").symlink_to(prior)
    os.utime(prior, (1, 1))
    for name, threads in (
        (str(prior), 2),
        (os.path.relpath(prior), 1),
        (str(copy), 3),
        (str(tmp_path / "link.json"), None),
        (f"{prior.parent}/../{prior.parent.name}/{prior.name}", 1),
    ):
        assert searched(work, name, threads=threads) == first


def test_a_prior_of_the_same_size_and_time_is_another_job(prior: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    searched(work, str(prior))
    about, text = prior.stat(), prior.read_text()
    digit = next(i for i in range(text.index('"mean"'), len(text)) if text[i].isdigit())
    prior.write_text(f"{text[:digit]}{(int(text[digit]) + 1) % 9 + 1}{text[digit + 1 :]}")
    os.utime(prior, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert prior.stat().st_size == about.st_size
    with pytest.raises(InvalidValueError, match=r"belongs to another job.*its prior is"):
        searched(work, str(prior))


def fitted(work: Path, data: Dataset, *, threads: int = 1, **changes: Any) -> priors.Prior:
    setup = Setup(Request(**(TINY | {"data": data, "threads": threads, "resolution": None})))
    arguments: dict[str, Any] = {"environments": 2, "images": 8, "init": "gaussian", "seed": 0}
    return fit_random(
        setup.evaluator,
        data,
        score=get_score("naswot"),
        provenance={},
        work=work,
        **(arguments | changes),
    )


def test_images_are_told_apart_by_content(tmp_path: Path) -> None:
    work = tmp_path / "work"
    first = fitted(work, Pictures("a"))
    size = work.stat().st_size
    assert fitted(work, Pictures("/another/place"), threads=2).to_dict() == first.to_dict()
    assert work.stat().st_size == size  # nothing was measured again
    for other in (Pictures("a", "two"), Pictures("a", shift=1)):
        with pytest.raises(InvalidValueError, match=r"belongs to another job.*its data is"):
            fitted(work, other)
    with pytest.raises(InvalidValueError, match=r"belongs to another job.*its seed is 0, not 1"):
        fitted(work, Pictures("a"), seed=1)


def test_a_stored_prior_takes_its_work_file_along(tmp_path: Path) -> None:
    work = tmp_path / "work"
    kept: list[priors.Prior] = []

    def full(found: priors.Prior) -> None:
        raise StorageError("full")

    with pytest.raises(StorageError, match="full"):
        fitted(work, Pictures("a"), store=full)
    assert work.exists()
    fitted(work, Pictures("a"), store=kept.append)
    assert len(kept) == 1
    assert not work.exists()


def test_the_code_of_others_is_part_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A score whose file was edited, or that was made with another number, is another score."""
    file = tmp_path / "their_score.py"
    text = "from znas_engine.scores.naswot import Naswot\nclass Theirs(Naswot):\n    name = 'theirs'\n"
    text += "    def __init__(self, k=1):\n        self.k = k\n"
    file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    theirs: type[Score] = importlib.import_module("their_score").Theirs
    before = jobs.code(theirs())
    assert before == jobs.code(theirs(), get_score("naswot"))
    assert before.keys() == {"znas-engine", "their_score"}
    assert jobs.settings(theirs(k=2)) == ["k=2"] != jobs.settings(theirs())  # type: ignore[call-arg]
    assert jobs.settings(get_score("naswot")) == []
    file.write_text(f"{text}\n# edited")
    assert jobs.code(theirs()) != before
    assert "numpy" in jobs.code(packages=["numpy"])
    del sys.modules["their_score"]


#: What is imported where, from `mine.score`: a word of each is changed.
MODULES = {
    "mine/__init__.py": "",
    "mine/score.py": "from znas_engine.scores.naswot import Naswot\nfrom mine.base import Base\n"
    "from . import beside\nfrom .deep.down import far\n"
    "class Theirs(Base, Naswot):\n    name = 'theirs'\n    def late(self):\n        import mine.lazy\n",
    "mine/base.py": "import numpy as np\nimport alone\nclass Base:\n    factor = 1\n",
    "mine/beside.py": "factor = 1\n",
    "mine/deep/__init__.py": "",
    "mine/deep/down.py": "from ..other import *\nfar = 1\n",
    "mine/other.py": "factor = 1\n",
    "mine/lazy.py": "import not_installed_anywhere, scipy\nfactor = 1\n",
    "alone.py": "factor = 1\n",
}


def test_code_is_all_that_it_imports_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (MODULES | {"mine/unrelated.py": "x = 1\n"}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    theirs = importlib.import_module("mine.score").Theirs
    before = jobs.code(theirs())
    assert {"mine", "mine.lazy", "mine.other", "mine.deep.down", "alone"} <= before.keys()
    assert not {"mine.unrelated", "numpy", "scipy", "znas_engine.scores.naswot"} & before.keys()
    for name, text in MODULES.items():
        (tmp_path / name).write_text(f"{text}# edited\n")
        assert jobs.code(theirs()) != before, name
        (tmp_path / name).write_text(text)
    (tmp_path / "mine" / "unrelated.py").write_text("x = 2\n")
    assert jobs.code(theirs()) == before
    for module in [name for name in sys.modules if name.partition(".")[0] in ("mine", "alone")]:
        del sys.modules[module]


@pytest.mark.parametrize("name", ["Theirs", "made"])
def test_code_of_a_notebook_is_its_bytecode(name: str) -> None:
    text = "F = {f}\ndef helper(x):\n    return x {sign} F\nclass Theirs(Naswot):\n    limit = {limit}\n"
    text += "    def __call__(self, seen):\n        return helper(self.limit)\n"
    text += "def made(x):\n    return helper(x * {limit})\n"

    def made(f: int = 1, sign: str = "+", limit: int = 3, more: str = "") -> dict[str, str]:
        scope: dict[str, Any] = {"Naswot": type(get_score("naswot")), "__name__": "notebook"}
        module = type(sys)("notebook")
        module.__dict__.update(scope)
        sys.modules["notebook"] = module
        exec(more + text.format(f=f, sign=sign, limit=limit), module.__dict__)
        try:
            return jobs.code(getattr(module, name))
        finally:
            del sys.modules["notebook"]

    assert made() == made(more="\n\n# another line\nunrelated = 1\n")
    others = [made(f=2), made(sign="-"), made(limit=4), made()]
    assert len({str(each) for each in others}) == 4


def times(factor: int) -> Any:
    return lambda x, offset=1: factor * x + offset


class Scaled:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, x: int) -> int:
        return self.factor * x


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (times(2), times(3)),
        (partial(times, 2), partial(times, 3)),
        (partial(times(2), offset=1), partial(times(2), offset=2)),
        (Scaled(2), Scaled(3)),
        (Scaled(2).__call__, Scaled(3).__call__),
        (lambda x, k=2: k, lambda x, k=3: k),
    ],
)
def test_functions_are_told_apart_by_what_they_were_made_with(one: Any, other: Any) -> None:
    assert jobs.settings(one) != jobs.settings(other)
    assert jobs.settings(one) == jobs.settings(one)
    assert jobs.code(one).keys() > {"znas-engine"}  # this file's, which is nobody's package


class Kind(Enum):
    A = 1
    B = 2


class Inner:
    def __init__(self, k: Any) -> None:
        self.k = k


class Made:
    def __init__(self, x: Any = None, weights: Any = None) -> None:
        self.x = x
        self._weights = weights
        self.computed = np.zeros(3)


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x


@pytest.mark.parametrize(
    "values",
    [
        (1, 2),
        (np.int64(1), np.int64(2)),
        (np.array([1.0, 2]), np.array([1.0, 3]), np.array([1, 2]), np.array([[1.0, 2]])),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1}),
        ({"a", "b"}, {"a", "c"}, frozenset({"a"})),
        (b"a", b"b"),
        (Kind.A, Kind.B),
        (Inner(1), Inner(2), Inner(np.ones(2)), Inner(Inner(1))),
        ([np.ones(2), 1], [np.ones(2), 2]),
        (lambda x: x + 1, lambda x: x + 2, np.square),
        (None, 0, False, "", 0.0),
        (Kind, Inner),
    ],
)
def test_what_an_object_was_made_with_is_part_of_a_job(values: tuple[Any, ...]) -> None:
    for make in (Made, lambda x: Made(weights=x), Slotted):
        told = [jobs.settings(make(value)) for value in values]
        assert len({str(each) for each in told}) == len(values), told
        assert told == [jobs.settings(make(value)) for value in values]
    assert jobs.settings(Made(np.int64(3))) == jobs.settings(Made(3))
    assert not any("computed" in each for each in jobs.settings(Made()))


def test_a_piece_of_another_shape_is_one_line(tmp_path: Path) -> None:
    with Journal(tmp_path / "work", {"job": "x"}) as journal:
        journal.record("k", {"values": [1, "two"]})
        for shape in ({"values": Many(Number())}, Many(Number()), {"absent": str}, {"values": Many(str)}):
            with pytest.raises(
                StorageError, match=r"work, piece 'k': `value.*another version wrote it"
            ) as error:
                jobs.piece(journal, "k", shape, lambda: None)
            assert "\n" not in str(error.value)
        assert jobs.piece(journal, "k", {"values": Many(Either(str, Number()))}, lambda: None)
        assert jobs.piece(journal, "new", Number(), lambda: 3) == 3


def test_a_checkpoint_that_is_none_is_left_alone(tmp_path: Path) -> None:
    assert begun_with(tmp_path / "absent") is None
    (tmp_path / "notes").write_text("kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    for name in ("notes", "folder", "link", "pipe"):
        with pytest.raises(StorageError, match=r"is no checkpoint of .* and is left as it is"):
            begun_with(tmp_path / name)
    assert (tmp_path / "notes").read_text() == "kept"


@pytest.mark.parametrize(
    ("value", "shape", "wrong"),
    [
        (3, str, "`` must be text but is 3"),
        ("\x1b[31m", str, "must be text"),
        ("two\nlines", str, None),
        (True, Number(), "must be a number but is True"),
        (1e300, Number(), "must be a number"),
        (2.5, Number(0, 3, whole=True), "must be a whole number from 0 to 3"),
        ({"a": [1, None]}, {"a": Many(Either(Number()))}, None),
        ({"a": [1, None]}, {"a": Many(Number())}, r"`a\[1\]` must be a number but is None"),
        ({}, {"a": str, "b?": str}, "`a` is missing"),
        ({"a": "", "b": 1}, {"a": str, "b?": str}, "`b` must be text"),
        ({"x": {"y": 1}}, Each(Each(str)), r"`x.y` must be text"),
        ([1], Many(Number(), 2, 2), "must have 2 entries but has 1"),
        (None, Either(str, bool), "must be text"),
    ],
)
def test_shapes(value: Any, shape: Any, wrong: str | None) -> None:
    found = misshapen(value, shape)
    if wrong is None:
        assert found is None
    else:
        assert found is not None
        with pytest.raises(ValueError, match=wrong):
            raise ValueError(found)
