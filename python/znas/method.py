"""What is done with a supernet: what is drawn instead of measured, what is compared, and how it is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from znas.games import GAMES
from znas.interventions import get_intervention
from znas.interventions.base import Intervention
from znas.interventions.knowledge import FromPrior, Knowledge, Neutral
from znas.interventions.probability import Probability, check_p, p_per_edge
from znas.meaning import always, check_options
from znas.request import PRIOR_SCALES, SHIPPED, Request
from znas.selection.aggregate import OF_ONE_SCORE, Aggregate, get_aggregate
from znas.selection.criteria import Criterion, KeepOne, LeaveOneOut, Shapley, is_exact
from znas.selection.race import check_race
from znas.selection.strategies import (
    CRITERIA,
    GAME_CHOICES,
    ORDERS,
    SELECTIONS,
    SHORTLIST,
    AllAtOnce,
    Interactions,
    Sequential,
    Strategy,
)
from znas_engine.arguments import choice, instance
from znas_engine.environment import derive_seed
from znas_engine.errors import InvalidValueError
from znas_engine.paths import named
from znas_engine.scores import Score, StaticScore
from znas_engine.spaces import SearchSpace


class MethodFacts(TypedDict):
    """A `Method` as plain JSON."""

    p: float | str | list[float]
    intervention: str
    prior: str | None
    prior_scale: str
    game: str
    estimator: str
    selection: str
    order: str
    criterion: str
    aggregate: str
    finalists: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """The paper's section 3 with everything that it leaves open decided; see `Request` for the fields of the
    same names. knowledge: D(Z). finalists: 1 is no final round. race: None is no race.

    One method serves any number of searches; what is random in one comes from `seed` alone.
    """

    seed: int
    p: Probability
    intervention: Intervention
    knowledge: Knowledge
    prior: str | None
    prior_scale: str
    game: str
    estimator: str
    precision: float | None
    max_evaluations: int | None
    selection: str
    order: str
    criterion: str
    aggregate: str
    finalists: int
    race: float | None

    @classmethod
    def of(cls, request: Request, space: SearchSpace[Any], scores: tuple[Score, ...]) -> Method:
        """What a settled request asks for, by these scores in that space.

        Raises:
            InvalidValueError: a value outside its domain, or two that exclude each other; the message names
                the nearest valid one.
            StorageError: a prior that cannot be read.
        """
        instance("request", request, Request)
        p = check_p(request.p)
        if isinstance(p, tuple):
            p_per_edge(p, len(space.edges))
        for what, value, choices in (
            ("game", request.game, GAME_CHOICES),
            ("selection", request.selection, SELECTIONS),
            ("order", request.order, ORDERS),
            ("criterion", request.criterion, CRITERIA),
            ("prior scale", request.prior_scale, PRIOR_SCALES),
            ("estimator", request.estimator, GAMES),
        ):
            choice(what, value, choices)
        assert request.finalists is not None
        assert request.selection is not None
        aggregate = request.aggregate
        if aggregate == "auto":
            aggregate = "mean" if len(scores) == 1 else "log_rank"
        get_aggregate(aggregate)
        made = cls(
            seed=request.seed,
            p=p,
            intervention=get_intervention(request.intervention),
            knowledge=_knowledge(request, space, scores),
            prior=None if request.prior is None else str(request.prior),
            prior_scale=request.prior_scale,
            game=request.game,
            estimator=request.estimator,
            precision=request.precision,
            max_evaluations=request.max_evaluations,
            selection=request.selection,
            order=request.order,
            criterion=request.criterion,
            aggregate=aggregate,
            finalists=request.finalists,
            race=request.race,
        )
        made._check_combinations(request)
        check_options(request, scores, space)
        if len(scores) > 1:
            made._check_several_scores(space, scores)
        if made.race is not None:
            made._check_race(made.race, request, scores)
        return made

    def strategy(self) -> Strategy:
        """In which order edges are decided, and by what; a new one for every search."""
        rng = self.rng("strategy")
        if self.game == "interaction":
            return Interactions(rng)
        criterion: Criterion = KeepOne() if self.criterion == "keep" else LeaveOneOut()
        if self.game == "shapley":
            criterion = Shapley(self.estimator, self.precision, self.max_evaluations, rng)
        if self.selection == "algorithm1":
            return AllAtOnce(criterion)
        return Sequential(criterion, self.order, rng)

    @property
    def combine(self) -> Aggregate:
        """From values of environments and scores to one number per candidate."""
        return get_aggregate(self.aggregate)

    @property
    def ranks(self) -> bool:
        """Whether `combine` depends on who else is compared."""
        return self.aggregate not in OF_ONE_SCORE

    def rng(self, purpose: str) -> np.random.Generator:
        """The stream of one purpose."""
        return np.random.default_rng(derive_seed(self.seed, purpose))

    def to_dict(self) -> MethodFacts:
        """Plain JSON."""
        return {
            "p": list(self.p) if isinstance(self.p, tuple) else self.p,
            "intervention": self.intervention.name,
            "prior": self.prior,
            "prior_scale": self.prior_scale,
            "game": self.game,
            "estimator": self.estimator,
            "selection": self.selection,
            "order": self.order,
            "criterion": self.criterion,
            "aggregate": self.aggregate,
            "finalists": self.finalists,
        }

    def _check_combinations(self, request: Request) -> None:
        if self.selection == SHORTLIST:
            self._check_shortlist(request)
        if self.p == "auto" and self.prior is None:
            raise InvalidValueError("p = auto compares what is observed with a prior: pass --prior FILE too")
        if self.p == "auto" and self.prior_scale != "raw":
            raise InvalidValueError(
                f"p = auto needs a prior that is not moved to what is observed but got --prior-scale "
                f"{self.prior_scale}: pass --prior-scale raw"
            )
        assert request.envs is not None
        if self.p == "auto" and request.envs < 2:
            raise InvalidValueError(
                "p = auto needs at least 2 environments, as noise is what differs between them: pass --envs 2"
            )
        if self.aggregate == "lcb" and request.envs < 2:
            raise InvalidValueError("--aggregate lcb needs at least 2 environments: pass --envs 2 or more")
        if self.finalists > 1 and always(self.p):
            raise InvalidValueError(
                f"`finalists` are compared by measuring them, which p = 1 forbids, but got {self.finalists}: "
                "pass a smaller --p"
            )
        if self.game == "interaction" and self.selection != "algorithm1":
            raise InvalidValueError(
                "--game interaction decides all edges together: drop --selection sequential"
            )

    def _check_shortlist(self, request: Request) -> None:
        """A shortlist measures whole architectures, and halves them from environment to environment."""
        for name, nothing in (("p", 0), ("game", "none"), ("criterion", "keep"), ("race", None)):
            if (value := getattr(self, name)) != nothing:
                raise InvalidValueError(
                    f"--selection shortlist compares whole architectures, but --{name} {value} is of "
                    "operations: drop it, or pass --selection algorithm1"
                )
        if self.aggregate == "lcb":
            raise InvalidValueError(
                "--aggregate lcb is of environments that all are measured in, and a shortlist halves from "
                "one to the next: pass --aggregate mean, or --selection algorithm1"
            )

    def _check_race(self, confidence: float, request: Request, scores: tuple[Score, ...]) -> None:
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
        if self.p == "auto" or always(self.p):
            raise InvalidValueError(f"--race needs a number below 1 for `p` but got {self.p}: pass --p 0.5")
        (score,) = scores
        if isinstance(score, StaticScore):
            raise InvalidValueError(
                f"--race saves images, but the score {score.name!r} reads none: drop --race"
            )
        assert request.images is not None
        check_race(confidence, request.images, score.min_images)

    def _check_several_scores(self, space: SearchSpace[Any], scores: tuple[Score, ...]) -> None:
        """Scores have different units: they may be ranked, not averaged."""
        names = "+".join(score.name for score in scores)
        if self.aggregate in OF_ONE_SCORE:
            raise InvalidValueError(
                f"--aggregate {self.aggregate} averages, but the scores {names} have different units: "
                "use --aggregate log_rank or rank"
            )
        if self.race is not None:
            raise InvalidValueError(
                f"--race compares means of one score, but --score names several: {names}; use --preset naswot"
            )
        if self.prior is not None:
            raise InvalidValueError(f"a prior is of one score, but --score names several: {names}")
        if self.game == "interaction":
            raise InvalidValueError(f"--game interaction adds scores up, but --score names several: {names}")
        most = max(len(space.options(e)) for e in range(len(space.edges)))
        if self.game == "shapley" and not is_exact(self.estimator, most):
            raise InvalidValueError(
                f"--estimator {self.estimator} averages scores, but --score names several: {names}; "
                "use --estimator exact"
            )


def _knowledge(request: Request, space: SearchSpace[Any], scores: tuple[Score, ...]) -> Knowledge:
    """D(Z), checked against what is searched."""
    if request.prior is None or len(scores) > 1:
        return Neutral()
    from znas import priors

    (score,) = scores
    path = space.prior if request.prior == SHIPPED else named(request.prior, "`prior`")
    if path is None:
        raise InvalidValueError(f"no prior is shipped for {space.name}: fit one with znas-engine prior fit")
    prior = priors.load(path, space)
    if prior.space.name != space.name:
        raise InvalidValueError(f"the prior {path} is for {prior.space.name}, not for {space.name}")
    if prior.score != score.name:
        raise InvalidValueError(
            f"the prior {path} is of the score {prior.score!r}, not of {score.name!r}; "
            f"pass --score {prior.score}, or fit another"
        )
    priors.require(prior, force=request.force_prior)
    return FromPrior(prior, aligned=request.prior_scale == "aligned")
