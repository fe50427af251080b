"""What a request resolved to: supernet, images, machine. The only place that assembles an evaluator."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.cluster.place import Place
from znas.cluster.spread import Asked, Spread, each_of
from znas.cluster.where import check_installed, place_of
from znas.costs.latencies import Latencies
from znas.costs.limits import Budget
from znas.costs.sizes import largest_that_leaves_room, sizes
from znas.front import Axis
from znas.hooks import QUIET, Hooks, Report
from znas.meaning import check_norm_is_read, check_size, check_workers_are_read, given
from znas.request import Request
from znas_engine.arguments import function, instance
from znas_engine.backends import choose_backend, get_backend
from znas_engine.backends.checks import as_masks, check_score, supernet_of
from znas_engine.backends.passes import count_passes
from znas_engine.cores import available_cores
from znas_engine.data import Dataset, load
from znas_engine.data.at_hand import AtHand
from znas_engine.environment import Environment, draw_environments
from znas_engine.errors import InvalidValueError
from znas_engine.evaluator import ALL, Evaluator
from znas_engine.footprint import check_memory
from znas_engine.gpu import with_card
from znas_engine.progress import Progress, unheard
from znas_engine.scores import Score, get_scores
from znas_engine.scores.labels import check_labels
from znas_engine.spaces import Macro, Mask, SearchSpace, get_space
from znas_engine.supernet.initialisation import check_init
from znas_engine.supernet.normalisation import check_norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under what scores are measured, plain: `Setup` without what is alive in it.

    data: the data set's name, origin: where its images come from. device: a GPU with its card's name; the CPU
    where nothing was measured. agreement: share of the first environment's images whose largest logit under
    the mixture is that of float32; None in float32, and where nothing was measured.
    """

    scores: tuple[str, ...]
    data: str
    origin: str
    backend: str
    device: str
    dtype: str
    norm: str
    init: str
    seed: int
    envs: int
    images: int
    threads: int
    agreement: float | None

    @property
    def score(self) -> str:
        """`naswot`, or `naswot+path_norm`."""
        return "+".join(self.scores)

    @property
    def rows(self) -> tuple[tuple[int, str], ...]:
        """(environment, score) of every row of measured values, in order."""
        return tuple((k, score) for k in range(self.envs) for score in self.scores)


class Setup:
    """Resolves a request, and measures.

    space, scores, dataset, macro (of the supernet), pictures (the data as they were asked for; `dataset` is
    the same data as the supernet sees it), trained (the size of the network that is handed over), norm, init,
    dtype, envs, images, seed, threads, record (of the backend) and devices: what will be measured, and where.
    Weights, images and the evaluator are made when something is first measured: a
    search that only draws touches none. evaluations (masked passes), setup_seconds, evaluate_seconds: the
    account so far.
    Raises:
        ZnasError: whatever the request names and is not here, or does not fit the rest of it.
    """

    def __init__(self, request: Request, hooks: Hooks = QUIET) -> None:
        self.started = time.perf_counter()
        self.request: Request = instance("request", request, Request)
        asked = request.settled()
        assert asked.images is not None
        assert asked.norm is not None
        assert asked.envs is not None
        self.hooks: Hooks = instance("hooks", hooks, Hooks)
        function("progress", hooks.progress)
        function("report", hooks.report)
        self.space: SearchSpace[Any] = get_space(asked.space)
        self.scores: tuple[Score, ...] = get_scores(asked.score)
        check_workers_are_read(asked, self.scores, self.space)
        check_installed(asked.on)
        self.norm = check_norm(asked.norm)
        self.init = check_init(asked.init)
        self.dtype, self.envs, self.images, self.seed = asked.dtype, asked.envs, asked.images, asked.seed
        self.threads = asked.threads or available_cores()
        self.pictures = load(
            asked.data,
            data_dir=asked.data_dir,
            resolution=asked.resolution,
            channels_in=asked.channels_in,
            report=hooks.report,
        )
        self.dataset = _seen(self.pictures, asked, hooks.report)
        self.macro: Macro = self.space.macro_for(
            self.dataset, channels=asked.supernet_channels, cells=asked.supernet_cells
        )
        usual = self.space.evaluation_macro_for(self.pictures)
        self._sizes = sizes(self.space, usual, *asked.sizes())
        if len(self._sizes) > 1 and not asked.limits():
            raise InvalidValueError(
                "limits choose from a range of --network-channels or --network-cells, and there is none: add "
                "--max-params or another, or give one number"
            )
        graph = supernet_of(self.space, self.macro)
        check_memory(graph, self.images)
        check_size(self.space, self.macro, graph)
        check_norm_is_read(asked, self.scores, self.space)
        choice = choose_backend(asked.backend, self.scores, asked.device, asked.dtype, graph)
        self.record, self.devices = choice.record, choice.devices
        for score in self.scores:
            check_score(score, self.record, self.dtype)
        check_labels(self.scores, self.dataset)
        if choice.remark is not None:
            hooks.report(choice.remark)
        self._budgets: dict[Macro, Budget] = {}
        self._learnt: dict[tuple[Macro, str], Latencies] = {}
        #: Whether anything was measured, and how many passes there will be.
        self.measured = False
        self._ahead = 0
        self._estimate: Progress = unheard
        self.evaluations = 0
        self.setup_seconds = 0.0
        self.evaluate_seconds = 0.0

    @property
    def backend(self) -> str:
        """The name of the backend."""
        return self.record.name

    def at_hand(self, request: Request) -> Request:
        """`request`, which asks for the same images at any size: what was read once is not read again."""
        return replace(request, data=self._at_hand, data_dir=None)

    @cached_property
    def _at_hand(self) -> AtHand:
        asked = self.request
        if isinstance(asked.data, AtHand):
            return asked.data
        found = AtHand(asked.data, asked.data_dir)
        found.keep(asked.resolution, asked.channels_in, self.pictures)
        if self.dataset is not self.pictures:
            found.keep(self.dataset.resolution, asked.channels_in, self.dataset)
        return found

    @cached_property
    def trained(self) -> Macro:
        """The size of the network that is handed over."""
        if len(self._sizes) == 1:
            return self._sizes[0]
        return largest_that_leaves_room(self.space, self._sizes, self._budget, self.hooks.report)

    @cached_property
    def budget(self) -> Budget | None:
        """What the network may cost; None where nothing was asked."""
        return self._budget(self.trained) if self.request.limits() else None

    @cached_property
    def pareto(self) -> Axis | None:
        """The cost of the front that was asked for."""
        asked, size = self.request.pareto, self.trained
        if asked is None:
            return None
        return Axis.of(asked, self.space, size, partial(self._latencies, size), report=self.hooks.report)

    def _budget(self, size: Macro) -> Budget:
        """The limits of networks of that size; what was measured for them is kept."""
        if size not in self._budgets:
            latencies = partial(self._latencies, size)
            self._budgets[size] = Budget.of(self.request.limits(), self.space, size, latencies)
        return self._budgets[size]

    def _latencies(self, size: Macro, target: str) -> Latencies:
        """Of networks of that size on one target, which are learnt once."""
        table = self.request.latency_table
        made = Latencies(self.space, size, target, table, seed=self.seed, report=self.hooks.report)
        return self._learnt.setdefault((size, made.target), made)

    @cached_property
    def place(self) -> Place | None:
        """The workers of a cluster; None where all is done here."""
        return place_of(self.request.on, self.request.actors, self.request.threads_per_actor)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Runs masked passes of the supernet, here or on a cluster."""
        here = get_backend(self.record)(
            self.space,
            self.macro,
            norm=self.norm,
            dtype=self.dtype,
            devices=self.devices,
            threads=self.threads,
            report=self.hooks.report,
        )
        if self.place is not None:
            return Spread(here, self.place)
        if count_passes(self.scores, self.norm):
            here.begin()
        return here

    @cached_property
    def environments(self) -> Sequence[Environment]:
        """The draws of weights and images."""
        return draw_environments(
            self.dataset, count=self.envs, images=self.images, init=self.init, seed=self.seed
        )

    def measure(
        self,
        masks: Mask,
        rows: slice = ALL,
        *,
        scores: Sequence[Score] | None = None,
        environments: slice = ALL,
    ) -> NDArray[np.float64]:
        """masks float32 [G, E, O] -> scores float64 [K * S, G]: for each of K environments a row per score.

        rows: the images of every environment that are shown. scores, environments: some of this setup's. All
        by default. An architecture is measured as the one that stands for its function, each of these once.
        """
        asked = [(masks, self.scores if scores is None else scores, environments, rows)]
        ((_, found),) = self._measure_each(asked)
        return found

    def measure_each(self, groups: Iterable[Mask]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """What `measure` gives of every group of masks, with its number, as soon as it is known: one after
        another here, in any order on a cluster, which works at several."""
        return self._measure_each((masks, self.scores, ALL, ALL) for masks in groups)

    def _measure_each(
        self, wanted: Iterable[tuple[Mask, Sequence[Score], slice, slice]]
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """wanted: masks, scores, environments, rows."""
        self.measured = True
        before = self.evaluations
        places: dict[int, list[int]] = {}

        def asked() -> Iterator[Asked]:
            for number, (masks, scores, environments, rows) in enumerate(wanted):
                distinct, places[number] = self._represented(as_masks(masks, self.space))
                yield Asked(distinct, scores, self.environments[environments], rows)

        for number, found in each_of(
            self.evaluator, asked(), lambda done, total: self._tell(before + done, before + total)
        ):
            self.evaluations += found.evaluations
            self.setup_seconds += found.setup_seconds
            self.evaluate_seconds += found.evaluate_seconds
            yield number, found.values[:, places.pop(number)]

    def _represented(self, masks: Mask) -> tuple[Mask, list[int]]:
        """The masks that are measured, none twice, and which of them stands for each that was asked for."""
        alone = type(self.space).representative is SearchSpace.representative
        found = masks if alone else self._of_representatives(masks)
        places: dict[bytes, int] = {}
        which = [places.setdefault(mask.tobytes(), len(places)) for mask in found]
        return found[np.unique(which, return_index=True)[1]], which

    def _of_representatives(self, masks: Mask) -> Mask:
        """Those of architectures as they are measured; other masks as they are."""
        space, found = self.space, masks.copy()
        for g in np.flatnonzero((masks == np.rint(masks)).all((1, 2))):
            genotype = None
            with suppress(InvalidValueError):  # an edge may be dropped from what is else an architecture
                genotype = space.genotype(masks[g])
            if genotype is not None:
                found[g] = space.mask(space.representative(genotype))
        return found

    def expect(self, masks: int, estimate: Progress) -> None:
        """So many more masks will be measured, each environment's counted, at most: `progress` is told from
        the first on, and `estimate` too, unless this is one of many searches."""
        self._ahead = self.evaluations + masks * count_passes(self.scores, self.norm)
        self._estimate = estimate if self.hooks.alone else unheard

    def done(self) -> None:
        """Nothing more will be measured, though more was expected."""
        if self.measured and self.evaluations < self._ahead:
            self._ahead = 0
            self._tell(self.evaluations, self.evaluations)

    def _tell(self, done: int, known: int) -> None:
        total = max(known, self._ahead)
        self.hooks.progress(done, total)
        self._estimate(done, total)

    @cached_property
    def agreement(self) -> float | None:
        """Share of the first environment's images whose largest logit under the mixture is that of float32;
        None in float32."""
        if self.dtype == "float32":
            return None
        started = time.perf_counter()
        mixture, environment = self.space.mixture()[None], self.environments[0]
        half, full = (
            each.observe(mixture, environment)[0].logits.argmax(1)
            for each in (self.evaluator, self._in_float32)
        )
        self.setup_seconds += time.perf_counter() - started
        return float((half == full).mean())

    @property
    def _in_float32(self) -> Evaluator:
        """What tells how much half precision changes: the same supernets in float32."""
        own = self.evaluator.in_float32()
        return own or get_backend("auto")(self.space, self.macro, norm=self.norm, threads=self.threads)

    def conditions(self) -> Conditions:
        """What was measured so far, and under what."""
        return Conditions(
            scores=tuple(score.name for score in self.scores),
            data=self.pictures.name,
            origin=self.pictures.origin,
            backend=self.backend,
            device=", ".join(map(with_card, self.devices)) if self.measured else "cpu",
            dtype=self.dtype,
            norm=self.norm,
            init=self.init,
            seed=self.seed,
            envs=self.envs,
            images=self.images,
            threads=self.threads,
            agreement=self.agreement if self.measured else None,
        )

    def versions(self) -> dict[str, str]:
        """Of the packages that scores depend on; none before something was measured."""
        packages = self.evaluator.packages if self.measured else ()
        return {package: version(package) for package in packages}


def _seen(pictures: Dataset, asked: Request, report: Report) -> Dataset:
    """The data as the supernet sees them: read once more, as they are read at that size. A preset's size is
    one at most, and left alone, which is reported, where images come in one size. asked: settled."""
    own, side = pictures.resolution, asked.supernet_resolution or pictures.resolution
    by_user = given(asked, "supernet_resolution")
    if side == own or (side > own and not by_user):
        return pictures
    if side > own:
        raise InvalidValueError(
            f"`supernet_resolution` must be at most the {own} pixels of the data but got {side}: pass a "
            "smaller one, or a larger --resolution"
        )
    try:
        return load(asked.data, data_dir=asked.data_dir, resolution=side, channels_in=asked.channels_in)
    except InvalidValueError as error:
        if by_user:
            raise InvalidValueError(
                f"`supernet_resolution` must be the {own} pixels of the data, which come in one size, but "
                f"got {side}: pass --supernet-resolution {own}"
            ) from error
    report(f"the supernet sees these images at their {own} pixels, not at {side}: they come in one size")
    return pictures
