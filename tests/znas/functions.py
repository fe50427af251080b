"""The functions of NAS-Bench-201, told apart by their form: `python -m tests.znas.functions` writes the file
from which a search has them."""

from __future__ import annotations

from textwrap import wrap

import numpy as np

from znas_engine.spaces import get_space
from znas_engine.spaces.nasbench201 import NasBench201Genotype, listed
from znas_engine.spaces.nasbench201.isomorphism import classes

SPACE = get_space("nasbench201")


def functions() -> list[NasBench201Genotype]:
    """The first cell of every class that lets images through."""
    return [members[0] for members in classes() if SPACE.admits(SPACE.mask(members[0]))]


if __name__ == "__main__":
    there = set(functions())
    digits = np.packbits([cell in there for cell in listed.cells()]).tobytes().hex()
    listed.FILE.write_text("\n".join(wrap(digits, 100)) + "\n")
