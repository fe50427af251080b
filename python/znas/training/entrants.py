"""What is trained: what was found, other architectures of its space, and networks that everybody knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from znas.checked import Check, Images, compared, runtime
from znas.costs.reference import check_images, multiply_accumulates
from znas.deploy import Trained, packed
from znas.selection.largest import largest
from znas.training.baselines import BASELINES, baseline, check_onnx, to_onnx
from znas.vision import REFERENCES, is_reference
from znas.weights import fitted
from znas_engine.data.preprocess import Preprocess
from znas_engine.data.torchvision_sets import PREFIX
from znas_engine.environment import derive_seed
from znas_engine.errors import InvalidValueError, unknown_choice
from znas_engine.export.network import shapes
from znas_engine.spaces import Genotype, Macro, SearchSpace

if TYPE_CHECKING:
    from torch import nn

#: What PyTorch writes unless told.
_OPSET = 18
#: Of the space of what was found.
OF_SPACE = ("most-parameters", "random")


@dataclass(frozen=True, slots=True)
class Packed:
    """A trained network as a file. check: of it, on the images to judge by. notes: of what made it."""

    model: bytes
    check: Check
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entrant:
    """name: unique among those that are trained together. arch: what it is. make: the network, freshly
    initialised from torch's generator. pack: of the trained network on a CPU in inference mode, with the
    images to judge by."""

    name: str
    arch: str
    params: int
    flops: int
    make: Callable[[], nn.Module]
    pack: Callable[[nn.Module, Images], Packed]


def of_space(
    name: str, space: SearchSpace[Any], genotype: Genotype, macro: Macro, preprocess: Preprocess
) -> Entrant:
    """An architecture of a space."""
    graph = space.network(genotype, macro)  # it says whether it has that size

    def pack(network: nn.Module, images: Images) -> Packed:
        found = packed(
            Trained(
                space=space,
                genotype=genotype,
                macro=macro,
                graph=graph,
                network=network,
                tensors=fitted(network.state_dict(), shapes(graph), "the trained weights"),
                preprocess=preprocess,
            ),
            lambda note: images,
        )
        assert found.check is not None
        return Packed(found.model, found.check, found.notes)

    return Entrant(
        name,
        str(genotype),
        graph.parameters,
        graph.flops,
        lambda: space.to_torch(genotype, macro),
        pack,
    )


def well_known(name: str, macro: Macro, preprocess: Preprocess) -> Entrant:
    """One of `BASELINES` or of torchvision, written as ONNX by PyTorch."""
    import torch

    if is_reference(name) and macro.inputs != 3:
        raise InvalidValueError(f"{name} reads 3 channels, and the images have {macro.inputs}: leave it out")
    check_onnx()
    images = torch.zeros(1, macro.inputs, macro.resolution, macro.resolution)

    def make() -> nn.Module:
        return baseline(name, classes=macro.classes, inputs=macro.inputs)

    def pack(network: nn.Module, judged: Images) -> Packed:
        about = {"arch": name, "weights": "trained", "preprocess": json.dumps(preprocess.to_dict())}
        model = to_onnx(network, images, about)
        return Packed(model, compared(network, runtime(model, _OPSET), judged, lambda *_: None), ())

    made = make()
    check_images(made, name, images, macro.classes)
    params = sum(each.numel() for each in made.parameters())
    return Entrant(name, name, params, multiply_accumulates(made, images), make, pack)


def entrants(
    first: Entrant,
    names: list[str],
    *,
    space: SearchSpace[Any],
    macro: Macro,
    preprocess: Preprocess,
    seed: int,
) -> list[Entrant]:
    """What was found, then those of these names.

    Raises InvalidValueError: an unknown name.
    """
    found = [first]
    for name in names:
        if name in OF_SPACE:
            rng = np.random.default_rng(derive_seed(seed, "train", name))
            mask = space.random_path(rng) if name == "random" else largest(space, macro, rng)
            found.append(of_space(name, space, space.genotype(mask), macro, preprocess))
        elif name in BASELINES or is_reference(name):
            found.append(well_known(name, macro, preprocess))
        else:
            raise unknown_choice("baseline", name, [*OF_SPACE, *BASELINES, f"{PREFIX}{REFERENCES[0]}"])
    return found
