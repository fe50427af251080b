"""One kind in a process of its own, so that a hang or a crash is its case's alone:

python -m tests.torture.inputs "genotype texts" --seed 0 --first 0 --count 100
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from tests.torture.account import judged
from tests.torture.inputs import KINDS

#: Bytes of address space that a reader may take beside what the imports took.
ROOM = 3 << 30


def main() -> None:
    """Prints one line of JSON per case: its number, how it ended, and the case where that is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    for name in ("seed", "first", "count"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        kind = KINDS[asked.kind](Path(scratch))
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
        for number in range(asked.first, asked.first + asked.count):
            case = kind.make(Random(f"{asked.seed}/{asked.kind}/{number}"))
            print(json.dumps([number]), flush=True)
            verdict = judged(kind.use, case)
            print(json.dumps([number, verdict, ascii(_brief(case))[:400]]), flush=True)


def _brief(case: Any) -> str:
    try:
        return repr(case)[:400]
    except (RecursionError, ValueError, MemoryError):
        return object.__repr__(case)


if __name__ == "__main__":
    main()
