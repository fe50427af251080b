"""NAS-Bench-Macro (Su et al., CVPR 2021)."""

from znas_engine.spaces.nasbench_macro.genotype import NasBenchMacroGenotype
from znas_engine.spaces.nasbench_macro.space import NasBenchMacro

__all__ = ["NasBenchMacro", "NasBenchMacroGenotype"]
