"""Hostile neighbours of valid bytes, texts and JSON documents."""

from __future__ import annotations

import json
from random import Random
from typing import Any

#: Pieces that readers have stumbled over.
WORDS = [
    "",
    "0",
    "-1",
    "1e999",
    "-0.0",
    "NaN",
    "Infinity",
    "9" * 400,
    "0x1F",
    "1_000",
    "None",
    "True",
    "null",
    "\0",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "é",
    "../../etc/passwd",
    "~",
    "x" * 3000,
    "%s%n",
    "{}",
    "[]",
    "'",
    '"',
    "\\",
    "\n",
    "\r\n",
    ",",
    ";",
    "(",
    ")",
    "((((",
    "))))",
    "**{}",
    "*[]",
    "lambda: 0",
    "__import__('os')",
    "|",
    "~0",
    "+",
    "#",
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**30,
    -(10**400),
    float("nan"),
    float("inf"),
    "",
    "x",
    "\ud800",
    "\x1b[31m",
    "é" * 2000,
    [],
    {},
    [[]],
    {"a": {}},
    [None],
    [1, "2"],
    {"": 0},
]


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def bytes_of(data: bytes, rng: Random) -> bytes:
    """One to four changes of some bytes."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(7):
            case 0 if found:
                at = min(at, len(found) - 1)
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                del found[at:]
            case 2:
                del found[at : at + rng.randint(1, 64)]
            case 3:
                found[at:at] = rng.randbytes(rng.randint(1, 16))
            case 4:
                found[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80"])
            case 5:
                found[at:at] = found[at : at + rng.randint(1, 200)]
            case _:
                found[at:at] = rng.choice(WORDS).encode("utf-8", "surrogatepass")
    return bytes(found)


def flipped(data: bytes, rng: Random) -> bytes:
    """One bit."""
    found = bytearray(data)
    found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def text_of(text: str, rng: Random) -> str:
    """One to three changes of some characters or pieces."""
    for _ in range(rng.randint(1, 3)):
        a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        b = min(b, a + 40)
        match rng.randrange(6):
            case 0:
                text = text[:a] + rng.choice(WORDS) + text[a:]
            case 1:
                text = text[:a] + text[b:]
            case 2:
                text = text[:b] + text[a:b] + text[b:]
            case 3:
                text = text[:a] + rng.choice(WORDS) + text[b:]
            case 4:
                text = text[:a] + text[a:b].swapcase() + text[b:]
            case _:
                text = text[:a] + chr(rng.choice([0, 9, 10, 13, 32, 160, 0x301, 0xFF10, 0x1F600])) + text[a:]
    return text


def json_of(document: Any, rng: Random) -> str:
    """The document's text with one to three values replaced, removed or doubled; sometimes no JSON."""
    text = json.dumps(document)
    for _ in range(rng.randint(1, 3)):
        text = _json_once(text, rng)
    if rng.random() < 0.05:
        text = text.replace(": ", ": " + "[" * 20_000, 1)
    return text_of(text, rng) if rng.random() < 0.2 else text


def _json_once(text: str, rng: Random) -> str:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys = (
            list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
        )
        for key in keys:
            places.append((value, key))
            walk(value[key])

    walk(document)
    if not places:
        return text
    holder, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(WORDS)] = holder[key]
        case 1:
            holder.insert(rng.randrange(len(holder) + 1), holder[key])
        case 2:
            holder[key] = nested(rng.choice([2, 50, 300]))
        case 3:
            other, name = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        case 4 if isinstance(holder[key], int | float):
            holder[key] = rng.choice([-1, 0.5, 2, 1e308, -holder[key], holder[key] + 1])
        case 5 if isinstance(holder, dict) and isinstance(key, str):
            field = json.dumps(key)
            return text.replace(field, f"{field}: {json.dumps(rng.choice(VALUES[:6]))}, {field}", 1)
        case _:
            holder[key] = rng.choice(VALUES)
    return json.dumps(document)
