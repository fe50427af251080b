"""What `--on` may say, and the place that it means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from znas.cluster.place import Place
from znas_engine.errors import InvalidValueError, MissingDependencyError, briefly

if TYPE_CHECKING:
    from znas.cluster.on_ray import OnRay

#: This process.
LOCAL = "local"
#: The forms of `on`, as help shows them.
FORMS = f"{LOCAL} | ray | ray://HOST:PORT | ray:ADDRESS"
#: The extra that brings Ray.
EXTRA = "znas-engine[cluster]"

_CLIENT = re.compile(r"ray://[^\s/:]+:\d{1,5}")
_ADDRESS = re.compile(r"ray:(?!//)\S+")


def check_on(on: Any) -> str | Place:
    """`on` itself; InvalidValueError for what is neither of these forms nor a place."""
    if isinstance(on, Place):
        return on
    if isinstance(on, str) and (on in (LOCAL, "ray") or _CLIENT.fullmatch(on) or _ADDRESS.fullmatch(on)):
        return on
    raise InvalidValueError(f"`on` must be {FORMS}, or a znas.cluster.place.Place, but got {briefly(on)}")


def check_installed(on: str | Place) -> None:
    """MissingDependencyError where Ray is asked for and is not here."""
    if on == LOCAL or isinstance(on, Place):
        return
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise MissingDependencyError(
            f"--on {on} needs Ray, which is not installed: pip install '{EXTRA}', or leave --on out"
        )


def place_of(on: str | Place, actors: int | None, threads: int | None) -> Place | None:
    """Who does units of work; None: this process, without any. The same workers of a cluster for all that
    asks in this process.

    actors: how many; one per GPU or per NUMA node by default. threads: of each. MissingDependencyError
    without Ray.
    """
    if isinstance(on, Place):
        return on
    return None if on == LOCAL else _cluster(on, actors, threads)


#: What was made for these, and is as good as new while the connection lasts.
_made: dict[tuple[str, int | None, int | None], OnRay] = {}


def _cluster(on: str, actors: int | None, threads: int | None) -> Place:
    check_installed(on)
    from znas.cluster.on_ray import OnRay

    key = on, actors, threads
    if key not in _made or not _made[key].connected:
        address = {"ray": None}.get(on, on if _CLIENT.fullmatch(on) else on.removeprefix("ray:"))
        _made[key] = OnRay(on, address, actors=actors, threads=threads)
    return _made[key]
