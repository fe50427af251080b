"""Every way in which the community writes an architecture is read, and nothing else is."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SPACES
from znas_engine.errors import InvalidValueError
from znas_engine.spaces.darts import DartsGenotype
from znas_engine.spaces.darts.genotype import OPERATIONS as DARTS_OPERATIONS
from znas_engine.spaces.darts.genotype import TARGETS
from znas_engine.spaces.nasbench201 import NasBench201Genotype
from znas_engine.spaces.nasbench201.genotype import EDGES, OPERATIONS
from znas_engine.tables import read_table

pytestmark = pytest.mark.ours

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]

cells = st.tuples(*[st.sampled_from(OPERATIONS)] * len(EDGES)).map(NasBench201Genotype)
terms = st.tuples(
    *[
        st.tuples(st.sampled_from(DARTS_OPERATIONS), st.integers(0, target - 1))
        for target in TARGETS
        for _ in range(2)
    ]
)
genotypes = st.builds(DartsGenotype, terms, terms)
#: The class of the DARTS repository, cnn/genotypes.py.
Genotype = namedtuple("Genotype", "normal normal_concat reduce reduce_concat")


def by_node(pairs: Any) -> list[list[Any]]:
    return [list(pairs[k : k + 2]) for k in range(0, 8, 2)]


def g_rest(g: DartsGenotype) -> tuple[Any, ...]:
    return range(2, 6), g.reduce, range(2, 6)


def nested(g: DartsGenotype) -> dict[str, Any]:
    return {
        "normal": by_node(g.normal),
        "normal_concat": range(2, 6),
        "reduce": by_node(g.reduce),
        "reduce_concat": range(2, 6),
    }


DARTS_WRITTEN: dict[str, Callable[[DartsGenotype], Any]] = {
    "its string": str,
    "its structure": lambda g: g.structure(),
    "JSON": lambda g: json.dumps(g.structure(), indent=1),
    "assigned": lambda g: f"DARTS_V2 = {g}\n",
    "of a module": lambda g: f"genotypes.{g}",
    "range": lambda g: str(g).replace("[2, 3, 4, 5]", "range(2, 6)"),
    "list of range": lambda g: str(g).replace("[2, 3, 4, 5]", "list(range(2, 6))"),
    "tuples": lambda g: f"Genotype({g.normal}, (2, 3, 4, 5), {g.reduce}, (2, 3, 4, 5))",
    "a named tuple": lambda g: Genotype(g.normal, range(2, 6), g.reduce, [2, 3, 4, 5]),
    "a named tuple's text": lambda g: repr(Genotype(g.normal, range(2, 6), g.reduce, range(2, 6))),
    "tuple of range": lambda g: str(g).replace("[2, 3, 4, 5]", "tuple(range(2, 6))"),
    "unpacked range": lambda g: str(g).replace("[2, 3, 4, 5]", "[*range(2, 6, 1)]"),
    "NumPy's integers": lambda g: Genotype([(name, np.int64(k)) for name, k in g.normal], *g_rest(g)),
    "their text": lambda g: repr(Genotype([(name, np.int64(k)) for name, k in g.normal], *g_rest(g))),
    "byte order mark": lambda g: f"\ufeff{g}",
    "nested": nested,
    "nested text": lambda g: repr(Genotype(**nested(g))),
    "a dictionary's text": lambda g: repr(g.structure()),
}
NB201_WRITTEN: dict[str, Callable[[NasBench201Genotype], Any]] = {
    "its string": str,
    "its structure": lambda g: g.structure(),
    "JSON": lambda g: json.dumps(g.structure()),
    "tuples": lambda g: tuple(tuple(tuple(term) for term in node) for node in g.structure()),
    "tuples' text": lambda g: repr([[tuple(term) for term in node] for node in g.structure()]),
    "sources in another order": lambda g: [list(reversed(node)) for node in g.structure()],
    "names": lambda g: list(g.operations),
    "numbers": lambda g: [OPERATIONS.index(name) for name in g.operations],
    "numbers' text": lambda g: str(tuple(OPERATIONS.index(name) for name in g.operations)),
    "a name": lambda g: f"cell = {g.structure()}",
    "quoted": lambda g: f"'{g}'",
    "its string after a name": lambda g: f'arch = "{g}"',
    "spread over lines": lambda g: str(g).replace("+", " +\n ").replace("|", " | "),
    "as AutoDL prints it": lambda g: f"Structure(4 nodes with {g})",
    "an array": lambda g: np.array([OPERATIONS.index(name) for name in g.operations]),
    "NumPy's integers": lambda g: [np.int64(OPERATIONS.index(name)) for name in g.operations],
}


@pytest.mark.parametrize("way", DARTS_WRITTEN)
@given(genotype=genotypes)
def test_every_way_of_writing_darts(way: str, genotype: DartsGenotype) -> None:
    assert DARTS.parse(DARTS_WRITTEN[way](genotype)) == genotype


@pytest.mark.parametrize("way", NB201_WRITTEN)
@given(genotype=cells)
def test_every_way_of_writing_nasbench201(way: str, genotype: NasBench201Genotype) -> None:
    assert NB201.parse(NB201_WRITTEN[way](genotype)) == genotype


def test_numbers_are_those_of_the_benchmark() -> None:
    """Operations in the order of NAS_BENCH_201 and edges in that of its string, AutoDL-Projects."""
    expected = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
    assert str(NB201.parse([3, 0, 1, 4, 2, 1])) == expected


def answer(space: Any, written: Any) -> Any:
    """The genotype, or the message that refuses it."""
    try:
        return space.parse(written)
    except InvalidValueError as error:
        return str(error)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=8) | st.sampled_from(DARTS_OPERATIONS),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=30,
)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@given(value=values)
def test_garbage_is_one_line(space: Any, value: Any) -> None:
    for written in (value, repr(value), f"Genotype({value!r})", f"x = Genotype(normal={value!r})"):
        found = answer(space, written)
        if isinstance(found, str):
            assert "\n" not in found
            assert len(found) < 500
        else:
            assert space.parse(str(found)) == found


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize(
    "written",
    [
        *("x" * 20_000, "[" * 5000, "-" * 9000 + "1", "1\n2", "[3, 0, 1, 4, 2, True]", "[3, 0, 1, 4, 2, 5]"),
        *([3, 0, 1], b"|none~0|", None, [[["none", True]]], {"normal": 1}, "__import__('os').getcwd()"),
        *(
            "Genotype(*[1], **{})",
            "__import__('os').Genotype(normal=1)",
            "eval('|none~0|')",
            "[*x]",
            "tuple(3)",
        ),
    ],
    ids=lambda written: repr(written)[:20],
)
def test_what_is_refused(space: Any, written: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"^(not a |unknown )"):
        space.parse(written)


PAIRS = [("skip_connect", 0)] * 8
CELLS = f"normal={PAIRS}, normal_concat=range(2, 6), reduce={PAIRS}, reduce_concat=range(2, 6)"
HEADS = (
    "",
    "Genotype(",
    "x = ",
    "Genotype(normal=",
    "[",
    "|none~0|+",
    "Structure(4 nodes with ",
    "{'normal': ",
)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@given(
    text=st.builds("{}{}{}".format, st.sampled_from(HEADS), st.text(), st.sampled_from(("", ")", "|", "]")))
)
def test_any_text_is_a_genotype_or_one_line(space: Any, text: str) -> None:
    found = answer(space, text)
    if isinstance(found, str):
        assert len(found) <= 300
        assert found.isprintable()
    else:
        assert space.parse(str(found)) == found


@pytest.mark.parametrize(
    "piece", ["-", "not ", "[", "(", "{1:", "list(", "a.", "1+", "lambda:", "a=", "'", "\\\n", "|"]
)
@pytest.mark.parametrize("count", [50, 150, 400, 1200, 10**6])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_deep_and_long_texts_are_one_line(space: Any, count: int, piece: str) -> None:
    closing = {"[": "]", "(": ")", "{1:": "}", "list(": ")"}.get(piece, "")
    for text in (piece * count, piece * count + "1" + closing * count, f"[{piece * count}b(1)]"):
        found = answer(space, text)
        assert isinstance(found, str)
        assert len(found) <= 300


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (f"Genotype(normal=[('oh', 0)], {CELLS})", "is not Python syntax|normal is given twice"),
        (f"Genotype({PAIRS}, {CELLS})", "normal is given twice"),
        (f"dict({CELLS})", "is not a call of Genotype"),
        (f"{{'reduce': [], **dict({CELLS})}}", "fields are not literals"),
        (
            repr(nested(DARTS.parse(f"Genotype({CELLS})"))).replace("{", "{'reduce': [], ", 1),
            "reduce is given twice",
        ),
        (json.dumps({"normal": 1})[:-1] + ', "normal": 2}', "normal is given twice"),
        (f"Genotype({CELLS})".replace("normal=", "\uff4eormal=", 1), "is not ASCII"),
        (f"G\u0435notype({CELLS})", "is not ASCII"),
        (f"Genotype({CELLS})".replace("0)", "\uff10)"), "is not ASCII"),
        (f"Genotype({CELLS}, **x)", "its fields are not"),
        (f"Genotype(*x, {CELLS})", "its fields are not|not literals|twice"),
        (
            f"Genotype({CELLS})".replace("8", "4 + 4").replace("range(2, 6)", "range(1 + 1, 6)"),
            "small|literals",
        ),
        (f"Genotype({CELLS})".replace("0)", "9" * 4000 + ")", 1), "is not an .operation, node. pair"),
        (f"Genotype({CELLS})".replace("skip_connect", "s" * 65), "is not an .operation, node. pair"),
        (f"Genotype({CELLS})".replace("skip_connect", "Skip_connect"), "unknown DARTS operation"),
        (f"Genotype({CELLS})".replace("6)", "10**9)"), "small integers|literals"),
        (f"Genotype({CELLS})\0", "is not Python syntax"),
    ],
)
def test_a_genotype_says_why_it_is_none(written: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        DARTS.parse(written)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_what_python_warns_of_is_not_printed(space: Any, capfd: pytest.CaptureFixture[str]) -> None:
    for text in ("'\\d'", "1is 1", "[(1)(2)]"):
        assert isinstance(answer(space, text), str)
    assert capfd.readouterr() == ("", "")


def shared(make: Callable[[Any], Any]) -> Any:
    """One object in many places, 40 levels deep."""
    found: Any = [0]
    for _ in range(40):
        found = make(found)
    return found


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize(
    "written",
    [
        shared(lambda inner: [inner] * 50),
        shared(lambda inner: dict.fromkeys(nested(DARTS.parse(f"Genotype({CELLS})")), inner)),
        [10**5000] * 6,
        10**5000,
        [[["none", 10**5000]]],
        nested(DARTS.parse(f"Genotype({CELLS})")) | {"normal": [("skip_connect", 10**5000)] * 8},
        np.zeros(10**7, dtype=np.int8),
        np.zeros((6, 0)),
        ["none"] * 10**6,
        "x" * 10**7,
        {"y" * 10**6: 1},
        object(),
    ],
    ids=lambda written: type(written).__name__,
)
def test_objects_without_end_are_one_line(space: Any, written: Any) -> None:
    found = answer(space, written)
    assert isinstance(found, str)
    assert len(found) <= 300


@pytest.mark.parametrize(
    ("name", "rows"), [("cifar10", 500), ("cifar10_50epochs", None), ("cifar10_600epochs", None)]
)
def test_real_tables_are_read(test_data: Path, name: str, rows: int | None) -> None:
    path = test_data / "darts" / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    table = read_table(path, DARTS)
    assert len(table.genotypes) == len(path.read_text().splitlines()) - 1
    assert rows is None or len(table.genotypes) == rows
    assert all(space_text == str(DARTS.parse(space_text)) for space_text in map(str, table.genotypes))
