"""Pickles of strangers: what is shared, deep, circular or huge costs no more than its bytes."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from znas_engine.data import opcodes
from znas_engine.data.opcodes import RefusedPickle
from znas_engine.data.pickles import unpickle, unpickle_results

pytestmark = pytest.mark.ours

KEYS = "it has a key that is no short text, number or flat tuple of them"
UNFOLDS = "it unfolds into more than a file of its size may hold"


def pairs(levels: int) -> bytes:
    """Each level is the tuple of the one before, twice."""
    out = b"K\x01\x85q\x00"
    for number in range(levels):
        out += b"h" + bytes([number]) + b"\x86q" + bytes([number + 1])
    return out


@pytest.mark.parametrize("levels", [1, 26, 200])
@pytest.mark.parametrize(
    "use",
    [b"}%sK\x01s.", b"(%sK\x01d.", b"}(%sK\x01u.", b"\x8f(%s\x90.", b"}(X\x01\x00\x00\x00a%s\x86K\x01u."],
)
def test_nested_tuples_are_no_keys(levels: int, use: bytes) -> None:
    with pytest.raises(RefusedPickle, match=KEYS):
        unpickle_results(b"\x80\x02" + use % pairs(levels))


@pytest.mark.parametrize("levels", [26, 60, 250])
@pytest.mark.parametrize("wrap", [b"%s.", b"]%sa.", b"}X\x04\x00\x00\x00data%ss."])
def test_what_is_shared_again_and_again_is_refused(levels: int, wrap: bytes) -> None:
    with pytest.raises(RefusedPickle, match=UNFOLDS):
        unpickle(b"\x80\x02" + wrap % pairs(levels))


def test_a_long_text_in_many_places_is_refused() -> None:
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000 + b"q\x00"
    assert len(unpickle(b"(" + text + b"h\x00" * 9 + b"l.")) == 10  # type: ignore[arg-type]
    with pytest.raises(RefusedPickle, match=UNFOLDS):
        unpickle(b"(" + text + b"h\x00" * 50_000 + b"l.")


@pytest.mark.parametrize("make", [b"\x85", b"l"])
def test_what_is_deep_is_refused(make: bytes) -> None:
    """Hashing or deleting it would fill the stack of the machine."""
    raw = b"(" * 100_000 * (make == b"l") + b"N" + make * 100_000 + b"."
    with pytest.raises(RefusedPickle, match=UNFOLDS):
        unpickle(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"]q\x00h\x00a.",
        b"]q\x00(h\x00h\x00e.",
        b"}q\x00X\x01\x00\x00\x00ah\x00s.",
        b"]q\x00h\x00\x85a.",
        b"]q\x00}q\x01X\x01\x00\x00\x00ah\x00sa.",
    ],
)
def test_what_holds_itself_is_refused(raw: bytes) -> None:
    with pytest.raises(RefusedPickle, match="it holds itself"):
        unpickle(raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x80\x02}NK\x01s.", KEYS),
        (b"\x80\x02}X" + struct.pack("<I", 1001) + b"a" * 1001 + b"K\x01s.", KEYS),
        (b"\x80\x02}(" + b"K\x01" * 9 + b"tK\x01s.", KEYS),
        (b"\x80\x02}(X" + struct.pack("<I", 1001) + b"a" * 1001 + b"K\x01\x86K\x01u.", KEYS),
        (b"\x80\x02}cnumpy\nndarray\nK\x01s.", KEYS),
        (b"\x80\x02}]K\x01s.", KEYS),
        (b"\x80\x02}(" + b"J\x00\x00\x00\x00N" * 32_769 + b"u.", "it has more than 32,768 sets and numbers"),
        (b"\x80\x02(" + b"\x8f" * 32_769 + b"l.", "it has more than 32,768 sets and numbers"),
        (b"L" + b"9" * 30 + b"L\n.", "it holds a number that makes no sense"),
        (b"\x8a\x0a" + b"\xff" * 10 + b".", "it holds a length that makes no sense"),
        (b"\x8b\x00\x00\x00\x01.", r"it holds the pickle opcode b'\\x8b'"),
        (b"\x80\x05\x97.", r"it holds the pickle opcode b'\\x97'"),  # NEXT_BUFFER: a buffer out of the band
        (b"\x80\x05N\x98.", r"it holds the pickle opcode b'\\x98'"),  # READONLY_BUFFER
        (b"\x80\x04(N\x91.", r"it holds the pickle opcode b'\\x91'"),  # FROZENSET
        (b"N2.", "it holds the pickle opcode b'2'"),  # DUP
        (b"N0.", "it holds the pickle opcode b'0'"),  # POP
        (b"h\x05.", r"it is damaged \(KeyError\)"),
        (b"q\x05.", r"it is damaged \(IndexError\)"),
        (b"a.", r"it is damaged \(IndexError\)"),
        (b"t.", r"it is damaged \(IndexError\)"),
        (b"K\x01K\x02a.", "it appends to what is no list"),
        (b"]K\x01K\x02s.", "it fills what is no dictionary"),
        (b"}(K\x01u.", "it fills what is no dictionary"),
        (b"](K\x01\x90.", "it adds to what is no set"),
        (b"K\x01}b.", "it alters what has no parts"),
        (b"}}X\x01\x00\x00\x00aK\x01sb.", "it alters what has no parts"),
        (b"K\x01)R.", "it calls what is no function"),
        (b"cnumpy\ndtype\n]R.", "it calls what is no function"),
        (b"K\x01K\x02\x93.", "it names a global by what is no text"),
    ],
)
def test_what_no_table_needs_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(RefusedPickle, match=reason):
        unpickle_results(raw)


numbers = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
keys = st.text(max_size=5) | st.tuples(st.text(max_size=3), st.integers(0, 99))
values = st.recursive(
    st.none() | numbers | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4) | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@given(values, st.integers(1, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_what_python_reads(value: Any, protocol: int) -> None:
    assert unpickle_results(pickle.dumps(value, protocol=protocol)) == value


def test_equal_to_python_where_parts_are_shared() -> None:
    row = [1, 2, "three"]
    value = {"a": row, "b": [row, row], "c": ("x", row)}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        read = unpickle(pickle.dumps(value, protocol=protocol))
        assert read == value


# Fragments that make, share and nest; random sequences of them are what a stranger may send.
SHARING = [
    *(b"N", b"K\x01", b"K\x02", b"J\xff\xff\xff\xff", b"X\x01\x00\x00\x00a", b"C\x02ab", b"G@" + bytes(7)),
    *(b"]", b"}", b")", b"\x8f", b"(", b"(", b"(", b"\x94", b"\x94", b"a", b"e", b"s", b"u"),
    *(b"t", b"l", b"d", b"\x90", b"\x85", b"\x86", b"\x87", b"\x86", b"R", b"b"),
    *(b"h" + bytes([number]) for number in range(6)),
    *(b"q" + bytes([number]) for number in range(6)),
    *(b"h\x00h\x00\x86q\x00", b"h\x01h\x01h\x01\x87q\x01", b"(h\x00h\x00lq\x00", b"]q\x02h\x02a"),
    *(b"cnumpy\ndtype\n", b"c_codecs\nencode\n", b"ccollections\nOrderedDict\n"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(SHARING), max_size=120))
def test_whatever_is_read_can_be_printed(fragments: list[bytes]) -> None:
    raw = b"]q\x00]q\x01" + b"".join(fragments) + b"."
    try:
        value = unpickle_results(raw)
    except RefusedPickle:
        return
    assert len(repr(value)) < 8 * ((1 << 20) + 16 * len(raw))


def test_the_work_is_bounded_by_the_opcodes() -> None:
    with pytest.raises(RefusedPickle, match="it has more than 4,000,000 pickle opcodes"):
        unpickle(b"N" * (opcodes.MAX_OPCODES + 1))
