"""A look at a pickle before it is loaded: only the opcodes that a data file needs, in bounded memory.

Python's unpickler trusts the stream with more than code: a ten-byte file can ask for a memo table of 64 GB,
and others for millions of nested containers. This walk refuses both before the unpickler sees them, and it
refuses every opcode that makes objects in any way other than a call of a global that `find_class` returned.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping

# 50,000 images with names and labels need about 30 each; one makes at most some 64 bytes of objects.
MAX_OPCODES = 4_000_000
_MAX_INTEGER_BYTES = 9  # 64 bits and a sign
_MAX_INTEGER_DIGITS = 24
_NO_MORE: Mapping[int, int] = {}

#: What tables of results hold besides: floats, and sets that are empty or not.
RESULTS: Mapping[int, int] = {pickle.BINFLOAT[0]: 8, pickle.EMPTY_SET[0]: 0, pickle.ADDITEMS[0]: 0}


class RefusedPickle(Exception):
    """The pickle is damaged, or asks for something that no file of images needs. Carries the reason."""


def check_opcodes(raw: bytes, more: Mapping[int, int] = _NO_MORE) -> None:
    """Walk `raw` up to its STOP opcode; raises RefusedPickle at the first opcode that is not allowed.

    more: opcodes allowed beyond those that images need, each with the bytes of its argument.
    """
    fixed = {**_FIXED, **more}
    position, count, frame_end = 0, 0, 0
    argument = b""
    while True:
        if position >= len(raw):
            raise RefusedPickle("it ends too early")
        start, opcode = position, raw[position]
        position += 1
        count += 1
        if count > MAX_OPCODES:
            raise RefusedPickle(f"it has more than {MAX_OPCODES:,} pickle opcodes")

        if opcode in fixed:
            argument = raw[position : position + fixed[opcode]]
            position += fixed[opcode]
            if opcode in _BINARY_PUT and int.from_bytes(argument, "little") > count:
                raise RefusedPickle("its memo table is out of proportion")
        elif opcode in _COUNTED:
            width, signed = _COUNTED[opcode]
            length = int.from_bytes(raw[position : position + width], "little", signed=signed)
            position += width + length
            if length < 0 or (opcode == _LONG1 and length > _MAX_INTEGER_BYTES):
                raise RefusedPickle("it holds a length that makes no sense")
        elif opcode in _LINES:
            for _ in range(_LINES[opcode]):
                end = raw.find(b"\n", position)
                if end < 0:
                    raise RefusedPickle("it ends too early")
                if opcode in _TEXT_INTEGER and end - position > _MAX_INTEGER_DIGITS:
                    raise RefusedPickle("it holds a number that makes no sense")
                line = raw[position:end] if opcode == _TEXT_PUT else b""
                position = end + 1
            if opcode == _TEXT_PUT and not (line.isdigit() and int(line) <= count):
                raise RefusedPickle("its memo table is out of proportion")
        elif opcode not in _BARE:
            raise RefusedPickle(
                f"it holds the pickle opcode {bytes([opcode])!r}, which no file of images needs"
            )

        # Where a frame cuts an opcode, or lies in another, Python skips bytes that this walk would read.
        if start < frame_end and (position > frame_end or opcode == _FRAME):
            raise RefusedPickle("its frames make no sense")
        if opcode == _FRAME:
            frame_end = position + int.from_bytes(argument, "little")
        if opcode == _STOP:
            return


def _codes(*opcodes: bytes) -> frozenset[int]:
    return frozenset(opcode[0] for opcode in opcodes)


_STOP = pickle.STOP[0]
_FRAME = pickle.FRAME[0]
_LONG1 = pickle.LONG1[0]
_TEXT_PUT = pickle.PUT[0]
_TEXT_INTEGER = _codes(pickle.INT, pickle.LONG, pickle.PUT, pickle.GET)
_BINARY_PUT = _codes(pickle.BINPUT, pickle.LONG_BINPUT)

# Opcodes without an argument.
_BARE = _codes(
    *(pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.MEMOIZE),
    *(pickle.EMPTY_LIST, pickle.LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_DICT, pickle.DICT, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.STACK_GLOBAL, pickle.REDUCE, pickle.BUILD),
)

# Opcode -> bytes of its argument.
_FIXED = {
    pickle.PROTO[0]: 1,
    pickle.FRAME[0]: 8,
    pickle.BININT[0]: 4,
    pickle.BININT1[0]: 1,
    pickle.BININT2[0]: 2,
    pickle.BINGET[0]: 1,
    pickle.LONG_BINGET[0]: 4,
    pickle.BINPUT[0]: 1,
    pickle.LONG_BINPUT[0]: 4,
}

# Opcode -> (bytes of the length that precedes its argument, whether that length is signed).
_COUNTED = {
    pickle.LONG1[0]: (1, False),
    pickle.SHORT_BINSTRING[0]: (1, False),
    pickle.BINSTRING[0]: (4, True),
    pickle.SHORT_BINBYTES[0]: (1, False),
    pickle.BINBYTES[0]: (4, False),
    pickle.BINBYTES8[0]: (8, False),
    pickle.BYTEARRAY8[0]: (8, False),
    pickle.SHORT_BINUNICODE[0]: (1, False),
    pickle.BINUNICODE[0]: (4, False),
    pickle.BINUNICODE8[0]: (8, False),
}

# Opcode -> lines of text that follow it (protocol 0).
_LINES = {
    pickle.INT[0]: 1,
    pickle.LONG[0]: 1,
    pickle.STRING[0]: 1,
    pickle.UNICODE[0]: 1,
    pickle.GET[0]: 1,
    pickle.PUT[0]: 1,
    pickle.GLOBAL[0]: 2,
}
