"""NAS-Bench-201 (Dong & Yang, ICLR 2020)."""

from znas_engine.spaces.nasbench201.genotype import NasBench201Genotype
from znas_engine.spaces.nasbench201.space import NasBench201

__all__ = ["NasBench201", "NasBench201Genotype"]
