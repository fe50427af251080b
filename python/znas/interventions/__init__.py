"""Replacing observed scores by draws from D(Z): how often, of what, and the account of it."""

from __future__ import annotations

from znas.interventions.base import Belief, Intervention
from znas.interventions.bayesian import BayesianIntervention
from znas.interventions.cdf_difference import CdfDifference
from znas.interventions.gaussian import GaussianIntervention
from znas_engine.arguments import choice

__all__ = ["INTERVENTIONS", "Belief", "Intervention", "get_intervention"]

INTERVENTIONS: dict[str, Intervention] = {
    family.name: family for family in (GaussianIntervention(), CdfDifference(), BayesianIntervention())
}


def get_intervention(name: str) -> Intervention:
    """The intervention of that name, or InvalidValueError naming the nearest."""
    return INTERVENTIONS[choice("intervention", name, INTERVENTIONS)]
