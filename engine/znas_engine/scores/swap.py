"""SWAP: how many different patterns units make over the images (Peng et al., ICLR 2024, SWAP-NAS)."""

from __future__ import annotations

from znas_engine.scores.base import BATCH
from znas_engine.scores.patterns import Patterns


class Swap(Patterns):
    """`patterns` of N(0, 1) weights under the statistics of the images in hand.

    As published; its mean over environments is the authors' mean over initialisations. They run 16 images
    and 32 initialisations, and one reduction cell of 2 x 3 channels that reads the images themselves.
    `--space darts --supernet-channels 3 --supernet-cells 1 --images 16 --envs 32` is that cell behind a stem
    and with normalised pools, which ranks otherwise (docs/evidence.md). N images make 2^N patterns at most,
    which large networks come close to. Not included: patterns of operations that reach no logit, which the
    authors' modules compute as well, and the regularised variant, which weights the count by a bell curve
    around a wanted size.
    """

    name = "swap"
    probes = (BATCH.as_published("standard"),)
