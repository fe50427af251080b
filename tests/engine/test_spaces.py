from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from znas_engine.errors import DataError, InvalidValueError
from znas_engine.spaces import get_space
from znas_engine.spaces.darts import Darts, DartsGenotype
from znas_engine.spaces.nasbench201 import NasBench201, NasBench201Genotype
from znas_engine.spaces.nasbench_macro import NasBenchMacro, NasBenchMacroGenotype
from znas_engine.tables import read_table
from znas_engine.testing import SpaceContract

pytestmark = pytest.mark.ours

NB201, DARTS, CHAIN = NasBench201(), Darts(), NasBenchMacro()
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
    "normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), "
    "('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def darts_cells() -> st.SearchStrategy[tuple[tuple[str, int], ...]]:
    terms = [
        st.tuples(st.sampled_from(DARTS.operations), st.integers(0, target - 1))
        for target in (2, 3, 4, 5)
        for _ in range(2)
    ]
    return st.tuples(*terms)


darts_genotypes = st.builds(DartsGenotype, darts_cells(), darts_cells())


def sorted_nodes(terms: tuple[tuple[str, int], ...]) -> list[list[tuple[str, int]]]:
    return [sorted(terms[k : k + 2]) for k in range(0, 8, 2)]


class TestNasBench201(SpaceContract):
    space = NB201


#: The same operation twice on one edge, and nothing at all elsewhere.
TWICE = (("sep_conv_3x3", 0), ("sep_conv_3x3", 0)) + (("none", 1), ("none", 1)) * 3


class TestDarts(SpaceContract):
    space = DARTS
    network_is_pruned = False
    resolutions = (32, 96)
    test_every_backend_agrees_or_says_what_it_lacks = None  # test_conformance.py asks it, for half a minute

    def admitted(self, count: int) -> list[Any]:
        return [DartsGenotype(TWICE, TWICE), *super().admitted(count)][:count]


class TestNasBenchMacro(SpaceContract):
    space = CHAIN
    resolutions = (16, 28)  # 28, 14, 7, 4 pixels
    test_every_backend_agrees_or_says_what_it_lacks = None  # test_conformance.py asks it


def test_every_nasbench201_cell_survives_string_and_mask() -> None:
    seen = set()
    for operations in itertools.product(NB201.operations, repeat=6):
        genotype = NasBench201Genotype(operations)
        assert NB201.parse(str(genotype)) == genotype
        mask = NB201.mask(genotype)
        assert mask.dtype == np.float32
        assert NB201.genotype(mask) == genotype
        seen.add(str(genotype))
    assert len(seen) == 15_625


def test_nasbench201_table_is_read_and_written_back(test_data: Path) -> None:
    with (test_data / "nasbench201" / "cifar10.csv").open() as file:
        rows = [row["arch"] for row in csv.DictReader(file)]
    assert len(rows) == 15_625
    assert all(str(NB201.parse(row)) == row for row in rows)


@given(darts_genotypes)
def test_darts_genotype_survives_its_string(genotype: DartsGenotype) -> None:
    assert DARTS.parse(str(genotype)) == genotype


@given(darts_genotypes)
def test_darts_genotype_survives_its_mask_up_to_order(genotype: DartsGenotype) -> None:
    back = DARTS.genotype(DARTS.mask(genotype))
    assert sorted_nodes(back.normal) == sorted_nodes(genotype.normal)
    assert sorted_nodes(back.reduce) == sorted_nodes(genotype.reduce)
    assert np.array_equal(DARTS.mask(back), DARTS.mask(genotype))


def test_darts_table_is_read(test_data: Path) -> None:
    with (test_data / "darts" / "cifar10.csv").open() as file:
        rows = [row["genotype"] for row in csv.DictReader(file)]
    assert len(rows) == 500
    assert all(str(DARTS.parse(row)) == row for row in rows)


def test_published_sizes() -> None:
    """NAS-Bench-201's API: 1.531546 M parameters, 220.11969 M FLOPs for the cell of six 3x3 convolutions;
    the DARTS repository: 3.349342 M parameters for DARTS_V2 without its auxiliary head."""
    full = NasBench201Genotype(("nor_conv_3x3",) * 6)
    network = NB201.network(full, NB201.evaluation_macro(resolution=32, classes=10))
    assert (network.parameters, network.flops) == (1_531_546, 220_119_690)
    network = DARTS.network(DARTS.parse(DARTS_V2), DARTS.evaluation_macro(resolution=32, classes=10))
    assert network.parameters == 3_349_342


@pytest.fixture(scope="module")
def chains(test_data: Path) -> list[dict[str, str]]:
    """The rows of NAS-Bench-Macro's table."""
    with (test_data / "nasbench_macro" / "cifar10.csv").open() as file:
        return list(csv.DictReader(file))


def test_published_sizes_of_chains(chains: list[dict[str, str]]) -> None:
    """All rows: every trainable parameter; the multiplications of convolutions and classifier, to which
    `Graph.flops` adds the classifier's biases, one per class."""
    macro = CHAIN.evaluation_macro(resolution=32, classes=10)
    for row in chains:
        network = CHAIN.network(CHAIN.parse(row["arch"]), macro)
        sizes = (network.parameters, network.flops - macro.classes)
        assert sizes == (int(row["params"]), int(row["flops"])), row["arch"]


def test_equal_chains_are_equal_in_their_table(chains: list[dict[str, str]]) -> None:
    found: dict[Any, set[tuple[str, ...]]] = {}
    for row in chains:
        arch, *numbers = row.values()
        found.setdefault(CHAIN.function_of(CHAIN.parse(arch)), set()).add(tuple(numbers))
    assert len(found) < len(chains) - 700
    assert all(len(numbers) == 1 for numbers in found.values())


def test_a_table_of_chains_keeps_its_zeros(
    chains: list[dict[str, str]], test_data: Path, tmp_path: Path
) -> None:
    table = read_table(test_data / "nasbench_macro" / "cifar10.csv", CHAIN)
    assert [str(genotype) for genotype in table.genotypes] == [row["arch"] for row in chains]
    assert table.first == "cifar10_test_mean"
    assert [*table.columns] == ["cifar10_test_mean", "params", "flops"]
    (tmp_path / "t.csv").write_text("arch,acc\n10220212,91\n111012,88\n")
    with pytest.raises(DataError, match=r"t.csv, line 3, column 'arch': not a NAS-.*zeros in front"):
        read_table(tmp_path / "t.csv", CHAIN)


@pytest.mark.parametrize(
    ("arch", "function"),
    [
        ("00000000", "00000000"),
        ("01001012", "01010012"),
        ("02102012", "02120012"),
        ("20021102", "20021120"),
        ("22222222", "22222222"),
        ("10110220", "10110220"),
    ],
)
def test_identities_behind_the_first_layer_of_a_stage_commute(arch: str, function: str) -> None:
    assert str(CHAIN.function_of(CHAIN.parse(arch))) == function


def test_functions_of_chains() -> None:
    """Of 3 x 3 stages of two layers, and 3 x 7 of three: two orders of an identity and a residual are one."""
    listed = CHAIN.functions()
    assert listed is not None
    assert len(listed) == 9 * 21 * 21
    every = map(NasBenchMacroGenotype, itertools.product(CHAIN.operations, repeat=8))
    assert {CHAIN.function_of(genotype) for genotype in every} == set(listed)
    assert all(CHAIN.function_of(genotype) == genotype for genotype in listed)


def test_the_ways_in_which_a_chain_is_written() -> None:
    names = ("identity", "mb3_k3", "mb3_k3", "mb6_k5", "identity", "mb6_k5", "mb3_k3", "mb3_k3")
    digits = [0, 1, 1, 2, 0, 2, 1, 1]
    for written in ("01120211", " '01120211'\n", 'arch = "01120211"', names, digits, np.array(digits)):
        assert CHAIN.parse(written).operations == names
    assert str(CHAIN.parse(str(digits))) == "01120211"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("1120211", "eight digits of 0, 1 and 2 as text, with the zeros in front"),
        (1120211, "not a NAS-Bench-Macro architecture: 1120211; expected eight digits"),
        (11202111, "with the zeros in front, as in 01120211"),
        ("01120213", "not a NAS-Bench-Macro architecture"),
        ("011202111", "expected eight digits"),
        ([0, 1, 1, 2, 0, 2, 1, True], "or 8 operations"),
        (["identity"] * 7 + ["mb3_k33"], "did you mean 'mb3_k3'"),
    ],
)
def test_malformed_chains(written: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        CHAIN.parse(written)


def test_range_is_a_legal_concat() -> None:
    assert DARTS.parse(DARTS_V2.replace("[2, 3, 4, 5]", "range(2, 6)")) == DARTS.parse(DARTS_V2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a DARTS genotype"),
        ("Genotype()", "its fields are not"),
        ("__import__('os').system('true')", "not a call of Genotype"),
        (DARTS_V2.replace("('sep_conv_3x3', 0)", "(print('x'), 0)", 1), "not literals"),
        (DARTS_V2.replace("sep_conv_3x3", "sep_conv_7x7", 1), "did you mean 'sep_conv"),
        (DARTS_V2.replace("('sep_conv_3x3', 1)", "('sep_conv_3x3', 2)", 1), "node 0 to 1, not 2"),
        (DARTS_V2.replace("normal_concat=[2, 3, 4, 5]", "normal_concat=[2, 3]"), "normal_concat must be"),
        (DARTS_V2[:-1], "not Python syntax"),
        ("(" * 5000, "not Python syntax"),
        ("Genotype(" + "-" * 9000 + "1)", "not a DARTS genotype"),
        ("x" * 20_000, "longer than"),
    ],
)
def test_malformed_darts_genotypes(text: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        DARTS.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a NAS-Bench-201 architecture"),
        ("|none~0|+|none~0|none~1|", "expected the form"),
        ("|none~0|+|none~0|none~0|+|none~0|none~1|none~2|", "expected the form"),
        ("|nor_conv_5x5~0|+|none~0|none~1|+|none~0|none~1|none~2|", "did you mean 'nor_conv_"),
    ],
)
def test_malformed_nasbench201_strings(text: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        NB201.parse(text)


def test_unknown_space_names_the_nearest() -> None:
    with pytest.raises(InvalidValueError, match="did you mean 'nasbench201'"):
        get_space("nasbench-201")


@pytest.mark.parametrize(("name", "resolution"), [("nasbench201", 30), ("darts", 30), ("darts", 100)])
def test_resolutions_that_do_not_divide(name: str, resolution: int) -> None:
    space = get_space(name)
    with pytest.raises(InvalidValueError, match="must be a multiple of"):
        space.supernet(space.search_macro(resolution=resolution, classes=10))


def test_connectivity() -> None:
    none, skip = "none", "skip_connect"
    assert NB201.admits(NB201.mask(NasBench201Genotype((none, none, none, skip, none, none))))
    assert NB201.admits(NB201.mask(NasBench201Genotype((skip, none, skip, none, none, skip))))
    assert not NB201.admits(NB201.mask(NasBench201Genotype((skip, skip, skip, none, none, none))))
    assert not NB201.admits(NB201.mask(NasBench201Genotype((none, none, skip, none, skip, skip))))
