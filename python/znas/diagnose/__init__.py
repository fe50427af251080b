"""Measures what the paper assumes: are outputs and scores Gaussian, and does the choice survive a reseed?"""

from znas.diagnose.report import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
