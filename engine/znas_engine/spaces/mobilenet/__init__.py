"""MobileNetV2's chain with searched layers (Sandler et al., CVPR 2018; Cai et al., ICLR 2019)."""

from znas_engine.spaces.mobilenet.genotype import MobileNetGenotype
from znas_engine.spaces.mobilenet.space import MobileNet

__all__ = ["MobileNet", "MobileNetGenotype"]
