"""`znas-engine`, and `python -m znas`: ready for signals before anything that takes time is imported."""

from __future__ import annotations

import sys
from typing import NoReturn

from znas_engine import interrupts


def main() -> NoReturn:
    """Runs one verb and ends the process; `znas.cli.run` says with which code."""
    interrupts.leave(interrupts.guarded(_command))


def _command() -> int:
    from znas.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    main()
