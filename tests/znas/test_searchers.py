"""Baselines: the canonical form against real networks, each searcher against brute force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SMALL, small
from tests.znas.functions import functions
from znas import priors
from znas.costs.counts import flops
from znas.costs.live import live
from znas.meaning import reaching
from znas.request import Request
from znas.searchers import (
    SEARCHERS,
    Evolution,
    Exhaustive,
    Naswot,
    OfPrior,
    Shortlist,
    Task,
    TeNas,
    ZeroCostPT,
    run,
)
from znas.searchers.base import admitted_path
from znas.searchers.evolution import mutate
from znas.searchers.thin import thin
from znas.selection.aggregate import log_rank, mean, mean_rank
from znas.setup import Setup
from znas_engine.environment import derive_seed
from znas_engine.errors import InvalidValueError
from znas_engine.graph import Mixed
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.spaces.darts import Darts
from znas_engine.spaces.nasbench201 import NasBench201, NasBench201Genotype
from znas_engine.spaces.nasbench201.genotype import EDGES, OPERATIONS
from znas_engine.spaces.nasbench201.isomorphism import CanonicalCell, canonical, classes

pytestmark = pytest.mark.ours

NB201, DARTS = NasBench201(), Darts()
SPACES = pytest.mark.parametrize("space", [NB201, DARTS], ids=["nasbench201", "darts"])

cells = st.tuples(*[st.sampled_from(OPERATIONS)] * len(EDGES)).map(NasBench201Genotype)


# --- the canonical form ---


def logits(genotype: NasBench201Genotype, form: CanonicalCell) -> Any:
    """The real network at random statistics and offsets, in float64; the weights of a convolution are a
    function of its canonical number and of the layer alone."""
    import torch

    from znas_engine.spaces.nasbench201.network import Network

    network = Network(genotype.structure(), channels=2, cells=1, classes=3).double().eval()
    number = {e: i for i, e in enumerate(form.edges)}
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        parts = name.split(".")
        if "edges" in parts:
            e = int(parts[parts.index("edges") + 1])
            name = f"{parts[1]} {number.get(e, 'dead')} {'.'.join(parts[5:])}"
        generator = torch.Generator().manual_seed(sum(i * ord(c) for i, c in enumerate(name, 1)))
        value.copy_(torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.5)
        if value.dim() > 1:
            value.sub_(1.0)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        return network(torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)).numpy()


@settings(max_examples=40)
@given(st.data())
def test_cells_of_one_form_are_one_function(data: st.DataObject) -> None:
    """Real networks with equal weights on corresponding convolutions give equal logits."""
    members = data.draw(st.sampled_from([c for c in classes() if len(c) > 1]))
    a, b = data.draw(st.permutations(members).map(lambda order: order[:2]))
    assert canonical(a) == canonical(b)
    np.testing.assert_allclose(logits(a, canonical(a)), logits(b, canonical(b)), rtol=1e-9)


@settings(max_examples=60)
@given(cells, st.integers(0, 5), st.sampled_from(OPERATIONS))
def test_cells_of_different_forms_are_different_functions(
    cell: NasBench201Genotype, edge: int, operation: str
) -> None:
    """One edge changed: another form is another function, so the form does not keep apart what is equal
    (weights are generic, so a coincidence has probability zero)."""
    other = NasBench201Genotype((*cell.operations[:edge], operation, *cell.operations[edge + 1 :]))
    first, second = canonical(cell), canonical(other)
    equal = np.allclose(logits(cell, first), logits(other, second), rtol=1e-9)
    assert equal == (first == second)


def test_a_shared_convolution_is_not_two() -> None:
    """2 c(x) and a(x) + b(x): the benchmark's text unites them, the form does not."""
    shared = NB201.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|")
    double = NB201.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|")
    assert canonical(shared) != canonical(double)
    assert len(canonical(shared).convolutions) == 1


def test_classes_are_a_partition() -> None:
    every = [cell for members in classes() for cell in members]
    assert len(every) == len(set(every)) == 5**6
    forms = [canonical(members[0]) for members in classes()]
    assert len(set(forms)) == len(forms)
    for members in classes():
        assert len({NB201.admits(NB201.mask(cell)) for cell in members}) == 1


def test_functions_in_the_file_are_those_of_the_form() -> None:
    assert list(NB201.functions()) == functions()


# --- searchers on a known score ---


def task(space: SearchSpace[Any], value: Callable[[Mask], float], seed: int = 0) -> tuple[Task, list[Mask]]:
    """A task whose score is a function of the mask, and the masks that were asked for."""
    asked: list[Mask] = []

    def observe(masks: Mask) -> Any:
        asked.extend(masks)
        return np.array([[value(mask) for mask in masks]])

    return Task(space, small(space), observe, mean, np.random.default_rng(seed)), asked


def additive(space: SearchSpace[Any], seed: int = 1) -> tuple[Any, Callable[[Mask], float]]:
    weights = np.random.default_rng(seed).normal(size=space.shape)
    return weights, lambda mask: float((mask * weights).sum())


def best_additive(space: SearchSpace[Any], weights: Any) -> Mask:
    """The architecture of the largest sum: per node its best operations, on its best edges."""
    mask = np.zeros(space.shape, dtype=np.float32)
    allowed = np.where(space.candidates, weights, -np.inf)
    for into in space.nodes():
        for e in sorted(into, key=lambda e: -allowed[e].max())[: space.in_edges]:
            mask[e, allowed[e].argmax()] = 1
    return mask


def test_perturbation_and_pruning_find_the_additive_optimum() -> None:
    """NAS-Bench-201: both remove what costs least, which an additive score makes exact."""
    weights, value = additive(NB201)
    for searcher in (ZeroCostPT(1), ZeroCostPT(), TeNas()):
        allowed = np.where(NB201.computing, weights, -np.inf) if isinstance(searcher, TeNas) else weights
        given_task, _ = task(NB201, value)
        assert np.array_equal(searcher.choose(given_task), best_additive(NB201, allowed)), searcher


@SPACES
def test_a_perturbation_zeroes_one_weight_at_a_time(space: SearchSpace[Any]) -> None:
    """Replayed from what it asked, on a score that is no sum: an edge keeps the operation without which, all
    other weights as they were, the score was lowest; then, node by node, the edges without which it was."""
    weights = np.random.default_rng(2).normal(size=space.shape)

    def value(mask: Mask) -> float:
        return float(np.sin(5 * (mask * weights).sum(1)).sum() + (mask * weights).sum() ** 2)

    given_task, asked = task(space, value)
    chosen = ZeroCostPT(1).choose(given_task)
    base, rows = space.mixture(), iter(asked)
    seen: list[int] = []
    for _ in space.edges:
        first = next(rows)
        ((edge, _),) = np.argwhere(first != base).tolist()
        players = space.options(edge)
        masks = [first, *(next(rows) for _ in players[1:])]
        for o, mask in zip(players, masks, strict=True):
            wanted = base.copy()
            wanted[edge, o] = 0
            assert np.array_equal(mask, wanted)
        base[edge] = 0
        base[edge, players[int(np.argmin([value(mask) for mask in masks]))]] = 1
        seen.append(edge)
    assert sorted(seen) == list(range(len(space.edges)))
    assert len({space.edges[e].cell for e in seen[:2]}) == len({edge.cell for edge in space.edges})
    for _ in space.contested_nodes():
        first = next(rows)
        (edge,) = np.flatnonzero((first != base).any(1))
        (into,) = (node for node in space.nodes() if edge in node)
        losses = [value(mask) for mask in (first, *(next(rows) for _ in into[1:]))]
        for e in sorted(into, key=lambda e: losses[into.index(e)])[space.in_edges :]:
            base[e] = 0
    assert not list(rows)
    assert np.array_equal(chosen, base)


def test_iterations_are_compared_by_their_own_score() -> None:
    """The answer has the best score of all that the iterations end with, and no mask is measured twice."""
    weights = np.random.default_rng(4).normal(size=(6, 5, 6, 5))

    def value(mask: Mask) -> float:
        return float(np.einsum("eo,eofp,fp", mask, weights, mask)) if NB201.admits(_nearest(mask)) else -99.0

    given_task, asked = task(NB201, value)
    chosen = ZeroCostPT(10).choose(given_task)
    ends = [mask for mask in asked if ((mask == 0) | (mask == 1)).all() and (mask.sum(1) == 1).all()]
    assert len(ends) > 1
    assert value(chosen) == max(map(value, ends))
    assert len({mask.tobytes() for mask in asked}) == len(asked)


def _nearest(mask: Mask) -> Mask:
    return np.eye(5, dtype=np.float32)[mask.argmax(1)]


def test_te_nas_prunes_step_by_step() -> None:
    """Replayed by a plain loop: 4, 3, 2 operations per edge are left, then one; `none` is none of them, good
    as it would be."""
    weights = np.random.default_rng(3).normal(size=(6, 5))

    def value(mask: Mask) -> float:
        return float(np.sin(3 * mask @ weights.T).sum() + 10 * mask[:, 0].sum())

    given_task, asked = task(NB201, value)
    chosen = TeNas().choose(given_task)
    left = {e: list(range(1, 5)) for e in range(6)}
    count = 0
    while any(len(operations) > 1 for operations in left.values()):
        losses = {}
        for e, o in [(edge, o) for edge in left for o in left[edge]]:
            mask = np.zeros((6, 5), dtype=np.float32)
            for f, operations in left.items():
                stay = [q for q in operations if (f, q) != (e, o)]
                mask[f, stay] = 1 / len(stay)
            losses[e, o] = value(mask)
            count += 1
        for e in left:
            left[e].remove(max(left[e], key=lambda o: losses[e, o]))
    assert len(asked) == count
    assert {e: [int(chosen[e].argmax())] for e in left} == left


def test_te_nas_prunes_the_edges_of_a_node_together() -> None:
    """Node by node, those whose loss leaves the highest score go; what a later node asks is asked without
    them."""
    weights, value = additive(DARTS)
    given_task, asked = task(DARTS, value)
    chosen = TeNas().choose(given_task)
    count = sum(map(len, DARTS.contested_nodes()))
    base = np.maximum.reduce(asked[-count:])  # one per edge, before edges go: every one is in some mask
    for into in DARTS.contested_nodes():
        for e, mask in zip(into, asked[-count:], strict=False):
            assert not mask[e].any()
        del asked[-count : len(asked) - count + len(into)]
        count -= len(into)
        worth = {e: (base[e] * weights[e]).sum() for e in into}
        assert {e for e in into if chosen[e].any()} == set(sorted(into, key=lambda e: -worth[e])[:2])


def test_linear_regions_differ_between_thin_networks(test_data: Path) -> None:
    """As TE-NAS counts them: fewer than images, and not the same for every architecture; the number of images
    for all of them in a network of the usual size."""
    given = Request(
        **{"preset": "naswot", "data": "cifar10", "data_dir": test_data, "score": "linear_regions"},
        **{"resolution": 4, "channels_in": 1, "images": 1000},
    )
    masks = np.stack([NB201.mask(NB201.parse([o] * 6)) for o in range(1, 5)])
    (narrow,) = Setup(replace(given, space=thin(NB201))).measure(masks)
    assert len(set(narrow)) > 1
    assert narrow.max() < 1000
    (usual,) = Setup(replace(given, supernet_cells=1, images=100)).measure(masks[1:3])
    assert set(usual) == {100}


@SPACES
def test_a_thin_network_ends_with_the_first_cells_that_hold_all(space: SearchSpace[Any]) -> None:
    """Every operation of the space reaches the logits; one cell less, and some would be missing."""
    narrow = thin(space)
    macro = narrow.search_macro(resolution=4, classes=3)
    assert macro.channels == 1
    graph = narrow.supernet(macro)
    whole = space.supernet(macro)
    assert reaching(graph) == reaching(whole)
    assert graph.nodes[:-2] == whole.nodes[: len(graph.nodes) - 2]
    assert graph.cells == whole.cells[: len(graph.cells)]
    inside = [node for node in graph.nodes[: graph.cells[-2] + 1] if isinstance(node, Mixed)]
    assert {slot for node in inside for slot in node.slots} - {None} < reaching(whole)
    assert type(space).supernet(space, macro) == whole  # the space itself stays as it was


def test_a_shortlist_holds_those_that_compute_most() -> None:
    """Against every function: no other has more live FLOPs than the least of the first; the best of them and
    of the random ones is found, by ranks among the random ones."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 6, 5)) * np.array([1, 1e6])[:, None, None]
    asked: list[Mask] = []

    def observe(masks: Mask) -> Any:
        asked.extend(masks)
        return np.einsum("geo,seo->sg", masks, weights)

    macro = small(NB201)
    chosen = Shortlist(6, 30).choose(Task(NB201, macro, observe, log_rank, np.random.default_rng(0)))

    def passed(mask: Mask) -> int:
        return live(NB201.network(NB201.genotype(mask), macro)).flops

    assert len(asked) == 36
    least = min(map(passed, asked[:6]))
    sums = (np.stack([NB201.mask(g) for g in NB201.functions()]) * NB201.costs(macro, flops)).sum((1, 2))
    for i in np.argsort(-sums)[:200]:  # the others have fewer FLOPs, live or not, than the first six
        mask = NB201.mask(NB201.functions()[i])
        assert passed(mask) <= least or any(np.array_equal(mask, each) for each in asked[:6])
    assert sums[np.argsort(-sums)[200]] - sums.max() < least - max(map(passed, asked[:6]))
    values = observe(np.stack(asked))
    best = log_rank(values, values[:, 6:36])[:36]
    assert np.array_equal(chosen, asked[int(best.argmax())])


@SPACES
def test_sampling_and_evolution_return_the_best_they_saw(space: SearchSpace[Any]) -> None:
    _, value = additive(space)
    for searcher, budget in ((Naswot(40), 40), (Evolution(budget=60, population=8, tournament=3), 60)):
        given_task, asked = task(space, value)
        chosen = searcher.choose(given_task)
        assert len(asked) <= budget
        assert value(chosen) == max(map(value, asked))
        for mask in asked:
            assert space.admits(mask)


def test_several_scores_are_ranked_over_the_population() -> None:
    """The chosen one has the best sum of log-ranks among all that were asked, whatever the scores' scales."""
    weights = np.random.default_rng(5).normal(size=(3, 6, 5)) * np.array([1, 1e6, 1e-6])[:, None, None]
    asked: list[Mask] = []

    def observe(masks: Mask) -> Any:
        asked.extend(masks)
        return np.einsum("geo,seo->sg", masks, weights)

    several = Task(NB201, small(NB201), observe, log_rank, np.random.default_rng(0))
    chosen = Naswot(50).choose(several)
    assert np.array_equal(chosen, asked[int(log_rank(observe(np.stack(asked)))[:50].argmax())])


def test_evolution_climbs() -> None:
    """With the same budget it beats random sampling on an additive score in nearly every run."""
    _, value = additive(NB201)
    wins = 0
    for seed in range(20):
        evolved = Evolution(budget=120, population=10).choose(task(NB201, value, seed)[0])
        sampled = Naswot(120).choose(task(NB201, value, seed)[0])
        wins += value(evolved) >= value(sampled)
    assert wins >= 17  # 20 fair coins give 17 or more with probability 0.0013


@SPACES
def test_mutation_changes_one_thing(space: SearchSpace[Any]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        parent = admitted_path(space, rng)
        child = mutate(space, parent, rng)
        assert (parent != child).sum() == 2
        assert child.sum() == parent.sum()
        space.genotype(child)


def test_exhaustive_is_the_maximum_over_all_cells() -> None:
    """On a score of the function itself; every class is asked once."""

    def value(mask: Mask) -> float:
        form = canonical(NB201.genotype(mask))
        return len(form.convolutions) - 0.1 * len(form.output) if NB201.admits(mask) else -9

    given_task, asked = task(NB201, value)
    chosen = Exhaustive().choose(given_task)
    everything = [NB201.mask(NasBench201Genotype(c)) for c in product(OPERATIONS, repeat=6)]
    assert value(chosen) == max(map(value, everything))
    assert len(asked) == sum(NB201.admits(NB201.mask(members[0])) for members in classes())
    with pytest.raises(InvalidValueError, match="one that lists its functions; darts does not"):
        Exhaustive().choose(task(DARTS, value)[0])


@SPACES
def test_parameters_are_those_of_the_network(space: SearchSpace[Any]) -> None:
    """The sum over a mask differs from the network's own count by one constant; so the largest is exact."""
    rng = np.random.default_rng(0)
    macro = small(space)
    weights = space.costs(macro)
    differences = set()
    for _ in range(20):
        mask = space.random_path(rng)
        network = space.network(space.genotype(mask), macro).parameters
        differences.add(network - float(weights[mask > 0].sum()))
    assert len(differences) == 1
    largest = SEARCHERS["most_parameters"].choose(Task(space, macro, _never, mean, rng))
    assert np.array_equal(np.sort(weights[largest > 0]), np.sort(weights[best_additive(space, weights) > 0]))


def _never(masks: Mask) -> Any:
    raise AssertionError("nothing is to be measured")


@SPACES
def test_the_argmax_of_a_prior(space: SearchSpace[Any]) -> None:
    """The operation of the largest mean on every edge, the edges without which it is lowest; nothing is
    measured."""
    path = space.prior
    assert path is not None
    prior = priors.load(path)
    chosen = OfPrior(prior).choose(Task(space, small(space), _never, mean, np.random.default_rng(0)))
    for into in space.nodes():
        kept = [e for e in into if chosen[e].any()]
        for e in kept:
            assert chosen[e, int(np.nanargmax(prior.mean[e]))] == 1
        if len(kept) < len(into):
            assert prior.drop_mean is not None
            assert set(kept) == set(sorted(into, key=lambda e: prior.drop_mean[e])[:2])  # type: ignore[index]
    other = DARTS if space is NB201 else NB201
    with pytest.raises(InvalidValueError, match=f"the prior is for {space.name}, not for {other.name}"):
        OfPrior(prior).choose(Task(other, small(other), _never, mean, np.random.default_rng(0)))


# --- on the real supernet ---


@pytest.mark.parametrize(
    ("space", "name"),
    [(NB201, name) for name in ("naswot", "zero_cost_pt", "evolution", "te_nas", "random")]
    + [(DARTS, "naswot"), (DARTS, "random")],
)
def test_searchers_run_on_the_supernet(space: SearchSpace[Any], name: str) -> None:
    """The same seed gives the same architecture; the account holds; other seeds see other networks."""
    searcher = {"naswot": Naswot(3), "evolution": Evolution(6, 3, 2), "te_nas": TeNas()}.get(
        name, SEARCHERS[name]
    )
    given = Request(preset="naswot", space=space.name, images=6, resolution=8, seed=1, **SMALL[space.name])
    first, again = run(searcher, given), run(searcher, given)
    assert first.genotype == again.genotype
    assert first.evaluations == again.evaluations
    assert (first.evaluations > 0) == (name != "random")
    seconds = first.seconds
    assert seconds.total == pytest.approx(seconds.setup + seconds.evaluate + seconds.select)
    assert (seconds.evaluate > 0) == (name != "random")


def test_scores_of_several_supernets_are_ranked_together() -> None:
    """`beside`: its rows join, its passes and seconds count."""
    given = Request(preset="naswot", images=6, resolution=8, aggregate="rank", supernet_channels=2)
    given = replace(given, supernet_cells=1)
    other = replace(given, score="swap", supernet_channels=4)
    alone, both = run(Naswot(5), given), run(Naswot(5), given, beside=[other])
    assert both.evaluations == 2 * alone.evaluations
    every = [Setup(each) for each in (given, other)]
    rng = np.random.default_rng(derive_seed(0, "searcher", "Naswot"))
    masks = np.stack([admitted_path(NB201, rng) for _ in range(5)])
    values = np.concatenate([each.measure(masks) for each in every])
    found = mean_rank(values)
    assert found[[NB201.genotype(m) == both.genotype for m in masks].index(True)] == found.max()


def test_bad_numbers() -> None:
    with pytest.raises(InvalidValueError, match="`samples` must be between 1 and 1,000,000 but got 0"):
        Naswot(0)
    with pytest.raises(InvalidValueError, match="`budget` must be at least the population, 25, but got 9"):
        Evolution(budget=9)
    with pytest.raises(InvalidValueError, match="`iterations` must be between 1"):
        ZeroCostPT(0)
