"""Images other than the environment's own that scores show to its network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from znas_engine.environment import Environment, derive_seed
from znas_engine.scores.base import Probe

Images = NDArray[np.float32]

#: Size of a nudge, per pixel, on images of about unit variance: small against an image, large against the
#: rounding of float32. It is the mixing factor of Zen-NAS.
NUDGE = np.float32(1e-2)


def _gaussian(environment: Environment, purpose: str) -> Images:
    """As many standard normal images as the batch has."""
    rng = np.random.Generator(np.random.Philox(key=derive_seed(environment.seed, "probe", purpose)))
    return rng.standard_normal(environment.batch.images.shape, dtype=np.float32)


def direction(environment: Environment) -> Images:
    """In which every image is nudged: standard normal pixels."""
    return _gaussian(environment, "direction")


#: The environment's images moved by NUDGE * direction.
NUDGED = Probe("nudged", lambda e: e.batch.images + NUDGE * direction(e))
#: Gaussian images, and the same nudged, through the network without normalisation.
GAUSSIAN = Probe("gaussian", lambda e: _gaussian(e, "images"), norm="identity")
GAUSSIAN_NUDGED = Probe(
    "gaussian nudged", lambda e: _gaussian(e, "images") + NUDGE * direction(e), norm="identity"
)
#: The same images in the networks of published scores: He weights (AZ-NAS) or standard normal ones (Zen-NAS).
GAUSSIAN_HE = GAUSSIAN.as_published("gaussian")
GAUSSIAN_STANDARD = GAUSSIAN.as_published("standard")
GAUSSIAN_STANDARD_NUDGED = GAUSSIAN_NUDGED.as_published("standard")
