"""Measures what the paper assumes: are outputs and scores Gaussian, and does the choice survive a reseed?"""

from znas.diagnose.report import Diagnosis, diagnose
from znas.diagnose.robustness import robustness
from znas.diagnose.robustness_report import Robustness

__all__ = ["Diagnosis", "Robustness", "diagnose", "robustness"]
