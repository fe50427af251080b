"""Everything a search is asked to do, checked before any work starts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from znas.games import GAMES, get_game
from znas.interventions import get_intervention
from znas.interventions.probability import Probability, check_p, p_per_edge
from znas.selection.aggregate import OF_ONE_SCORE, get_aggregate
from znas.selection.criteria import is_exact
from znas.selection.race import check_race
from znas.selection.strategies import ORDERS
from znas_engine.backends import choose_backend
from znas_engine.backends.checks import check_score
from znas_engine.data import DATASETS
from znas_engine.devices import parse_devices
from znas_engine.errors import InvalidValueError, unknown_choice
from znas_engine.scores import StaticScore, get_scores
from znas_engine.spaces import get_space
from znas_engine.supernet.initialisation import check_init
from znas_engine.supernet.normalisation import check_norm

GAME_CHOICES = ("none", "shapley", "interaction")
SELECTIONS = ("algorithm1", "sequential")
CRITERIA = ("keep", "leave-one-out")
PRIOR_SCALES = ("aligned", "raw")
SHIPPED = "shipped"


def available_threads() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """The arguments of `znas.search`; see there for what each one does. The defaults here are those of its
    preset "naswot".

    Raises:
        InvalidValueError: a value outside its domain, or two that exclude each other; the message names the
            nearest valid one.
        MissingDependencyError: a backend whose package is absent.
    """

    space: str = "nasbench201"
    data: str = "gaussian"
    data_dir: Path | None = None
    backend: str = "auto"
    device: str = "auto"
    score: str = "naswot"
    p: Probability = 0.5
    intervention: str = "gaussian"
    prior: str | Path | None = None
    force_prior: bool = False
    prior_scale: str = "aligned"
    game: str = "none"
    estimator: str = "auto"
    precision: float | None = None
    max_evaluations: int | None = None
    selection: str = "algorithm1"
    order: str = "random"
    criterion: str = "keep"
    aggregate: str = "auto"
    finalists: int = 1
    race: float | None = None
    envs: int = 1
    images: int = 64
    norm: str = "calibrated"
    dtype: str = "float32"
    init: str = "gaussian"
    seed: int = 0
    threads: int = field(default_factory=available_threads)
    channels: int | None = None
    cells: int | None = None
    resolution: int | None = None
    #: What the user should know about the choice that `backend="auto"` was.
    remark: str | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        space = get_space(self.space)
        if self.data not in DATASETS:
            raise unknown_choice("data set", self.data, DATASETS)
        scores = get_scores(self.score)
        choice = choose_backend(self.backend, scores, self.device, self.dtype)
        object.__setattr__(self, "backend", choice.backend)
        object.__setattr__(self, "device", ",".join(choice.devices))
        object.__setattr__(self, "remark", choice.remark)
        for score in scores:
            check_score(score, self.backend, self.dtype)
        object.__setattr__(self, "p", check_p(self.p))
        if isinstance(self.p, tuple):
            p_per_edge(self.p, len(space.edges))
        for what, value, choices in (
            ("game", self.game, GAME_CHOICES),
            ("selection", self.selection, SELECTIONS),
            ("order", self.order, ORDERS),
            ("criterion", self.criterion, CRITERIA),
            ("prior scale", self.prior_scale, PRIOR_SCALES),
            ("estimator", self.estimator, GAMES),
        ):
            if value not in choices:
                raise unknown_choice(what, value, choices)
        get_intervention(self.intervention)
        if self.aggregate == "auto":
            object.__setattr__(self, "aggregate", "mean" if len(scores) == 1 else "log_rank")
        get_aggregate(self.aggregate)
        get_game(self.estimator)
        for name, low, high in (
            ("envs", 1, 10_000),
            ("images", 1, 1_000_000),
            ("threads", 1, 1024),
            ("finalists", 1, 10_000),
        ):
            number = getattr(self, name)
            if not low <= number <= high:
                raise InvalidValueError(f"`{name}` must be between {low:,} and {high:,} but got {number:,}")
        if not 0 <= self.seed < 2**63:
            raise InvalidValueError(f"`seed` must be between 0 and 2**63 - 1 but got {self.seed}")
        for score in scores:
            if score.needs_labels and self.data == "gaussian":
                raise InvalidValueError(
                    f"the score {score.name!r} needs labels and gaussian images have none; "
                    "use --data cifar10 --data-dir FOLDER, or --score naswot"
                )
        check_norm(self.norm)
        check_init(self.init)
        self._check_combinations()
        if len(scores) > 1:
            self._check_several_scores()
        if self.race is not None:
            self._check_race(self.race)

    @property
    def devices(self) -> tuple[str, ...]:
        """Where passes run; masks are shared out among several."""
        return parse_devices(self.device)

    @property
    def rows(self) -> tuple[tuple[int, str], ...]:
        """(environment, score) of every row of observed values, in order."""
        return tuple((k, score.name) for k in range(self.envs) for score in get_scores(self.score))

    def _check_combinations(self) -> None:
        if self.p == "auto" and self.prior is None:
            raise InvalidValueError("p = auto compares what is observed with a prior: pass --prior FILE too")
        if self.aggregate == "lcb" and self.envs < 2:
            raise InvalidValueError("--aggregate lcb needs at least 2 environments: pass --envs 2 or more")
        if self.finalists > 1 and self.p == 1:
            raise InvalidValueError(
                f"`finalists` are compared by measuring them, which p = 1 forbids, but got {self.finalists}: "
                "pass a smaller --p"
            )
        if self.game != "none" and self.criterion != "keep":
            raise InvalidValueError(f"--criterion {self.criterion} and --game {self.game} exclude each other")
        if self.game == "interaction" and self.selection != "algorithm1":
            raise InvalidValueError(
                "--game interaction decides all edges together: drop --selection sequential"
            )
        if self.game != "shapley" and self.estimator != "auto":
            raise InvalidValueError(f"--estimator {self.estimator} needs --game shapley")

    def _check_race(self, confidence: float) -> None:
        """A race compares measured do(e, o) of untouched edges by the means of one score."""
        for name, wanted in (
            ("selection", "algorithm1"),
            ("criterion", "keep"),
            ("game", "none"),
            ("aggregate", "mean"),
            ("finalists", 1),
        ):
            if (value := getattr(self, name)) != wanted:
                raise InvalidValueError(
                    f"--race needs --{name} {wanted} but got {value}: pass that, or drop --race"
                )
        if self.p in (1, "auto"):
            raise InvalidValueError(f"--race needs a number below 1 for `p` but got {self.p}: pass --p 0.5")
        (score,) = get_scores(self.score)
        if isinstance(score, StaticScore):
            raise InvalidValueError(
                f"--race saves images, but the score {score.name!r} reads none: drop --race"
            )
        check_race(confidence, self.images, score.min_images)

    def _check_several_scores(self) -> None:
        """Scores have different units: they may be ranked, not averaged."""
        if self.aggregate in OF_ONE_SCORE:
            raise InvalidValueError(
                f"--aggregate {self.aggregate} averages, but the scores {self.score} have different units: "
                "use --aggregate log_rank or rank"
            )
        if self.race is not None:
            raise InvalidValueError(
                f"--race compares means of one score, but --score names several: {self.score}; "
                "use --preset naswot"
            )
        if self.prior is not None:
            raise InvalidValueError(f"a prior is of one score, but --score names several: {self.score}")
        if self.game == "interaction":
            raise InvalidValueError(
                f"--game interaction adds scores up, but --score names several: {self.score}"
            )
        if self.game == "shapley" and not is_exact(self.estimator, sum(get_space(self.space).selectable)):
            raise InvalidValueError(
                f"--estimator {self.estimator} averages scores, but --score names several: {self.score}; "
                "use --estimator exact"
            )
