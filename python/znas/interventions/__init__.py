"""Replacing observed scores by draws from D(Z): which neurons (base), and by what (one file each)."""

from znas.interventions.base import Intervention, draw_replaced
from znas.interventions.gaussian import GaussianIntervention

__all__ = ["GaussianIntervention", "Intervention", "draw_replaced"]
