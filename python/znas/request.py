"""What is asked of a search, and of every verb that measures: the one description of every option.

The fields of `Request` are the options of the command line (`--data-dir` is `data_dir`), the arguments of
`znas.search`, and the rows of docs/cli.md; what they say of an option is said here and nowhere else.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from znas.cluster.place import Place
from znas.cluster.where import FORMS, LOCAL, check_on
from znas.costs.quantities import FRONTS, Limit, limits
from znas.costs.sizes import span
from znas.games import GAMES
from znas.interventions import INTERVENTIONS
from znas.interventions.probability import Probability, check_p, parse_p
from znas.option import OBJECT, Option, limit_of, option, plainly, typed
from znas.presets import DEFAULT, ORDINARY, PRESETS, SHORTLISTED, Preset
from znas.renamed import renamed, warn
from znas.selection.aggregate import AGGREGATES
from znas.selection.race import CHUNKS
from znas.selection.strategies import CRITERIA, GAME_CHOICES, ORDERS, SELECTIONS, SHORTLIST
from znas_engine import spaces
from znas_engine.arguments import instance, number, positive
from znas_engine.backends import BACKENDS
from znas_engine.data import DATASETS, IN_MEMORY, Dataset
from znas_engine.errors import InvalidValueError, briefly, unknown_choice
from znas_engine.scores import SCORES, Score
from znas_engine.spaces import SPACES, SearchSpace, get_space
from znas_engine.spaces.base import CELLS, CHANNELS
from znas_engine.supernet.initialisation import INITIALISATIONS
from znas_engine.supernet.normalisation import NORMS

PRIOR_SCALES = ("aligned", "raw")
#: The prior that comes with a space.
SHIPPED = "shipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Plain and frozen; nothing is looked up before `znas.setup.Setup` and `znas.method.Method` resolve it.

    Numbers of NumPy become Python's, paths and sequences of scores one type each. Two requests are equal if
    their fields are; images that have no name, if they are the same object.

    Raises:
        InvalidValueError: a value of another type than its field, or a number outside its domain.
    """

    space: str | SearchSpace[Any] = option(
        spaces.DEFAULT, "Search space, by name or package.module:Name", choices=SPACES
    )
    data: Any = option(
        None,
        "Images, by name, torchvision:Name or package.module:Name; gaussian needs no files",
        choices=DATASETS,
        absent="what --data-dir holds, or gaussian",
    )
    data_dir: Path | None = option(
        None,
        "Folder that holds cifar-10-batches-py or cifar-100-python, one folder of pictures per class, "
        "pictures without classes, or what torchvision reads",
        Path,
    )
    channels_in: int | None = option(
        None, "Channels of the images: 1 keeps or makes them grey; 3 by default", int, low=1, high=4096
    )
    backend: Any = option(
        "auto",
        "What runs masked passes; auto is the first of these that can run here, and says what those before "
        "it lack",
        choices=BACKENDS,
        also=("auto",),
    )
    device: str = option(
        "auto",
        "cpu | cuda:N | several GPUs as in cuda:0,cuda:1, which share the masks | default: cuda:0 for trt, "
        "cpu for the others | auto: the same, but --backend auto takes cuda:0 if results of its compute "
        "capability are committed",
    )
    preset: str | Preset = option(
        DEFAULT,
        "What score, p, selection, finalists, envs, images, norm and the supernet's size are where they are "
        "not given",
        choices=PRESETS,
    )
    score: Any = option(
        None,
        "Score function, by name or package.module:Name; several joined by '+' are combined by rank",
        choices=SCORES,
        of_preset=True,
    )
    p: Probability | None = option(
        None,
        "Probability that a score is drawn instead of measured: a number, 'auto' (Proposition 1), or one "
        "number per edge separated by commas; cost falls as 1 - p",
        read=parse_p,
        of_preset=True,
    )
    intervention: str = option("gaussian", "What is drawn", choices=lambda: INTERVENTIONS)
    prior: str | Path | None = option(
        None, "What is believed of a score: a file of `prior fit`, or 'shipped'; neutral if absent"
    )
    force_prior: bool = option(False, "Use a prior that does not rank better than chance", bool)
    prior_scale: str = option(
        "aligned",
        "Whether a prior is moved to the scale of what is observed, or drawn as it was fitted",
        choices=lambda: PRIOR_SCALES,
    )
    game: str = option(
        "none",
        "Whose worth is compared: an operation's score, its Shapley value, or pairs of operations on "
        "different edges",
        choices=lambda: GAME_CHOICES,
    )
    estimator: str = option("auto", "How Shapley values are computed", choices=lambda: GAMES)
    precision: float | None = option(
        None, "Stop a sampled game once every standard error is at most this", float, domain=positive
    )
    max_evaluations: int | None = option(
        None, "Coalitions of a sampled game, at most, per edge", int, low=1, high=10**9
    )
    selection: str | None = option(
        None,
        "What is measured: a shortlist of whole architectures; operations, on all edges at once (Algorithm "
        "1); or edges one after another: decide, fix, go on. --p, --game, --criterion and --race ask for "
        "Algorithm 1",
        choices=lambda: SELECTIONS,
        of_preset=True,
    )
    order: str = option("random", "Of a sequential selection", choices=lambda: ORDERS)
    criterion: str = option(
        "keep",
        "What a score is of: an operation alone on its edge, or all but it",
        choices=lambda: CRITERIA,
    )
    aggregate: str = option(
        "auto",
        "Over environments and scores; auto is mean for one score and log_rank for several",
        choices=lambda: AGGREGATES,
        also=("auto",),
    )
    finalists: int | None = option(
        None,
        "Compare this many of the best architectures as themselves, ranked among as many random ones: a "
        "shortlist, or a final round",
        int,
        of_preset=True,
        low=1,
        high=10_000,
    )
    race: float | None = option(
        None,
        f"Measure images in {CHUNKS} chunks, and stop an edge when its winner is decided at this confidence "
        "(0.5 to below 1)",
        float,
        domain=partial(number, wanted="at least 0.5 and below 1"),
    )
    envs: int | None = option(
        None,
        "Environments (weights and images) to average over; cost is proportional, but a shortlist halves "
        "from one to the next",
        int,
        of_preset=True,
        low=1,
        high=10_000,
    )
    images: int | None = option(
        None, "Images per environment; cost is proportional", int, of_preset=True, low=1, high=1_000_000
    )
    norm: str | None = option(None, "Normalisation", choices=lambda: NORMS, of_preset=True)
    dtype: str = option(
        "float32",
        "What products read: float32 | bfloat16 (native, trt) | float16 (native and ort on a GPU, trt)",
    )
    init: str = option("gaussian", "Weights", choices=lambda: INITIALISATIONS)
    seed: int = option(0, "Decides weights, images, interventions and ties", int, low=0, high=2**63 - 1)
    threads: int | None = option(
        None, "Worker threads; all cores by default. Results do not depend on it", int, low=1, high=1024
    )
    on: str | Place = option(LOCAL, f"Where masked passes and searches of long jobs are done: {FORMS}")
    actors: int | None = option(
        None, "Workers on a cluster; one per GPU or NUMA node by default", int, low=1, high=100_000
    )
    threads_per_actor: int | None = option(
        None, "Threads of each worker on a cluster; its share of the cores by default", int, low=1, high=1024
    )
    supernet_channels: int | None = option(
        None,
        "Width of the supernet; the space's own by default",
        int,
        of_preset=True,
        low=CHANNELS[0],
        high=CHANNELS[1],
    )
    supernet_cells: int | None = option(
        None,
        "Depth of the supernet: cells per stage or in all, as the space counts",
        int,
        of_preset=True,
        low=CELLS[0],
        high=CELLS[1],
    )
    supernet_resolution: int | None = option(
        None,
        "Side in pixels of the images as the supernet sees them; by default those of the data, or what a "
        "space sets for its preset where that is smaller. The network that is handed over, its costs and its "
        "latency are at --resolution",
        int,
        of_preset=True,
        low=1,
        high=8192,
    )
    network_channels: str | None = option(
        None,
        "Width of the network that is handed over, or a range as in 8-32 from which limits choose; the "
        "community's by default",
        low=CHANNELS[0],
        high=CHANNELS[1],
    )
    network_cells: str | None = option(
        None,
        "Depth of the network that is handed over, or a range, as the space counts",
        low=CELLS[0],
        high=CELLS[1],
    )
    max_params: str | None = limit_of("params", "Parameters of the network, at most")
    max_flops: str | None = limit_of("flops", "Multiply-accumulates of the network for one image, at most")
    max_memory: str | None = limit_of(
        "memory", "Bytes of the network's activations for one image in float32, at their peak, at most"
    )
    max_latency: str | None = limit_of(
        "latency",
        "Latency of the network for one image, at most, and where; measured before it is handed over",
    )
    pareto: str | None = option(
        None, "Also find the front of the score against a cost, of all that is compared", also=FRONTS
    )
    latency_table: Path | None = option(
        None,
        "CSV of architectures and their latencies on devices elsewhere, in columns that end in _ms",
        Path,
    )
    resolution: int | None = option(
        None,
        "Side of the images in pixels; the data set's own by default (imagefolder: the pictures', up to 224)",
        int,
        low=1,
        high=8192,
    )

    def __post_init__(self) -> None:
        for name, about in OPTIONS.items():
            if name not in _READ_ELSEWHERE:
                object.__setattr__(self, name, typed(name, about, getattr(self, name), _DEFAULTS[name]))
        check_on(self.on)
        if self.p is not None:
            object.__setattr__(self, "p", check_p(self.p))
        if not (self.score is None or isinstance(self.score, str | Score) or inspect.isclass(self.score)):
            object.__setattr__(self, "score", _several(self.score))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Request):
            return NotImplemented
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in OPTIONS]
        return all(
            a is b or ((name != "data" or (isinstance(a, str) and isinstance(b, str))) and a == b)
            for name, a, b in pairs
        )

    def __hash__(self) -> int:
        values = (getattr(self, name) for name in OPTIONS)
        return hash(tuple(value for value in values if isinstance(value, str | int | float)))

    def settled(self) -> Request:
        """The same with its preset's values where nothing else was asked.

        What asks for interventions on edges leaves out the preset's shortlist and its environments, and a `p`
        above 0, given to measure less, its final round too. InvalidValueError for a preset or backend
        that was an object.
        """
        for field_, asked in (("preset", self.preset), ("backend", self.backend)):
            if isinstance(asked, str) and asked.startswith(OBJECT):
                called = asked.removeprefix(OBJECT).removesuffix(")")
                raise InvalidValueError(
                    f"the {field_} of this request was an object ({called}): give it again, as `{field_}`"
                )
        preset: Preset = PRESETS.get(self.preset)
        values = dict(preset.values(get_space(self.space)))
        if self.intervenes:
            values.pop("selection", None)
            values.pop("envs", None)
        if self.p not in (None, 0):
            values.pop("finalists", None)
        values = ORDINARY | values
        if (self.selection or values["selection"]) == SHORTLIST:  # beside a preset of interventions
            values |= {"p": 0.0, "finalists": max(values["finalists"], SHORTLISTED)}
        missing = {name: values[name] for name in ORDINARY if getattr(self, name) is None}
        return replace(self, **missing)

    @property
    def intervenes(self) -> bool:
        """Whether something is asked of operations on edges, which a shortlist leaves alone."""
        if self.selection is not None:
            return self.selection != SHORTLIST
        return self.p is not None or (self.game, self.criterion, self.race) != ("none", "keep", None)

    def sizes(self) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """The ends of what the network's width and depth may be; None: the community's."""
        channels, cells = self.network_channels, self.network_cells
        return (
            None if channels is None else span("network_channels", channels, *CHANNELS),
            None if cells is None else span("network_cells", cells, *CELLS),
        )

    def limits(self) -> tuple[Limit, ...]:
        """What the network may cost at most."""
        costs = {name: about.limit for name, about in OPTIONS.items() if about.limit is not None}
        return tuple(each for name, cost in costs.items() for each in limits(cost, getattr(self, name)))

    def __repr__(self) -> str:
        """What is not as it would be without being asked for."""
        asked = [(each.name, getattr(self, each.name), each.default) for each in fields(self)]
        told = [f"{n}={briefly(v, 80)}" for n, v, usual in asked if type(v) is not type(usual) or v != usual]
        return f"Request({', '.join(told)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: an object is where its class is found. Images have no such place, nor have presets and
        backends: those are their names if these lead to them. On which cluster it was is left out: what comes
        out is the same everywhere, and so are the bytes of a result."""
        plain = {name: plainly(getattr(self, name)) for name in OPTIONS if name not in CLUSTER}
        named = isinstance(self.data, str | None) or (
            callable(self.data) and not isinstance(self.data, Dataset)
        )
        return plain if named else plain | {"data": IN_MEMORY}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Request:
        """The inverse of `to_dict`, as far as classes can be found again; what it describes is done here."""
        known = {name: value for name, value in renamed(plain).items() if name in OPTIONS}
        return cls(**known)


#: The fields that say where the work is done.
CLUSTER = ("on", "actors", "threads_per_actor")
#: Of every field of `Request`, in their order.
OPTIONS: dict[str, Option] = {each.name: each.metadata["option"] for each in fields(Request)}
_DEFAULTS: dict[str, Any] = {each.name: each.default for each in fields(Request)}


def request_of(
    request: Request | None, options: Mapping[str, Any], known: Iterable[str] = OPTIONS
) -> Request:
    """What a public function was given: a whole request, or its fields as keyword arguments. known: those
    that are read. InvalidValueError for others; TypeError for both."""
    if request is None:
        options = renamed(options, warn)
        unknown = [name for name in options if name not in known]
        if unknown:
            raise unknown_choice("option", unknown[0], known)
        return Request(**options)
    if options:
        raise TypeError("give either a `request` or its fields as keyword arguments, not both")
    found: Request = instance("request", request, Request, ": give its fields as keyword arguments")
    return found


#: Fields whose values registries, `check_p` and `check_on` read.
_READ_ELSEWHERE = ("space", "data", "backend", "preset", "score", "p", "on")


def _several(scores: Any) -> list[Any]:
    if not isinstance(scores, Sequence) or isinstance(scores, bytes):
        raise InvalidValueError(
            "`score` must be a name, a Score or a list of them, as in ['naswot', MyScore()], but got "
            f"{briefly(scores)}"
        )
    return list(scores)
