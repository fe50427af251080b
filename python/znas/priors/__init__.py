"""D(Z): what is known of the one-shot score of every neuron before a search measures anything."""

from znas.priors.base import Prior, load, record, save
from znas.priors.check import RankCheck, rank_check, require

__all__ = ["Prior", "RankCheck", "load", "rank_check", "record", "require", "save"]
