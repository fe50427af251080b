"""Every public function of the engine looks at its arguments before it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SPACES, small
from znas_engine.arguments import check_between, fraction, function, number, positive, truth
from znas_engine.backends import get_backend
from znas_engine.data import Batch, load
from znas_engine.environment import Environment, draw_environments
from znas_engine.errors import InvalidValueError, ZnasError, briefly
from znas_engine.evaluator import Evaluator
from znas_engine.footprint import check_memory, least_bytes
from znas_engine.scores import get_score, get_scores
from znas_engine.spaces import Macro, SearchSpace, get_space, resize

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]


class Hostile:
    """Cannot even be quoted."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@given(st.integers(-(2**70), 2**70))
def test_whole_numbers_are_what_they_are(value: int) -> None:
    forms: list[Any] = [value]
    if -(2**63) <= value < 2**63:
        forms += [np.int64(value), np.array(value)]
    for each in forms:
        found = check_between("n", each, None, None)
        assert type(found) is int
        assert found == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_what_they_are(value: float) -> None:
    for each in (value, np.float64(value), np.array(value), Decimal(value), Fraction(value)):
        found = number("x", each)
        assert type(found) is float
        assert found == value


@given(st.floats(width=16, allow_nan=False, allow_infinity=False))
def test_half_precision_is_exact(value: float) -> None:
    assert number("x", np.float16(value)) == value


@pytest.mark.parametrize(
    "value",
    [1.0, True, np.bool_(True), np.array(True), torch.tensor(True), "1", None, [1], np.array([1]), 1.5,
     np.float64(1), Decimal(1), b"1", Hostile(), np.datetime64(5, "ns"), 1j],
)  # fmt: skip
def test_what_is_no_whole_number_is_one_line(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="`n` must be a whole number but got ") as refused:
        check_between("n", value, 0, 9)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [np.nan, np.inf, -np.inf, True, np.bool_(False), "0.5", None, [0.5], np.array([0.5]), 10**400, 1j,
     Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("0.1"), Fraction(1, 3), 2**53 + 1,
     np.float32("nan"), np.float16("inf"), Hostile(), b"1", np.array(None)],
)  # fmt: skip
def test_what_is_no_number_is_one_line(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="`x` must be a finite number but got ") as refused:
        number("x", value)
    assert "\n" not in str(refused.value)


def test_domains() -> None:
    for check, wrong in (
        (positive, (0, -1.0, -0.0)),
        (fraction, (0, 1, 1.5, -0.5)),
        (lambda name, value: check_between(name, value, 2, 4), (1, 5, 10**5000, -(10**5000))),
        (truth, (1, 0, "True", None, np.array([True]))),
        (function, (1, None, "print")),
    ):
        for value in wrong:
            with pytest.raises(InvalidValueError, match="`x` must be"):
                check("x", value)
    assert positive("x", 5e-324) == 5e-324
    assert truth("x", np.bool_(True)) is True


def test_what_is_quoted_is_bounded() -> None:
    shared: Any = []
    for _ in range(40):
        shared = [shared, shared]
    for value in (shared, "x" * 10**6, 10**5000, Hostile(), {1: shared}, np.zeros((1000, 1000))):
        assert len(briefly(value)) <= 80


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return get_backend("torch")(NB201, small(NB201))


@pytest.fixture(scope="module")
def environment() -> Environment:
    return Environment(0, "gaussian", load("gaussian", resolution=16).batch(4, seed=0))


MASKS = np.stack([NB201.mixture(), NB201.do(0, 1)])


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        torch.from_numpy,
        np.asfortranarray,
        lambda m: np.ma.MaskedArray(m),
        lambda m: np.repeat(m, 2, axis=0)[::2],
        lambda m: m.astype(">f4"),
        lambda m: np.broadcast_to(m, m.shape),
        lambda m: [torch.from_numpy(each) for each in m],
    ],
)
def test_masks_in_other_hands_are_the_same_masks(
    form: Callable[[Any], Any], evaluator: Evaluator, environment: Environment
) -> None:
    wanted = evaluator.evaluate(MASKS, score="naswot", environments=[environment]).values
    given_: Any = form(MASKS)
    if isinstance(given_, np.ndarray):
        given_.flags.writeable = False
    assert np.array_equal(evaluator.evaluate(given_, score="naswot", environments=environment).values, wanted)


@pytest.mark.parametrize(
    "masks",
    ["mixture", b"x", None, 5, Hostile(), {1: 2}, [[1, 2], [3]], MASKS.tolist(), MASKS.astype(np.float16),
     MASKS.astype(complex), MASKS.astype(object), MASKS[0], np.ma.MaskedArray(MASKS, MASKS == 0),
     torch.from_numpy(MASKS.copy()).requires_grad_(), np.array(["a"]), iter(MASKS), [MASKS[0], None]],
)  # fmt: skip
def test_what_are_no_masks_is_one_line(masks: Any, evaluator: Evaluator, environment: Environment) -> None:
    for ask in (
        lambda: evaluator.evaluate(masks, score="naswot", environments=environment),
        lambda: evaluator.observe(masks, environment),
    ):
        with pytest.raises(InvalidValueError, match="`masks` must") as refused:
            ask()
        assert "\n" not in str(refused.value)


def test_no_masks_at_all(evaluator: Evaluator, environment: Environment) -> None:
    assert evaluator.evaluate(MASKS[:0], score="naswot", environments=environment).values.shape == (1, 0)
    assert evaluator.observe(MASKS[:0], environment) == []
    assert evaluator.evaluate(MASKS, score="naswot", environments=[]).values.shape == (0, 2)


def test_environments_in_other_hands(evaluator: Evaluator, environment: Environment) -> None:
    wanted = evaluator.evaluate(MASKS, score=get_score("naswot"), environments=[environment]).values
    for form in (environment, (environment,), (each for each in [environment])):
        assert np.array_equal(evaluator.evaluate(MASKS, score="naswot", environments=form).values, wanted)


def other(**size: Any) -> Environment:
    macro = replace(small(NB201), **size)
    return Environment(0, "gaussian", load("gaussian", resolution=macro.resolution).batch(4, seed=0))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"environments": [None]}, "`environments` must be Environments, .* but number 0 is None"),
        ({"environments": None}, "`environments` must be Environments, .* but got None"),
        ({"environments": "x"}, "`environments` must be"),
        ({"environments": [other(resolution=8)]}, r"`images` must be \[N, 3, 16, 16\] for this supernet"),
        ({"rows": slice(4, 4)}, "`rows` must be a slice of the 4 images"),
        ({"rows": slice(0, 4, 2)}, "without gaps, but got slice"),
        ({"rows": slice(None, None, -1)}, "without gaps, but got slice"),
        ({"rows": slice(2, 9)}, "`rows` must be a slice of the 4 images"),
        ({"rows": slice(-9, None)}, "`rows` must be a slice of the 4 images"),
        ({"rows": 2}, "`rows` must be a slice .* but got 2"),
        ({"rows": slice(0.5, 2)}, "`rows` must be a slice"),
        ({"rows": None}, "`rows` must be a slice"),
        ({"progress": 5}, "`progress` must be a function but got 5"),
        ({"score": "nasswot"}, "unknown score 'nasswot': .* did you mean 'naswot'"),
        ({"score": None}, "the score None is NoneType, no"),
        ({"score": []}, "`score` must name every score once"),
    ],
)
def test_other_arguments_of_evaluate(
    asked: dict[str, Any], message: str, evaluator: Evaluator, environment: Environment
) -> None:
    usual = {"score": "naswot", "environments": [environment]}
    with pytest.raises(InvalidValueError, match=message) as refused:
        evaluator.evaluate(MASKS, **usual | asked)
    assert "\n" not in str(refused.value)


def test_rows_count_from_the_end_too(evaluator: Evaluator, environment: Environment) -> None:
    last, same = (
        evaluator.evaluate(MASKS, score="naswot", environments=environment, rows=rows)
        for rows in (slice(-2, None), slice(2, 4))
    )
    assert np.array_equal(last.values, same.values)
    assert last.images == 2


def test_pictures_and_labels_that_the_supernet_has_no_place_for(evaluator: Evaluator) -> None:
    images = load("gaussian", resolution=16).batch(4, seed=0).images
    bad = images.copy()
    bad[1, 0, 3, 3] = np.nan
    for batch, message in (
        (Batch(images, np.array([0, 1, 2, 10])), r"`labels` must lie in \[0, 10\) but got 10"),
        (Batch(images, np.array([0, -1, 2, 3])), r"`labels` must lie in \[0, 10\) but got -1"),
        (Batch(images[:, :1].copy(), None), r"`images` must be \[N, 3, 16, 16\]"),
        (Batch(images[:0].copy(), None), r"`images` must be \[N, 3, 16, 16\] for this supernet, N 1 or more"),
        (Batch(bad, None), "`images` must be finite but got NaN"),
    ):
        for ask in (
            lambda e: evaluator.evaluate(MASKS, score="naswot", environments=e),
            lambda e: evaluator.observe(MASKS, e),
        ):
            with pytest.raises(InvalidValueError, match=message):
                ask(Environment(0, "gaussian", batch))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda b: Environment(1.0, "gaussian", b), "`seed` must be a whole number but got 1.0"),  # type: ignore[arg-type]
        (lambda b: Environment(True, "gaussian", b), "`seed` must be a whole number but got True"),
        (lambda b: Environment(-1, "gaussian", b), "`seed` must be between 0"),
        (lambda b: Environment(2**64, "gaussian", b), "`seed` must be between 0"),
        (lambda b: Environment(1, "normal", b), "unknown initialisation 'normal'"),
        (lambda b: Environment(1, "gaussian", b.images), "`batch` must be a znas_engine.Batch"),
    ],
)
def test_an_environment_is_of_numbers_and_images(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        make(load("gaussian", resolution=8).batch(1, seed=0))


def test_seeds_of_numpy_are_seeds() -> None:
    batch = load("gaussian", resolution=8).batch(1, seed=0)
    assert Environment(np.int64(3), "gaussian", batch).seed == 3  # type: ignore[arg-type]
    data = load("gaussian", resolution=8)
    ways = [{"count": 1, "seed": 3}, {"count": np.int64(1), "seed": np.uint8(3)}]
    one, same = (draw_environments(data, images=1, init="gaussian", **way)[0] for way in ways)
    assert one.seed == same.seed
    for wrong in ({"count": 1.0}, {"seed": 1.0}, {"seed": True}, {"count": 0}, {"images": "8"}, {"init": []}):
        asked: Any = {"count": 1, "images": 1, "init": "gaussian", "seed": 0} | wrong
        with pytest.raises(InvalidValueError):
            draw_environments(data, **asked)
    with pytest.raises(InvalidValueError, match=r"`dataset` must be a znas_engine\.Dataset"):
        draw_environments("gaussian", count=1, images=1, init="gaussian", seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "`threads` must be at least 1 but got 0"),
        ({"threads": 1.5}, "`threads` must be a whole number"),
        ({"norm": []}, "unknown norm"),
        ({"dtype": 5}, "`dtype` must be float32"),
        ({"devices": "gpu"}, "`device` must be cpu, cuda:N"),
        ({"report": 5}, "`report` must be a function"),
        ({"macro": None}, r"`macro` must be a znas_engine\.Macro but got None"),
        ({"space": None}, "the search space None is NoneType"),
        ({"space": "nasbench"}, "unknown search space 'nasbench'"),
    ],
)
def test_an_evaluator_is_made_of_what_it_needs(options: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"space": NB201, "macro": small(NB201)}
    with pytest.raises(InvalidValueError, match=message):
        get_backend("torch")(**usual | options)


def test_an_evaluator_takes_names() -> None:
    found = get_backend("torch")("nasbench201", small(NB201), devices="cpu", threads=np.int64(2))  # type: ignore[arg-type]
    assert (found.space.name, found.devices, found.threads) == ("nasbench201", ("cpu",), 2)


METHODS: list[tuple[str, Callable[[SearchSpace[Any]], Any]]] = [
    ("do: an edge beyond", lambda s: s.do(99, 0)),
    ("do: an edge from the end", lambda s: s.do(-1, 0)),
    ("do: no edge", lambda s: s.do(None, 0)),  # type: ignore[arg-type]
    ("do: True", lambda s: s.do(True, 0)),
    ("do: an operation beyond", lambda s: s.do(0, 99)),
    ("do: a name", lambda s: s.do(0, "skip_connect")),  # type: ignore[arg-type]
    ("drop: half an edge", lambda s: s.drop(0.5)),  # type: ignore[arg-type]
    ("coalition: one twice", lambda s: s.coalition(0, [1, 1])),
    ("coalition: a text", lambda s: s.coalition(0, "12")),
    ("coalition: None", lambda s: s.coalition(0, None)),  # type: ignore[arg-type]
    ("options: beyond", lambda s: s.options(99)),
    ("random_path: a seed", lambda s: s.random_path(0)),  # type: ignore[arg-type]
    ("describe: another shape", lambda s: s.describe(np.ones((2, 2), np.float32))),
    ("describe: None", lambda s: s.describe(None)),  # type: ignore[arg-type]
    ("mask: a text", lambda s: s.mask("x")),
    ("mask: None", lambda s: s.mask(None)),
    ("mask: of another space", lambda s: s.mask(_other(s))),
    ("network: a text", lambda s: s.network("x", small(s))),
    ("network: no size", lambda s: s.network(s.genotype(_path(s)), None)),  # type: ignore[arg-type]
    ("network: a named size", lambda s: s.network(s.genotype(_path(s)), macro=5)),  # type: ignore[arg-type]
    ("supernet: None", lambda s: s.supernet(None)),  # type: ignore[arg-type]
    ("genotype: None", lambda s: s.genotype(None)),  # type: ignore[arg-type]
    ("genotype: a text", lambda s: s.genotype("x")),  # type: ignore[arg-type]
    ("genotype: ragged", lambda s: s.genotype([[1], [2, 3]])),  # type: ignore[arg-type]
    ("admits: another shape", lambda s: s.admits(np.ones((2, 2), np.float32))),
    ("function_of: a mask", lambda s: s.function_of(_path(s))),
    ("representative: a mask", lambda s: s.representative(_path(s))),
    ("search_macro: half a pixel", lambda s: s.search_macro(resolution=32.0, classes=10)),  # type: ignore[arg-type]
    ("search_macro: no pixel", lambda s: s.search_macro(resolution=0, classes=10)),
    ("search_macro: True", lambda s: s.search_macro(resolution=32, classes=True)),
    ("proxy_macro: beyond", lambda s: s.proxy_macro(resolution=2**63, classes=10)),
    ("evaluation_macro: a text", lambda s: s.evaluation_macro(resolution=32, classes="10")),  # type: ignore[arg-type]
    ("macro_for: a name", lambda s: s.macro_for("gaussian", channels=None, cells=None)),  # type: ignore[arg-type]
    ("macro_for: 1.5 cells", lambda s: s.macro_for(load("gaussian"), channels=None, cells=1.5)),  # type: ignore[arg-type]
    ("evaluation_macro_for: None", lambda s: s.evaluation_macro_for(None)),  # type: ignore[arg-type]
    ("to_torch: a text", lambda s: s.to_torch("x", small(s))),
    ("parse: None", lambda s: s.parse(None)),
    ("parse: a number", lambda s: s.parse(5)),
    ("resize", lambda s: resize(small(s), channels=True, cells=None)),
    ("resize: beyond", lambda s: resize(small(s), channels=None, cells=65)),
    ("get_space", lambda s: get_space(5)),  # type: ignore[arg-type]
    ("get_scores", lambda s: get_scores(5)),  # type: ignore[arg-type]
    ("Macro", lambda s: replace(small(s), cells=0)),
    ("Macro: half", lambda s: replace(small(s), channels=2.5)),  # type: ignore[arg-type]
]


def _path(space: SearchSpace[Any]) -> np.ndarray:
    return space.random_path(np.random.default_rng(0))


def _other(space: SearchSpace[Any]) -> Any:
    other = DARTS if space is NB201 else NB201
    return other.genotype(_path(other))


@pytest.mark.parametrize("name", ["nasbench201", "darts", "ragged"])
@pytest.mark.parametrize("call", [call for _, call in METHODS], ids=[what for what, _ in METHODS])
def test_methods_of_a_space(name: str, call: Callable[[SearchSpace[Any]], Any]) -> None:
    from tests.ragged import Ragged

    space: SearchSpace[Any] = Ragged() if name == "ragged" else SPACES[name]
    with pytest.raises(ZnasError) as refused:  # what `parse` of somebody else's raises is a PluginError
        call(space)
    assert "\n" not in str(refused.value)


def test_what_does_not_fit_into_memory_is_said_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = NB201.supernet(replace(small(NB201), resolution=32))
    monkeypatch.setattr("znas_engine.footprint.memory_bytes", lambda: least_bytes(graph, 16))
    check_memory(graph, 16)
    with pytest.raises(InvalidValueError, match=r"17 images of 32 x 32 pixels .* smaller --resolution"):
        check_memory(graph, 17)
    monkeypatch.setattr("znas_engine.footprint.memory_bytes", lambda: None)
    check_memory(graph, 10**9)


def test_a_macro_takes_numbers_of_numpy() -> None:
    found = Macro(channels=np.int64(4), cells=np.array(1), resolution=8, classes=10)  # type: ignore[arg-type]
    assert [type(each) for each in (found.channels, found.cells)] == [int, int]


@pytest.mark.parametrize("devices", [5, b"cpu", [b"cpu"], [None], {"cpu"}, 0.5])
def test_devices_are_names(devices: Any) -> None:
    with pytest.raises(InvalidValueError, match="`devices` must be names"):
        get_backend("native")(NB201, small(NB201), devices=devices)


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError(), AttributeError("y")])
def test_a_number_that_cannot_say_what_it_is(error: Exception) -> None:
    class Broken:
        def __index__(self) -> int:
            raise error

    with pytest.raises(InvalidValueError, match="whole number"):
        check_between("n", Broken(), 0, 9)
