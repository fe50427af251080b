"""Ways to spend masked passes: what each finds in a table with so many masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from znas.interventions.query import Query
from znas.interventions.scorer import Answer
from znas.reproduce.lookups import Known
from znas.reproduce.permuted import Permuted
from znas.selection.active import Seen, explore
from znas.selection.aggregate import mean
from znas.selection.criteria import Floats, KeepOne, Shapley, spread
from znas.selection.finalists import losses
from znas.selection.shortlist import halved
from znas.selection.strategies import AllAtOnce, Decision, Interactions, Strategy
from znas_engine.scores import StaticScore
from znas_engine.spaces import Mask


@dataclass(frozen=True, slots=True)
class Found:
    """row: of the pool. masks: that were measured, each environment's counted."""

    row: int
    masks: int


#: None where so many masks are too few.
Spend = Callable[[Known, int], Found | None]


@dataclass(frozen=True, slots=True)
class Way:
    """what: in words. spend: of what is known and a number of masks, what is found. there: whether this can
    be asked of that space and these scores."""

    name: str
    what: str
    spend: Spend
    there: Callable[[Known], bool] = lambda known: True


def contest(known: Known, order: Iterable[int], masks: int) -> Found | None:
    """The best of the first rows of `order` and as many random ones, halved over environments as a search's
    shortlist is (`znas.selection.shortlist.halved`)."""
    count = _finalists(known, masks)
    if count < 2:
        return None
    first = list(islice(order, count))
    taken = set(first)
    references = list(islice((row for row in known.shuffled if row not in taken), count))
    rows = first + references
    row_of = {known.pool[row].tobytes(): row for row in rows}
    spent = 0

    def total(some: Sequence[Mask], environment: int) -> Floats:
        nonlocal spent
        spent += len(some)
        return known.total([row_of[mask.tobytes()] for mask in some], references, environment)

    everyone = [known.pool[row] for row in rows]
    always = np.arange(len(rows)) >= len(first)
    began = total(everyone, 0)
    found = halved(everyone, began, always, count, len(known.paid), total, known.rng("ties"))
    return Found(row_of[found.masks[0].tobytes()], spent)


def _finalists(known: Known, masks: int) -> int:
    """The most for which so many masks are enough, and with as many random ones the pool."""

    def cost(count: int) -> int:
        again = [count - (-count // 2**k) for k in range(1, len(known.paid))]
        return int(2 * count + sum(again))

    count = min(masks // 2, len(known.pool) // 2)
    while count > 1 and cost(count) > masks:
        count -= 1
    return count


def asked(known: Known, strategy: Strategy) -> int:
    """How many masks of the supernet a strategy has measured in an environment."""
    seen: set[bytes] = set()

    def ask(queries: Sequence[Query]) -> list[Answer]:
        seen.update(query.mask.tobytes() for query in queries)
        return [Answer(np.zeros(1), intervened=False) for _ in queries]

    strategy.decide(ask, known.space, mean, known.rng("asked"))
    return len(seen)


Made = Callable[[Known], Strategy]


def _decided(known: Known, strategy: Strategy, environments: int) -> Decision:
    ask = partial(known.supernet.ask, environments)
    return strategy.decide(ask, known.space, known.combine, known.rng("ties"))


def _sums(known: Known, decision: Decision) -> Floats:
    """Of every architecture the sum of its operations' worths, each relative to its edge's best, float64
    [N]."""
    worths = spread(known.space, [known.combine(worth.values) for worth in decision.worths])
    lost = losses(worths)
    found: Floats = -np.where(known.everyone > 0, lost, 0.0).sum((1, 2))
    return found


def _joint(known: Known, decision: Decision) -> Floats:
    """Of every architecture what its operations are worth together, float64 [N]."""
    assert decision.joint is not None
    return decision.joint(known.everyone.argmax(2))


def largest_do(known: Known, masks: int) -> Found | None:
    """Algorithm 1 in as many environments as there are masks for."""
    strategy = AllAtOnce(KeepOne())
    cost = asked(known, strategy)
    if masks < cost:
        return None
    decision = _decided(known, strategy, masks // cost)
    return Found(next(known.in_order(_sums(known, decision))), masks // cost * cost)


def by_operations(
    made: Made, worth: Callable[[Known, Decision], Floats], known: Known, masks: int
) -> Found | None:
    """Finalists by what operations are worth, measured with half of the masks, in one environment at
    least."""
    strategy = made(known)
    cost = asked(known, strategy)
    environments = max(1, masks // 2 // cost)
    left = masks - environments * cost
    if _finalists(known, left) < 2:
        return None
    decision = _decided(known, strategy, environments)
    found = contest(known, known.in_order(worth(known, decision)), left)
    return None if found is None else Found(found.row, found.masks + environments * cost)


def by_prior(known: Known, masks: int) -> Found | None:
    assert known.prior is not None
    return contest(known, known.in_order(known.prior.predict(known.everyone)), masks)


def at_random(known: Known, masks: int) -> Found | None:
    """References and finalists are drawn in one order, so that those of other ways are among them."""
    return contest(known, reversed(known.shuffled), masks)


def shortlisted(known: Known, masks: int) -> Found | None:
    return contest(known, known.in_order(known.ahead[known.which]), masks)


def actively(known: Known, masks: int, *, do: bool) -> Found | None:
    """`znas.selection.active`: half of the masks are random architectures in all environments, among which
    ranks are taken, and the rest is where the winner may be. do: whether a quarter is do() of every
    operation, in one environment at least, before all else."""
    environments = len(known.paid)
    shown, spent = _shown(known, masks) if do else (None, 0)
    count = min((masks - spent) // 2 // environments, len(known.pool))
    if count < 2:
        return None
    references = np.array(known.shuffled[:count])
    values = np.full((len(known.pool), environments), np.nan)
    for k in range(environments):
        values[references, k] = known.total(references, references, k)
    spent += references.size * environments
    expected = explore(
        known.pool,
        known.ahead,
        values,
        lambda rows, k: known.total(rows, references, k),
        masks - spent,
        known.rng("learnt"),
        shown,
    )
    spent += int((~np.isnan(values)).sum()) - references.size * environments
    return Found(int(expected.argmax()), spent)


def _shown(known: Known, masks: int) -> tuple[Seen, int]:
    """What do() of every operation shows by scores with a pass, and its masks."""
    asks = [known.space.do(e, o) for e, o in known.space.neurons()]
    environments = max(1, masks // 4 // len(asks))
    paid = [not isinstance(score, StaticScore) for score in known.supernet.setup.scores]
    columns = [known.combine(known.supernet.values(asks, k)[paid]) for k in range(environments)]
    values = np.stack(columns, axis=1)
    seen = Seen.of(np.stack(asks), values, np.zeros(len(asks)), whole=False)
    return seen, values.size


def _do(known: Known) -> Strategy:
    return AllAtOnce(KeepOne())


def _permuted(known: Known) -> Strategy:
    return Permuted(_do(known), known.rng("permuted"))


def _shapley(known: Known) -> Strategy:
    return AllAtOnce(Shapley("exact", None, None, known.rng("game")))


def _pairs(known: Known) -> Strategy:
    return Interactions(known.rng("pairs"))


WAYS = (
    Way(
        "do",
        "Algorithm 1: per edge the operation with the largest score under do(edge, operation)",
        largest_do,
    ),
    Way("do-finalists", "finalists: the best sums of do-scores", partial(by_operations, _do, _sums)),
    Way(
        "do-permuted",
        "negative control: the same with do-scores permuted among all operations",
        partial(by_operations, _permuted, _sums),
    ),
    Way(
        "shapley",
        "finalists: the best sums of exact Shapley values of an edge's operations",
        partial(by_operations, _shapley, _sums),
    ),
    Way(
        "interactions",
        "finalists: the best sums of do-scores and of all interactions of two operations",
        partial(by_operations, _pairs, _joint),
        lambda known: not known.space.contested_nodes(),
    ),
    Way(
        "prior",
        "finalists: the largest mean of the shipped prior, which costs nothing here",
        by_prior,
        lambda known: known.prior is not None,
    ),
    Way("random", "finalists: at random too", at_random),
    Way(
        "shortlist",
        "finalists: the first by scores without a pass",
        shortlisted,
        lambda known: len(known.free) > 0,
    ),
    Way(
        "active",
        "a Bayesian model chooses what is measured next, and answers",
        partial(actively, do=False),
    ),
    Way("active-do", "the same after do-scores", partial(actively, do=True)),
)
