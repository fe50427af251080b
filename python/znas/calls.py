"""Whole searches, and what else takes long of a request: one after another here, or by workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from znas import jobs
from znas.cluster.place import Listed, Place
from znas.cluster.unit import Call
from znas.cluster.where import LOCAL
from znas.hooks import Hooks
from znas.request import Request
from znas.setup import Setup
from znas.shape import Shape
from znas_engine.data.at_hand import AtHand
from znas_engine.devices import FIRST, kind_of
from znas_engine.progress import Progress

#: Pieces by their keys, as they are finished.
Pieces = Iterable[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """`do(request, hooks)`, which gives pieces; a worker gets what `request` becomes by `Setup.at_hand`, made
    for its threads. key: names it. do: pickles, with what it holds."""

    key: str
    request: Request
    do: Callable[[Request, Hooks], Pieces]


def each_piece(
    setup: Setup,
    kept: jobs.Kept,
    shapes: Mapping[str, Shape],
    tasks: Callable[[Sequence[str]], Iterable[Task]],
    hooks: Hooks,
) -> Iterator[Any]:
    """The value of every piece, in the order of `shapes`; see `jobs.each_piece`.

    setup: of what all tasks share, their images among it. tasks: for the keys of pieces that are not
    finished, what gives them. hooks: told how many pieces are finished, and, here, how far a task is.
    """
    done = sum(map(kept.has, shapes))

    def made(keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        nonlocal done
        for key, value in _each(setup, tasks(keys), hooks):
            yield key, value
            done += 1
            hooks.progress(done, len(shapes))

    if done:
        hooks.progress(done, len(shapes))
    yield from jobs.each_piece(kept, shapes, made)


def _each(setup: Setup, tasks: Iterable[Task], hooks: Hooks) -> Iterator[tuple[str, Any]]:
    place = setup.place
    if place is None:
        for task in tasks:
            yield from task.do(task.request, hooks.of_one())
        return
    units = (_unit(place, replace(task, request=setup.at_hand(task.request))) for task in tasks)
    for _, (pieces, remarks) in place.run(Listed(units)):
        for line in remarks:
            hooks.report(line)
        yield from pieces


def _unit(place: Place, task: Task) -> Call:
    """Images and a space that is an object go to a worker once, whatever the number of tasks."""
    asked = task.request
    space = asked.space if isinstance(asked.space, str) else place.share(asked.space)
    plain = replace(asked, data=None, space=Request().space, on=LOCAL, actors=None, threads_per_actor=None)
    return Call(task.key, _done, (task.do, plain, place.share(asked.data), space))


def _done(
    do: Callable[[Request, Hooks], Pieces],
    plain: Request,
    images: AtHand,
    space: Any,
    threads: int,
    progress: Progress,
) -> tuple[list[tuple[str, Any]], list[str]]:
    """On a worker, which sees no GPU but its own: the pieces, and what was worth a remark."""
    remarks: list[str] = []
    device = FIRST.get(kind_of(plain.device), plain.device)
    request = replace(plain, data=images, space=space, device=device, threads=threads)
    return list(do(request, Hooks(progress, remarks.append, alone=False))), remarks
