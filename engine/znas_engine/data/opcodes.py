"""A reader of pickles of our own: only the opcodes that a data file needs, in bounded memory and time.

Python's unpickler trusts the stream with more than code: a ten-byte file can ask for a memo table of 64 GB,
others for millions of nested containers, and 200 bytes for a key that takes days to hash. Here every opcode
costs time and memory in proportion to the bytes that the file spends on it:

- What is hashed is looked at first: keys of dictionaries and members of sets are short texts, bytes or
  numbers, or short flat tuples of them. Numbers, which anybody can make collide, are counted.
- Objects are made by a call of a global that the caller allows, in no other way.
- What comes out is a tree, or not much more: where parts are shared, the whole is no larger than its file
  would allow without, it has no cycle, and it is not deep. It may be printed, hashed, compared and copied.
"""

from __future__ import annotations

import codecs
import pickle
import struct
from collections.abc import Callable, Collection, Mapping
from typing import Any

# 50,000 images with names and labels need about 30 each; one makes at most some 64 bytes of objects.
MAX_OPCODES = 4_000_000
_MAX_INTEGER_BYTES = 9  # 64 bits and a sign
_MAX_INTEGER_DIGITS = 24
_LONGEST_KEY = 1_000  # characters: comparing two takes that long
_MAX_KEY_PARTS = 8
_MAX_KEYS = 32_768  # the square of this is a second of collisions
_MAX_DEPTH = 64
_UNFOLDED = 1 << 20, 16  # what may come out, in bytes of text and numbers: so much, and so much per byte

#: What tables of results hold besides: floats, and sets that are empty or not.
RESULTS = frozenset((pickle.BINFLOAT[0], pickle.EMPTY_SET[0], pickle.ADDITEMS[0]))


class RefusedPickle(Exception):
    """The pickle is damaged, or asks for something that no file of images needs. Carries the reason."""


class Stored:
    """Base of what a pickle may call or fill in; nothing hashes it."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


def read(raw: bytes, find: Callable[[str, str], object], more: Collection[int] = ()) -> object:
    """The object in `raw` up to its STOP opcode, as Python would read it with encoding="bytes".

    find: module and name -> what stands for that global; raises RefusedPickle for those that are not allowed.
        Of what it returns, instances of `Stored` can be called, and BUILD goes to their `__setstate__`.
    more: opcodes allowed beyond those that images need: some of `RESULTS`.

    Raises RefusedPickle, or whatever a damaged stream makes Python raise.
    """
    value = _Machine(raw, find, more).run()
    _check_unfolded(value, len(raw))
    return value


class _Machine:
    """A pickle in the middle of being read: its stack, what the marks keep below it, and its memo."""

    __slots__ = ("_actions", "_at", "_find", "_frame_end", "_kept", "_keys", "_memo", "_raw", "_stack")

    def __init__(self, raw: bytes, find: Callable[[str, str], object], more: Collection[int]) -> None:
        self._raw = raw
        self._find = find
        self._at = 0
        self._frame_end = 0
        self._stack: list[Any] = []
        self._kept: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._keys = 0
        self._actions = {code: act for code, act in _ACTIONS.items() if code not in RESULTS or code in more}

    def run(self) -> object:
        raw, actions = self._raw, self._actions
        stop = pickle.STOP[0]
        for _ in range(MAX_OPCODES):
            start = self._at
            if start >= len(raw):
                raise RefusedPickle("it ends too early")
            opcode = raw[start]
            self._at = start + 1
            if opcode == stop:
                return self._stack.pop()
            action = actions.get(opcode)
            if action is None:
                raise RefusedPickle(
                    f"it holds the pickle opcode {bytes([opcode])!r}, which no file of images needs"
                )
            frame_end = self._frame_end
            action(self)
            # Where a frame cuts an opcode, or begins in another, Python would skip bytes that are read here.
            if start < frame_end and (frame_end < self._at or opcode == _FRAME):
                raise RefusedPickle("its frames make no sense")
        raise RefusedPickle(f"it has more than {MAX_OPCODES:,} pickle opcodes")

    # ------------------------------------------------------------------ the stream

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._raw):
            raise RefusedPickle("it ends too early")
        found = self._raw[self._at : end]
        self._at = end
        return found

    def number(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(width), "little", signed=signed)

    def counted(self, width: int, *, signed: bool = False) -> bytes:
        """What follows its own length."""
        length = self.number(width, signed=signed)
        if length < 0:
            raise RefusedPickle("it holds a length that makes no sense")
        return self.take(length)

    def line(self) -> bytes:
        end = self._raw.find(b"\n", self._at)
        if end < 0:
            raise RefusedPickle("it ends too early")
        found = self._raw[self._at : end]
        self._at = end + 1
        return found

    def digits(self) -> bytes:
        """A number written out, short enough to be one."""
        text = self.line()
        if len(text) > _MAX_INTEGER_DIGITS:
            raise RefusedPickle("it holds a number that makes no sense")
        return text

    def frame(self) -> None:
        length = self.number(8)
        self._frame_end = self._at + length

    # ------------------------------------------------------------------ the stack

    def push(self, value: object) -> None:
        self._stack.append(value)

    def mark(self) -> None:
        self._kept.append(self._stack)
        self._stack = []

    def marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        found = self._stack
        self._stack = self._kept.pop()
        return found

    def last(self, count: int) -> list[Any]:
        """The last that were pushed, in that order."""
        return [self._stack.pop() for _ in range(count)][::-1]

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def put(self, index: int | None) -> None:
        """None: under the next free number."""
        if index is not None and not 0 <= index <= MAX_OPCODES:
            raise RefusedPickle("its memo table is out of proportion")
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    # ------------------------------------------------------------------ containers

    def append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise RefusedPickle("it appends to what is no list")
        target += values

    def fill(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(pairs) % 2:
            raise RefusedPickle("it fills what is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.check_key(key)
            target[key] = value

    def add(self, members: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not set:
            raise RefusedPickle("it adds to what is no set")
        for member in members:
            self.check_key(member)
            target.add(member)

    def check_key(self, key: Any) -> None:
        """Whether a key can be hashed and compared in no time; it is not hashed here."""
        kind = type(key)
        if kind in _TEXTS and len(key) <= _LONGEST_KEY:
            return
        self.count_key()
        if kind in _NUMBERS:
            return
        if kind is tuple and len(key) <= _MAX_KEY_PARTS:
            parts = {type(part) for part in key}
            if parts <= _SCALARS and all(len(part) <= _LONGEST_KEY for part in key if type(part) in _TEXTS):
                return
        raise RefusedPickle("it has a key that is no short text, number or flat tuple of them")

    def count_key(self) -> None:
        self._keys += 1
        if self._keys > _MAX_KEYS:
            raise RefusedPickle(f"it has more than {_MAX_KEYS:,} sets and numbers for keys")

    # ------------------------------------------------------------------ what is made by calls

    def find(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedPickle("it names a global by what is no text")
        self._stack.append(self._find(module, name))

    def call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Stored) or type(arguments) is not tuple:
            raise RefusedPickle("it calls what is no function")
        self._stack.append(function(*arguments))  # type: ignore[operator]

    def build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if not isinstance(target, Stored):
            raise RefusedPickle("it alters what has no parts")
        target.__setstate__(state)  # type: ignore[attr-defined]


_TEXTS = (str, bytes)
_NUMBERS = (int, float, bool)
_SCALARS = {*_TEXTS, *_NUMBERS}
_FRAME = pickle.FRAME[0]


def _int(machine: _Machine) -> None:
    text = machine.digits()
    truth = {b"00": False, b"01": True}  # how protocol 0 writes them
    machine.push(truth[text] if text in truth else int(text))


def _long1(machine: _Machine) -> None:
    length = machine.number(1)
    if length > _MAX_INTEGER_BYTES:
        raise RefusedPickle("it holds a length that makes no sense")
    machine.push(machine.number(length, signed=True))


def _string(machine: _Machine) -> None:
    quoted = machine.line().strip()
    if len(quoted) < 2 or quoted[:1] not in (b"'", b'"') or quoted[:1] != quoted[-1:]:
        raise RefusedPickle("it holds a text without quotes")
    machine.push(codecs.escape_decode(quoted[1:-1])[0])


def _dict(machine: _Machine) -> None:
    pairs = machine.marked()
    machine.push({})
    machine.fill(pairs)


def _set(machine: _Machine) -> None:
    machine.count_key()
    machine.push(set())


def _utf8(raw: bytes) -> str:
    return str(raw, "utf-8", "surrogatepass")


_ACTIONS: Mapping[int, Callable[[_Machine], object]] = {
    code[0]: action
    for code, action in (
        (pickle.PROTO, lambda m: m.take(1)),
        (pickle.FRAME, _Machine.frame),
        (pickle.MARK, _Machine.mark),
        # Values.
        (pickle.NONE, lambda m: m.push(None)),
        (pickle.NEWTRUE, lambda m: m.push(True)),
        (pickle.NEWFALSE, lambda m: m.push(False)),
        (pickle.BININT, lambda m: m.push(m.number(4, signed=True))),
        (pickle.BININT1, lambda m: m.push(m.number(1))),
        (pickle.BININT2, lambda m: m.push(m.number(2))),
        (pickle.LONG1, _long1),
        (pickle.INT, _int),
        (pickle.LONG, lambda m: m.push(int(m.digits().removesuffix(b"L")))),
        (pickle.BINFLOAT, lambda m: m.push(struct.unpack(">d", m.take(8))[0])),
        # Texts: the 8-bit strings of Python 2, pixels among them, stay bytes.
        (pickle.SHORT_BINSTRING, lambda m: m.push(m.counted(1))),
        (pickle.BINSTRING, lambda m: m.push(m.counted(4, signed=True))),
        (pickle.SHORT_BINBYTES, lambda m: m.push(m.counted(1))),
        (pickle.BINBYTES, lambda m: m.push(m.counted(4))),
        (pickle.BINBYTES8, lambda m: m.push(m.counted(8))),
        (pickle.BYTEARRAY8, lambda m: m.push(m.counted(8))),  # nobody writes to it: bytes will do
        (pickle.SHORT_BINUNICODE, lambda m: m.push(_utf8(m.counted(1)))),
        (pickle.BINUNICODE, lambda m: m.push(_utf8(m.counted(4)))),
        (pickle.BINUNICODE8, lambda m: m.push(_utf8(m.counted(8)))),
        (pickle.STRING, _string),
        (pickle.UNICODE, lambda m: m.push(str(m.line(), "raw-unicode-escape"))),
        # Containers.
        (pickle.EMPTY_LIST, lambda m: m.push([])),
        (pickle.LIST, lambda m: m.push(m.marked())),
        (pickle.APPEND, lambda m: m.append(m.last(1))),
        (pickle.APPENDS, lambda m: m.append(m.marked())),
        (pickle.EMPTY_TUPLE, lambda m: m.push(())),
        (pickle.TUPLE, lambda m: m.push(tuple(m.marked()))),
        (pickle.TUPLE1, lambda m: m.push(tuple(m.last(1)))),
        (pickle.TUPLE2, lambda m: m.push(tuple(m.last(2)))),
        (pickle.TUPLE3, lambda m: m.push(tuple(m.last(3)))),
        (pickle.EMPTY_DICT, lambda m: m.push({})),
        (pickle.DICT, _dict),
        (pickle.SETITEM, lambda m: m.fill(m.last(2))),
        (pickle.SETITEMS, lambda m: m.fill(m.marked())),
        (pickle.EMPTY_SET, _set),
        (pickle.ADDITEMS, lambda m: m.add(m.marked())),
        # What was there already.
        (pickle.MEMOIZE, lambda m: m.put(None)),
        (pickle.BINPUT, lambda m: m.put(m.number(1))),
        (pickle.LONG_BINPUT, lambda m: m.put(m.number(4))),
        (pickle.PUT, lambda m: m.put(int(m.digits()))),
        (pickle.BINGET, lambda m: m.get(m.number(1))),
        (pickle.LONG_BINGET, lambda m: m.get(m.number(4))),
        (pickle.GET, lambda m: m.get(int(m.digits()))),
        # Objects.
        (pickle.GLOBAL, lambda m: m.find(_utf8(m.line()), _utf8(m.line()))),
        (pickle.STACK_GLOBAL, lambda m: m.find(*m.last(2))),
        (pickle.REDUCE, _Machine.call),
        (pickle.BUILD, _Machine.build),
    )
}


def _check_unfolded(value: object, size: int) -> None:
    """Raises RefusedPickle for a value that is deep, goes round in circles, or would be much larger than its
    `size` in bytes if nothing in it were shared. Every container is looked into once."""
    limit = _UNFOLDED[0] + _UNFOLDED[1] * size
    weights: dict[int, tuple[int, int]] = {}  # of a container that is done: its weight and depth
    begun: set[int] = set()
    waiting: list[tuple[Any, bool]] = [(value, False)]
    while waiting:
        here, done = waiting.pop()
        if done:
            weight, depth = _summed(here, weights)
            if depth > _MAX_DEPTH or weight > limit:
                raise RefusedPickle("it unfolds into more than a file of its size may hold")
            weights[id(here)] = weight, depth
        elif type(here) in _CONTAINERS and id(here) not in weights:
            if id(here) in begun:
                raise RefusedPickle("it holds itself")
            begun.add(id(here))
            waiting.append((here, True))
            waiting += [(part, False) for part in _parts(here) if type(part) in _CONTAINERS]


_CONTAINERS = frozenset((list, tuple, dict, set))


def _parts(container: Any) -> Any:
    return (*container, *container.values()) if type(container) is dict else container


def _summed(container: Any, weights: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
    weight, depth = 1, 0
    for part in _parts(container):
        kind = type(part)
        if kind in _CONTAINERS:
            more, below = weights[id(part)]
            weight, depth = weight + more, max(depth, below)
        else:
            weight += 1 + len(part) if kind in _TEXTS else 1
    return weight, depth + 1
