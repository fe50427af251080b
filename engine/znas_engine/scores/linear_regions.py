"""Number of linear regions that the images fall into (TE-NAS: Chen et al., ICLR 2021; Xiong et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence

from znas_engine.scores.base import ForwardScore, Observation


class LinearRegions(ForwardScore):
    """|{activation code of x over all live ReLUs: x an image}|, between 1 and the number of images.

    Real images nearly always differ in some unit of a network of the usual size, so that the count is
    that of the images: TE-NAS counts in a network of one channel. It takes a narrow supernet
    (--supernet-channels 2), small images and thousands of them to see differences.
    """

    name = "linear_regions"
    reads = ("codes",)

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        return float(seen.codes.regions()) if seen.codes else 1.0
