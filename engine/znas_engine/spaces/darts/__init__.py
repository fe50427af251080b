"""DARTS (Liu, Simonyan & Yang, ICLR 2019)."""

from znas_engine.spaces.darts.genotype import DartsGenotype
from znas_engine.spaces.darts.space import Darts

__all__ = ["Darts", "DartsGenotype"]
