"""How long a network takes here: measured as deployed, in a process of its own, what disturbed it said."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from znas.costs.live import encoded, live
from znas.worker_process import WorkerFailed, WorkerProcess, environment
from znas_engine.arguments import check_between, choice, instance, positive
from znas_engine.backends import missing
from znas_engine.cores import available_cores
from znas_engine.devices import FIRST, kind_of, parse_devices
from znas_engine.errors import InvalidValueError, MissingDependencyError, briefly
from znas_engine.footprint import check_memory
from znas_engine.spaces import Genotype, Macro, SearchSpace, get_space

#: By backend, the kinds of devices on which it runs one network.
DEVICES = {"ort": ("cpu", "cuda"), "native": ("cpu",), "torch": ("cpu", "cuda"), "trt": ("cuda",)}
#: Seconds after which repeats end, and how well the median is to be known before: half of its 95 % interval.
SECONDS, TIGHT = 5.0, 0.02
#: Processes in which a latency is measured that somebody will rely on: memory lies otherwise in each, and the
#: machine is in another mood. Where their medians are further APART, relative to the middle one, MORE help.
PROCESSES, APART, MORE = 3, 0.05, 4
#: Other work on the cores that is not worth a remark, as a share of them.
QUIET = 0.1
MOST_THREADS, MOST_IMAGES, MOST_PROCESSES = 1024, 4096, 100


@dataclass(frozen=True, slots=True)
class Target:
    """Where a network runs. device: cpu or cuda:N. threads: that compute, 1 unless told; 1 beside a GPU."""

    backend: str
    device: str
    threads: int = 1

    @classmethod
    def parse(cls, text: str) -> Target:
        """`ort:cpu:2`, `native:cpu` (one thread), `torch:cuda:0`: backend:device, threads or number.

        Raises:
            InvalidValueError: an unknown backend, a device that it does not run on, no number of threads.
        """
        if not isinstance(text, str):
            raise InvalidValueError(f"`target` must be a text such as 'ort:cpu:1' but got {briefly(text)}")
        backend, _, rest = text.strip().partition(":")
        choice("backend of a latency target", backend, DEVICES)
        kind, _, number = rest.partition(":")
        if kind not in DEVICES[backend]:
            known = " or ".join(f"{backend}:{FIRST[each]}" for each in DEVICES[backend])
            raise InvalidValueError(f"`target` must be {known} for {backend} but got {briefly(text)}")
        if kind != "cpu":
            first, *others = parse_devices(rest)
            if others:
                raise InvalidValueError(f"`target` must be one device but got {briefly(text)}")
            return cls(backend, first)
        if rest == "cpu":
            return cls(backend, "cpu")
        if not (number.isascii() and number.isdecimal()) or not 1 <= int(number[:9]) <= MOST_THREADS:
            raise InvalidValueError(
                f"`target` must end in a number of threads, as in {backend}:cpu:1, but got {briefly(text)}"
            )
        if backend == "native" and int(number) != 1:
            raise InvalidValueError(
                f"`target` must be native:cpu: it runs a network on one thread, but got {briefly(text)}"
            )
        return cls(backend, "cpu", int(number))

    def __str__(self) -> str:
        return f"{self.backend}:{self.device}" + (f":{self.threads}" if self.device == "cpu" else "")

    def check(self) -> None:
        """Whether it can run here.

        Raises:
            MissingDependencyError: a backend or device that is not here; it names those that are.
            InvalidValueError: more threads than this process has cores.
        """
        if (reason := missing(self.backend, self.device)) is not None:
            here = ", ".join(targets_here())
            raise MissingDependencyError(
                f"the target {self} is not here ({reason}); here are {here or 'none'}"
            )
        if self.threads > (cores := available_cores()):
            raise InvalidValueError(
                f"the target {self} needs {self.threads} cores but this process may use {cores}: ask for "
                f"{self.backend}:cpu:{cores}"
            )


def targets_here() -> list[str]:
    """What runs here on its first device, in order."""
    return [
        f"{backend}:{FIRST[kind]}"
        for backend, kinds in DEVICES.items()
        for kind in kinds
        if missing(backend, FIRST[kind]) is None
    ]


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one batch, in milliseconds: the median and the quartiles of passes one after another, in the process
    whose are the middle ones.

    repeats: in all processes. by_process: their medians. resolution: of the images, in pixels. remarks: what
    a reader has to know, other work on the machine say.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    repeats: int
    by_process: tuple[float, ...]
    target: Target
    batch: int
    threads: int
    resolution: int
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        count, least, most = len(self.by_process), min(self.by_process), max(self.by_process)
        several = f" in {count} processes, {least:.4g} to {most:.4g} ms" if count > 1 else ""
        return (
            f"{self.median_ms:.4g} ms ({self.low_ms:.4g} to {self.high_ms:.4g}) on {self.target}, batch "
            f"{self.batch}, {self.resolution} x {self.resolution} pixels, {self.repeats:,} repeats{several}"
        )


class Stopwatch:
    """Times networks on one target, one after another; leave the `with` block to end the processes in which
    that happens.

    On a GPU the copies of images and logits are part of it. On a processor each process is pinned to
    `target.threads` cores, those that are idlest when it begins.

    batch: images per pass. seed: of the noise that is passed. seconds: of repeats, at most, per network; they
    end where the median is known within TIGHT. processes: that measure each network, one after another; at
    most MORE others help where several do not agree.

    Raises:
        InvalidValueError, MissingDependencyError: see `Target.check`.
    """

    def __init__(
        self,
        target: Target,
        *,
        batch: int = 1,
        seed: int = 0,
        seconds: float = SECONDS,
        processes: int = 1,
    ) -> None:
        instance("target", target, Target, ": Target.parse('ort:cpu:1') makes one")
        target.check()
        self.target = target
        self.batch = check_between("batch", batch, 1, MOST_IMAGES)
        self.seed = check_between("seed", seed, 0, None)
        self.seconds = positive("seconds", seconds)
        self.processes = check_between("processes", processes, 1, MOST_PROCESSES)
        self._started: list[WorkerProcess] = []

    def timed(self, network: Mapping[str, Any], resolution: int) -> Latency:
        """Of what `timing.prepared` makes of `network`. Raises WorkerFailed, with what the process said,
        where it fails."""
        asked = {**network, "seconds": self.seconds / self.processes, "tight": TIGHT}
        try:
            answers = [self._asked(number, asked) for number in range(self.processes)]
            while len(answers) < self.processes + MORE and _apart(_medians(answers)) > APART:
                answers.append(self._asked(len(answers), asked))
            return self._latency(answers, resolution)
        except WorkerFailed as error:
            self.close()  # the next network gets new ones
            raise WorkerFailed(f"the latency on {self.target} was not measured: {error}") from error

    def close(self) -> None:
        """Ends the processes."""
        while self._started:
            self._started.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _asked(self, number: int, question: dict[str, Any]) -> dict[str, Any]:
        """The answer of one process, started when its turn comes first: nothing else of ours works while one
        measures."""
        if number == len(self._started):
            given = {
                "backend": self.target.backend,
                "device": self.target.device,
                "threads": self.target.threads,
                "batch": self.batch,
                "seed": self.seed,
            }
            here = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # a space may be anybody's module
            self._started.append(
                WorkerProcess(
                    ["-m", "znas.costs.timing", json.dumps(given)], environment(self.target.threads) | here
                )
            )
        return self._started[number].ask(question)

    def _latency(self, answers: list[dict[str, Any]], resolution: int) -> Latency:
        """The middle process's quartiles; of an even number the mean of the two."""
        quartiles = np.array([np.percentile(answer["milliseconds"], [25, 50, 75]) for answer in answers])
        low, median, high = np.median(quartiles, 0).tolist()
        return Latency(
            median,
            low,
            high,
            sum(len(answer["milliseconds"]) for answer in answers),
            tuple(quartiles[:, 1].tolist()),
            self.target,
            self.batch,
            self.target.threads,
            resolution,
            tuple(self._remarks(answers)),
        )

    def _remarks(self, answers: list[dict[str, Any]]) -> list[str]:
        found, medians = [], _medians(answers)
        if (apart := _apart(medians)) > APART:
            found.append(f"of {len(medians)} processes even the middle three are {100 * apart:.0f} % apart")
        if (error := max(answer["error"] for answer in answers)) > TIGHT:
            seconds = self.seconds / self.processes
            found.append(f"the median is known within {100 * error:.0f} % after {seconds:.3g} s")
        if kind_of(self.target.device) != "cpu":
            return found
        if not all(answer["cores"] for answer in answers):
            found.append("the process was not pinned to cores: this system cannot")
        if left_out := sum(answer["left_out"] for answer in answers):
            found.append(f"repeats left out, in which other work had the core: {left_out:,}")
        others = [answer["others"] for answer in answers]
        if None in others:
            found.append("whether other work ran meanwhile is not known: this system does not say")
        elif max(map(max, others)) > QUIET:
            here, all_ = (100 * share for share in max(others, key=max))
            found.append(
                f"other work had {here:.0f} % of the cores that it ran on, and {all_:.0f} % of the machine"
            )
        return found


class Meter(Stopwatch):
    """Measures architectures of one size on one target, one after another; see `Stopwatch`.

    What is timed is what is deployed: dead operations cut, normalisation folded, weights drawn from `seed`,
    a batch of noise in and logits out. torch runs the trainable network as it is, in inference mode: it cuts
    and folds nothing.
    """

    def __init__(self, space: SearchSpace[Any], macro: Macro, target: Target, **options: Any) -> None:
        super().__init__(target, **options)
        self.space, self.macro = space, macro

    def measure(self, genotype: Genotype) -> Latency:
        """Of one architecture. Raises WorkerFailed, with what the process said, where it fails."""
        graph = self.space.network(genotype, self.macro)
        check_memory(graph, self.batch)
        asked: dict[str, Any] = {"graph": encoded(live(graph))}
        if self.target.backend == "torch":
            asked["trainable"] = {
                "module": self.space.trainable,
                "structure": genotype.structure(),
                "arguments": self.space.network_arguments(self.macro),
            }
        return self.timed(asked, self.macro.resolution)


def _medians(answers: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    return np.array([np.median(answer["milliseconds"]) for answer in answers])


def _apart(medians: NDArray[np.float64]) -> float:
    """How far the middle three processes are apart, relative to the middle one; of an even number the middle
    four."""
    outer = max(0, (len(medians) - 3) // 2)
    middle = np.sort(medians)[outer : len(medians) - outer]
    return float(np.ptp(middle) / np.median(middle))


def measure_latency(
    space: str | SearchSpace[Any],
    architecture: Any,
    macro: Macro,
    target: Target | str,
    *,
    batch: int = 1,
    seed: int = 0,
    seconds: float = SECONDS,
    processes: int = PROCESSES,
) -> Latency:
    """Of one architecture at the size `macro`; see `Meter`, which measures many.

        space = get_space("nasbench201")
        macro = space.evaluation_macro(resolution=32, classes=10)
        print(znas.measure_latency(space, "|nor_conv_3x3~0|+|...|", macro, "ort:cpu:1"))

    space: also by name. architecture: a genotype, or what `SearchSpace.parse` reads. target: also as text.
    """
    found = get_space(space)
    genotype = architecture if isinstance(architecture, Genotype) else found.parse(architecture)
    where = Target.parse(target) if isinstance(target, str) else target
    with Meter(found, macro, where, batch=batch, seed=seed, seconds=seconds, processes=processes) as meter:
        return meter.measure(genotype)
