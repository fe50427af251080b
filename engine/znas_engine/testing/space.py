"""What every search space keeps: masks, notation, graphs, networks, and what it says of itself."""

from __future__ import annotations

from typing import ClassVar

from znas_engine.testing.space_masks import MaskContract
from znas_engine.testing.space_networks import NetworkContract
from znas_engine.testing.space_notation import NotationContract


class SpaceContract(MaskContract, NotationContract, NetworkContract):
    """space: what is tested.

    network_is_pruned: whether the network that is trained is the supernet without what the mask cuts off;
    False where the community's is another (DARTS drops the normalisation after its pools).
    resolutions: of the images on which the trained network is compared, one for every stem.
    """

    network_is_pruned: ClassVar[bool] = True
    resolutions: ClassVar[tuple[int, ...]] = (16,)
