"""What `--on` may say, and the place that it means."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from znas_engine.errors import InvalidValueError, MissingDependencyError, briefly

if TYPE_CHECKING:
    from znas.cluster.on_ray import OnRay
    from znas.cluster.place import Place
    from znas.hooks import Report

#: This process.
LOCAL = "local"
#: The forms of `on`, as help shows them.
FORMS = f"{LOCAL} | ray | ray://HOST:PORT | ray:ADDRESS"
#: The extra that brings Ray.
EXTRA = "znas-engine[cluster]"

_CLIENT = re.compile(r"ray://[^\s/:]+:\d{1,5}")
_ADDRESS = re.compile(r"ray:(?!//)\S+")


def check_on(on: str) -> str:
    """`on` itself; InvalidValueError for another form."""
    if on in (LOCAL, "ray") or _CLIENT.fullmatch(on) or _ADDRESS.fullmatch(on):
        return on
    raise InvalidValueError(f"`on` must be {FORMS} but got {briefly(on)}")


def check_installed(on: str) -> None:
    """MissingDependencyError where Ray is asked for and is not here."""
    if on == LOCAL:
        return
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise MissingDependencyError(
            f"--on {on} needs Ray, which is not installed: pip install '{EXTRA}', or leave --on out"
        )


def place_of(on: str, actors: int | None, threads: int | None, report: Report) -> Place | None:
    """The workers of `on`, the same ones for all that asks in this process; None for `LOCAL`.

    actors: how many; one per GPU or per NUMA node by default. threads: of each. report: told what becomes of
    them from now on. MissingDependencyError without Ray.
    """
    if on == LOCAL:
        return None
    check_installed(on)
    found = _cluster(on, actors, threads)
    found.report = report
    return found


@cache
def _cluster(on: str, actors: int | None, threads: int | None) -> OnRay:
    from znas.cluster.on_ray import OnRay

    address = {"ray": None}.get(on, on if _CLIENT.fullmatch(on) else on.removeprefix("ray:"))
    return OnRay(on, address, actors=actors, threads=threads)
