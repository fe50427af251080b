"""Collects what the lemmas speak of from real random supernets: outputs of neurons, and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas import jobs
from znas.admitted import admitted
from znas.cluster.spread import Asked, each_of
from znas.diagnose.normality import FEWEST
from znas.diagnose.sites import Site, sites
from znas.hooks import QUIET, Hooks
from znas.request import Request
from znas.selection.operations import one_hot
from znas.selection.topology import select_edges
from znas.setup import Setup
from znas.shape import Many, Number, Shape
from znas_engine.arguments import check_between
from znas_engine.backends import get_backend
from znas_engine.backends.checks import check_batch
from znas_engine.data import Batch, Dataset, load
from znas_engine.environment import Environment, derive_seed, draw_environments
from znas_engine.errors import InvalidValueError
from znas_engine.evaluator import ALL, Evaluator
from znas_engine.graph import Conv
from znas_engine.journal import Journal
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.spaces.base import draw
from znas_engine.supernet.initialisation import check_init

Floats = NDArray[np.float64]

#: What varies within a sample, and whether its values are then independent of one another.
READINGS = {
    "weights": ("one unit, one fixed image, over weight draws", True),
    "both": ("one unit, over weight draws and an image of each", True),
    "inputs": ("one unit, one weight draw, over images", True),
    "pooled": ("many units and images of every weight draw together", False),
}
#: Values of a node that each weight draw adds to the pooled sample.
POOLED = 32
#: Environments in which every neuron is scored, one half to fit D(Z), the other to be intervened.
NEURON_ENVIRONMENTS = 12


@dataclass(frozen=True, slots=True)
class Activations:
    """Outputs under the mixture, with one initialisation and one kind of images.

    values[reading][i]: float64 [n], the sample at sites[i]. patch: the pixels that the unit of the first
    layer reads in the fixed image, float64 [d].
    """

    init: str
    source: str
    sites: tuple[Site, ...]
    values: dict[str, list[Floats]]
    patch: Floats


@dataclass(frozen=True, slots=True)
class ScoreSamples:
    """Scores V with one initialisation.

    over_environments: per mask in words (do(e, o) of one edge; ensembles), float64 [K]. every_neuron: V
    under all do(e, o), float64 [NEURON_ENVIRONMENTS, N]. architectures: V of random discrete architectures in
    one environment, float64 [K].
    """

    init: str
    source: str
    neurons: dict[str, Floats]
    ensembles: dict[str, Floats]
    every_neuron: Floats
    architectures: Floats


def numbers(count: int) -> Shape:
    return Many(Number(), count, count)


def fixed_and_fresh(source: Dataset, images: int, *, fixed_seed: int, seed: int) -> Batch:
    """Image 0 is the same for every `seed`; the others are a batch of their own."""
    fixed = source.batch(1, seed=fixed_seed).images
    return Batch(np.concatenate([fixed, source.batch(images - 1, seed=seed).images]), None)


def first_patch(site: Site, evaluator: Evaluator, image: NDArray[np.float32]) -> Floats:
    """The pixels [d] under the centre unit of the first convolution."""
    node = next(node for node in evaluator.graph.nodes if node.name == site.node)
    assert isinstance(node, Conv)
    top, left = (size // 2 * node.stride - node.padding for size in node.shape[1:])
    window = image[:, top : top + node.kernel, left : left + node.kernel]
    return window.astype(np.float64).ravel()


def centre(value: NDArray[np.float32]) -> Floats:
    """The unit that single-unit samples follow: channel 0, the middle pixel; float64 [n] over images."""
    unit: Floats = value[:, 0, value.shape[2] // 2, value.shape[3] // 2].astype(np.float64)
    return unit


def random_architectures(space: SearchSpace[Any], count: int, rng: np.random.Generator) -> Mask:
    """path(a) of independent uniform draws among those that the space admits: float32 [n, E, O]."""

    def one() -> Mask:
        selected = draw(space.candidates, rng)
        kept = select_edges(space, dict(enumerate(rng.random(len(space.edges)).tolist())), rng)
        return one_hot(selected, len(space.operations)) * kept[:, None]

    return np.stack([admitted(space, one) for _ in range(count)])


class Collector:
    """Measures piece by piece; a finished piece is one entry of the journal and never measured again.

    request: what a search would be told; its envs are the weight draws of every sample. depths: cells
    whose neurons are watched.
    """

    def __init__(
        self,
        request: Request,
        *,
        inits: Sequence[str],
        depths: int,
        hooks: Hooks = QUIET,
    ) -> None:
        asked = request.settled()
        assert asked.images is not None
        assert asked.envs is not None
        if asked.envs < max(FEWEST, NEURON_ENVIRONMENTS):
            raise InvalidValueError(f"`envs` must be at least {FEWEST} to judge a shape but got {asked.envs}")
        if asked.images < 2:
            raise InvalidValueError(f"`images` must be at least 2 for diagnose but got {asked.images}")
        self.inits = tuple(map(check_init, inits))
        self.depths = check_between("depths", depths, 1, 1000)
        self.progress = hooks.progress
        self.setup = Setup(request, Hooks(report=hooks.report))
        (self.score,) = self.setup.scores
        self.dataset, self.space = self.setup.dataset, self.setup.space
        from znas_engine.backends.torch_reference import TorchReference

        self.reference = TorchReference(
            self.space, self.setup.macro, norm=self.setup.norm, threads=self.setup.threads
        )
        self.sites = tuple(sites(self.space, self.reference.graph, depths))
        gaussian = load("gaussian", resolution=self.dataset.resolution)
        self.sources = {source.name: source for source in (gaussian, self.dataset)}
        check_batch(self.score, self._environments(self.inits[0])[0])
        self._done = 0

    @property
    def identity(self) -> dict[str, Any]:
        """What the pieces depend on beside their keys."""
        s = self.setup
        return jobs.measured(
            dataset=s.dataset,
            space=s.space,
            macro=s.macro,
            evaluator=get_backend(s.record),
            scores=s.scores,
            facts={name: value for name, value in self.facts.items() if name != "data"},
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What was measured, for a reader."""
        c = self.setup.conditions()
        return {
            "job": "diagnose",
            "space": self.space.name,
            "macro": asdict(self.setup.macro),
            "data": c.origin,
            "backend": c.backend,
            "device": ",".join(self.setup.devices),
            "dtype": c.dtype,
            "score": c.score,
            "images": c.images,
            "envs": c.envs,
            "norm": c.norm,
            "seed": c.seed,
            "depths": self.depths,
        }

    def collect(self, journal: Journal) -> tuple[list[Activations], list[ScoreSamples]]:
        """All samples; goes on where a killed run with the same journal stopped."""
        activations = [
            self._activations(journal, init, source)
            for init in self.inits
            for source in self.sources.values()
        ]
        scores = [self._scores(journal, init) for init in self.inits]
        return activations, scores

    @property
    def _pieces(self) -> int:
        envs = self.setup.envs
        return len(self.inits) * (len(self.sources) * (envs + 1) + envs + 1)

    def _piece(
        self, journal: Journal, key: str, shape: Shape, work: Callable[..., Any], *arguments: Any
    ) -> Any:
        found = jobs.piece(journal, key, shape, partial(work, *arguments))
        self._advance()
        return found

    def _advance(self) -> None:
        self._done += 1
        self.progress(self._done, self._pieces)

    def _of_sites(self, values: int) -> Shape:
        """So many values at every site."""
        return Many(numbers(values), len(self.sites), len(self.sites))

    # --- outputs ---

    def _activations(self, journal: Journal, init: str, source: Dataset) -> Activations:
        seed, envs, images = self.setup.seed, self.setup.envs, self.setup.images
        fixed_seed = derive_seed(seed, source.name, "fixed image")

        def environment(k: int) -> Environment:
            fresh = derive_seed(seed, source.name, k, "images")
            batch = fixed_and_fresh(source, images, fixed_seed=fixed_seed, seed=fresh)
            return Environment(derive_seed(seed, k, "weights"), init, batch)

        drawn = []
        step = self.setup.threads
        for start in range(0, envs, step):
            keys = [f"{init} {source.name} outputs {k}" for k in range(start, min(start + step, envs))]
            missing = [k for k, key in enumerate(keys, start) if key not in journal.done]
            found = dict(zip(missing, self._watch([environment(k) for k in missing]), strict=True))
            for k, key in enumerate(keys, start):
                shape = self._of_sites(2 + POOLED)
                drawn.append(self._piece(journal, key, shape, self._summary, k, source, found.get(k, {})))
        shape = self._of_sites(min(envs, source.size))
        over_inputs = self._piece(
            journal, f"{init} {source.name} inputs", shape, self._over_inputs, init, source
        )
        by_site = np.array(drawn).transpose(1, 2, 0)  # [sites, 2 + POOLED, K]
        fixed = source.batch(1, seed=fixed_seed).images[0]
        return Activations(
            init=init,
            source=source.name,
            sites=self.sites,
            values={
                "weights": list(by_site[:, 0]),
                "both": list(by_site[:, 1]),
                "inputs": [np.array(values) for values in over_inputs],
                "pooled": [values.ravel() for values in by_site[:, 2:]],
            },
            patch=first_patch(self.sites[0], self.reference, fixed),
        )

    def _watch(self, environments: Sequence[Environment]) -> list[dict[str, NDArray[np.float32]]]:
        names = [site.node for site in self.sites]
        return self.reference.activations(self.space.mixture(), environments, names)

    def _summary(self, k: int, source: Dataset, values: dict[str, NDArray[np.float32]]) -> list[list[float]]:
        """Per site: the unit on the fixed image, the unit on a fresh one, POOLED values of the fresh ones."""
        rng = np.random.default_rng(derive_seed(self.setup.seed, source.name, k, "pooled"))
        rows = []
        for site in self.sites:
            value = values[site.node]
            unit = centre(value)
            rows.append([unit[0], unit[1], *rng.choice(value[1:].ravel(), POOLED).tolist()])
        return [[float(x) for x in row] for row in rows]

    def _over_inputs(self, init: str, source: Dataset) -> list[list[float]]:
        """Per site: the unit over K images above one draw of weights."""
        seed, envs = self.setup.seed, self.setup.envs
        batch = source.batch(min(envs, source.size), seed=derive_seed(seed, source.name, "inputs"))
        environment = Environment(derive_seed(seed, 0, "weights"), init, Batch(batch.images, None))
        (values,) = self._watch([environment])
        return [centre(values[site.node]).tolist() for site in self.sites]

    # --- scores ---

    def _environments(self, init: str) -> Sequence[Environment]:
        s = self.setup
        return draw_environments(self.dataset, count=s.envs, images=s.images, init=init, seed=s.seed)

    def _scores(self, journal: Journal, init: str) -> ScoreSamples:
        space, candidates = self.space, self.space.options(0)
        neurons = np.stack([space.do(e, o) for e, o in space.neurons()])
        ensembles = np.stack([space.coalition(0, candidates[-3:]), space.mixture(), space.drop(0)])
        names = [
            f"{{{', '.join(space.operations[o] for o in candidates[-3:])}}} on {space.edges[0].label}",
            "mixture",
            space.describe(space.drop(0)),
        ]
        on_edge = len(candidates)
        environments = self._environments(init)
        wanted: dict[str, tuple[Mask, int]] = {}
        for k in range(len(environments)):
            kept = neurons if k < NEURON_ENVIRONMENTS else neurons[:on_edge]
            wanted[f"{init} scores {k}"] = np.concatenate([ensembles, kept]), k
        rng = np.random.default_rng(derive_seed(self.setup.seed, "architectures"))
        paths = random_architectures(space, self.setup.envs, rng)
        wanted[f"{init} architectures"] = paths, 0
        *rows, architectures = self._measured(journal, environments, wanted)
        several = len(ensembles)
        over = np.array([row[: several + on_edge] for row in rows])
        return ScoreSamples(
            init=init,
            source=self.dataset.name,
            neurons={space.describe(neurons[i]): over[:, several + i] for i in range(on_edge)},
            ensembles={name: over[:, i] for i, name in enumerate(names)},
            every_neuron=np.array([row[several:] for row in rows[:NEURON_ENVIRONMENTS]]),
            architectures=np.array(architectures),
        )

    def _measured(
        self, journal: Journal, environments: Sequence[Environment], wanted: dict[str, tuple[Mask, int]]
    ) -> Iterator[Any]:
        """Of every piece the scores of its masks in one of the environments."""

        def made(keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
            asked = (
                Asked(masks, self.score, environments[k : k + 1], ALL)
                for masks, k in map(wanted.__getitem__, keys)
            )
            for number, found in each_of(self.setup.evaluator, asked):
                yield keys[number], found.values[0].tolist()

        shapes = {key: numbers(len(masks)) for key, (masks, _) in wanted.items()}
        for found in jobs.each_piece(jobs.InJournal(journal), shapes, made):
            self._advance()
            yield found
