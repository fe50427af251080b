"""What an evaluator refuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import instance
from znas_engine.backends.record import GRADIENTS, Backend, unread
from znas_engine.environment import Environment, Environments
from znas_engine.errors import InvalidValueError, PluginError, briefly, in_short, unknown_choice
from znas_engine.graph import Graph, Mixed
from znas_engine.registry import called, hold_to
from znas_engine.scores import ANSWERS, READS, ForwardScore, GradientScore, Score
from znas_engine.scores.base import broken_promise
from znas_engine.spaces import Macro, Mask, SearchSpace

#: How far a backend's logits may be from the torch reference's, relative to the reference's largest.
#: bfloat16: four standard deviations of what rounding weights to 8 bits does in a row of 50 convolutions,
#: the longest of the NAS-Bench-201 supernet (docs/decisions/0006-native-executor.md); of deeper ones see
#: `znas_engine.backends.rounding`.
LOGIT_TOLERANCE = {"float32": 2e-4, "float16": 5e-3, "bfloat16": 4.7e-2}
#: What is below this share of the mixture's is what rounding leaves of a difference: means that normalisation
#: subtracts cancel exactly behind a cut chain.
CANCELLED = 1e-2
#: What `supernet_of` made last.
_built: list[tuple[SearchSpace[Any], Macro, Graph]] = []


def scales(values: Sequence[NDArray[np.float32]]) -> list[float]:
    """One value under several masks, the mixture first -> what LOGIT_TOLERANCE is relative to under each: its
    largest, or CANCELLED of the mixture's."""
    largest = [float(np.abs(value).max()) for value in values]
    return [max(own, CANCELLED * largest[0]) for own in largest]


def as_masks(masks: Any, space: SearchSpace[Any]) -> Mask:
    """`masks` as a NumPy array, its values untouched, once `check_masks` has nothing to say."""
    edges, operations = space.shape
    wanted = f"`masks` must be float32 [G, {edges}, {operations}] for {space.name}"
    if isinstance(masks, np.ma.MaskedArray) and np.ma.is_masked(masks):
        raise InvalidValueError(f"{wanted} but got an array whose values are partly masked: fill it")
    if isinstance(masks, str | bytes | Mapping | set | frozenset):
        raise InvalidValueError(f"{wanted} but got {briefly(masks)}")
    try:
        found = np.asarray(masks)
    except (TypeError, ValueError, RuntimeError) as error:  # of several shapes; on a GPU; with a gradient
        raise InvalidValueError(f"{wanted} but got what is no array ({in_short(error)})") from error
    if found.dtype.kind == "f" and found.dtype.itemsize == 4:
        found = found.astype(np.float32, copy=False)  # of another byte order
    check_masks(found, space)
    return found


def check_masks(masks: Mask, space: SearchSpace[Any]) -> None:
    """Refuse what is not float32 [G, E, O], finite, >= 0, and 0 where an operation does not stand."""
    edges, operations = space.shape
    if masks.dtype == object:
        raise InvalidValueError(
            f"`masks` must be float32 [G, {edges}, {operations}] for {space.name} but got {briefly(masks)}"
        )
    if masks.ndim != 3 or masks.shape[1:] != (edges, operations):
        raise InvalidValueError(
            f"`masks` must have the shape [G, {edges}, {operations}] for {space.name} "
            f"but got {list(masks.shape)}"
            + (": one mask is mask[None]" if masks.shape == (edges, operations) else "")
        )
    if masks.dtype != np.float32:
        raise InvalidValueError(f"`masks` must be float32 but got {masks.dtype}: convert with .astype")
    if not len(masks):
        return
    least, most = masks.min(), masks.max(0)
    if not (np.isfinite(least) and np.isfinite(most).all()):
        raise InvalidValueError("`masks` must be finite but got NaN or infinity")
    if least < 0:
        raise InvalidValueError(f"`masks` must not be negative but got {least}")
    absent = np.argwhere((most > 0) & ~space.mixed)
    if len(absent):
        e, o = absent[0]
        raise InvalidValueError(
            f"`masks` must be 0 where {space.name} has no operation but keep {space.operations[o]} on "
            f"{space.edges[e].label}"
        )


def as_environments(environments: Any) -> Sequence[Environment]:
    """A single one as one of one, what can only be read once as a tuple. Those that are drawn when they are
    asked for stay as they are."""
    if isinstance(environments, Environment):
        return (environments,)
    if isinstance(environments, Environments):
        return environments
    wanted = "`environments` must be Environments, as draw_environments gives them,"
    if isinstance(environments, str | bytes) or not isinstance(environments, Iterable):
        raise InvalidValueError(f"{wanted} but got {briefly(environments)}")
    found = tuple(environments)
    for k, environment in enumerate(found):
        if not isinstance(environment, Environment):
            raise InvalidValueError(f"{wanted} but number {k} is {briefly(environment)}")
    return found


def as_rows(rows: Any, images: int) -> slice:
    """`rows` of so many images as `slice(first, last + 1)`; InvalidValueError unless it is one or more of
    them without gaps."""
    wanted = f"`rows` must be a slice of the {images} images, one or more without gaps,"
    try:
        first, stop, step = rows.indices(images)
    except (AttributeError, TypeError, ValueError):
        raise InvalidValueError(f"{wanted} but got {briefly(rows)}") from None
    beyond = any(end is not None and not -images <= end <= images for end in (rows.start, rows.stop))
    if step != 1 or stop <= first or beyond:
        raise InvalidValueError(f"{wanted} but got {briefly(rows)}")
    return slice(first, stop)


def as_reads(reads: Any, record: Backend) -> frozenset[str]:
    """Members of READS and ANSWERS, of those that the backend's passes hand out."""
    known = (*ANSWERS, *READS)
    if isinstance(reads, str) or not isinstance(reads, Iterable):
        raise InvalidValueError(f"`reads` must be some of {', '.join(known)} but got {briefly(reads)}")
    found = list(reads)
    for each in found:
        if each not in known:
            raise unknown_choice("read", each, known)
        if each in READS and each not in record.reads:
            raise InvalidValueError(f"the backend {record.name} does not hand out {each}: leave it out")
    return frozenset(found)


def check_environment(environment: Environment, graph: Graph) -> None:
    """Refuse images that the supernet does not take, and labels that it has no class for."""
    instance("environment", environment, Environment, ": draw_environments makes them")
    images, labels = environment.batch.images, environment.batch.labels
    wanted, classes = list(graph.nodes[0].shape), graph.classes
    if list(images.shape[1:]) != wanted or not len(images):
        raise InvalidValueError(
            f"`images` must be [N, {', '.join(map(str, wanted))}] for this supernet, N 1 or more, but got "
            f"{list(images.shape)}: give `macro` their resolution and channels"
        )
    if not (np.isfinite(images.min()) and np.isfinite(images.max())):
        raise InvalidValueError("`images` must be finite but got NaN or infinity")
    if labels is not None and not 0 <= labels.min() <= labels.max() < classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise InvalidValueError(
            f"`labels` must lie in [0, {classes}) but got {wrong}: give `macro` as many classes"
        )


def supernet_of(space: SearchSpace[Any], macro: Macro) -> Graph:
    """The space's supernet of that size; PluginError where it has terms that no mask of the space has.

    A search asks for one several times, and the thousands of nodes of a large one take their time: the last
    is not built again.
    """
    for known, size, graph in _built:
        if known is space and size == macro:
            return graph
    made = _check_slots(space.supernet(macro), space)
    _built[:] = [(space, macro, made)]
    return made


def _check_slots(graph: Graph, space: SearchSpace[Any]) -> Graph:
    edges, operations = space.shape
    for node in graph.nodes:
        for slot in node.slots if isinstance(node, Mixed) else ():
            if slot is not None and not (0 <= slot[0] < edges and 0 <= slot[1] < operations):
                raise PluginError(
                    f"the supernet of {called('search space', space)} has a term of edge {slot[0]} and "
                    f"operation {slot[1]} in {node.name!r}, but masks of {edges} edges and {operations} "
                    "operations"
                )
    return graph


def check_score(score: Score, record: Backend, dtype: str) -> None:
    """Refuse a score that no backend can run, or not this one."""
    hold_to(broken_promise, score, called("score", score), InvalidValueError)
    if isinstance(score, GradientScore) and record.name != GRADIENTS:
        raise InvalidValueError(
            f"the score {score.name!r} needs gradients, which the backend {record.name} does not have; "
            f"use --backend {GRADIENTS}"
        )
    if why := unread(record, [score]):
        raise InvalidValueError(why)
    if isinstance(score, ForwardScore) and score.differences and dtype != "float32":
        raise InvalidValueError(
            f"the score {score.name!r} takes differences of passes, which {dtype} rounds away; "
            "use --dtype float32"
        )


def check_batch(score: Score, environment: Environment, rows: slice | None = None) -> None:
    """Refuse images that this score cannot use. rows: those that are shown, all if None."""
    images = len(environment.batch.images)
    shown = images if rows is None else rows.stop - rows.start
    if score.needs_labels and environment.batch.labels is None:
        raise InvalidValueError(
            f"the score {score.name!r} needs labels and these images have none; "
            "use --data cifar10 --data-dir FOLDER, or --score naswot"
        )
    if shown < score.min_images:
        raise InvalidValueError(
            f"`images` must be at least {score.min_images} for the score {score.name!r} but got {shown}"
        )
    if score.max_images is not None and images > score.max_images:
        raise InvalidValueError(
            f"`images` must be at most {score.max_images} for the score {score.name!r} but got {images}"
        )
