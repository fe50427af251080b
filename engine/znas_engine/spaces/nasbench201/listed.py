"""The functions of NAS-Bench-201, kept in a file: to tell its cells apart (`isomorphism`) takes longer than
most of a search.
"""

from __future__ import annotations

from itertools import compress, product
from pathlib import Path

import numpy as np

from znas_engine import paths
from znas_engine.spaces.nasbench201.genotype import EDGES, OPERATIONS, NasBench201Genotype

#: One bit per cell, in the order of `cells`: hexadecimal digits. `python -m tests.znas.functions` writes it.
FILE = Path(__file__).with_name("functions.txt")


def cells() -> list[NasBench201Genotype]:
    """All 15,625, in the order of `OPERATIONS`."""
    return [NasBench201Genotype(operations) for operations in product(OPERATIONS, repeat=len(EDGES))]


def listed() -> tuple[NasBench201Genotype, ...]:
    """The first cell of every class of `isomorphism.classes` that lets images through."""
    digits = paths.read(FILE, "the functions of NAS-Bench-201").decode()
    bits = np.frombuffer(bytes.fromhex(digits), np.uint8)
    return tuple(compress(cells(), np.unpackbits(bits).tolist()))
