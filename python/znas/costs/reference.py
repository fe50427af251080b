"""What a well-known network costs, beside which one that was found is seen: torchvision's, random weights."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from znas.costs.latency import PROCESSES, Latency, Stopwatch, Target
from znas.costs.quantities import in_words
from znas.output import Document, Facts, Notes, Part
from znas.output.notebook import Shown
from znas.vision import torchvision_network
from znas_engine.arguments import check_between
from znas_engine.data.torchvision_sets import PREFIX
from znas_engine.errors import InvalidValueError, in_short
from znas_engine.spaces.parts import MOST_PIXELS

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Of the ONNX file that is timed, as of those that are deployed.
_OPSET = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceProfile(Shown):
    """params: trainable. flops: multiply-accumulates of one image, as `Graph.flops` counts them. latency:
    None where no target was given."""

    name: str
    classes: int
    resolution: int
    params: int
    flops: int
    latency: Latency | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        latency = self.latency
        timed = None if latency is None else asdict(latency) | {"target": str(latency.target)}
        return asdict(self) | {"latency": timed}

    def document(self) -> Document:
        """What the command prints."""
        size = f"{self.resolution} x {self.resolution} pixels, {self.classes} classes, random weights"
        facts = [
            ("network", f"{self.name}, {size}"),
            ("params", f"{in_words('params', self.params)} parameters"),
            ("flops", f"{in_words('flops', self.flops)} multiply-accumulates"),
        ]
        if self.latency is not None:
            facts.append(("latency", str(self.latency)))
        parts: list[Part] = [Facts(facts)]
        if self.latency is not None and self.latency.remarks:
            parts.append(Notes(self.latency.remarks))
        return Document(f"The network {self.name}", parts, self.to_dict())


def profile_reference(name: str, *, classes: int, resolution: int, latency: str | None) -> ReferenceProfile:
    """Of `torchvision:NAME`, of images [1, 3, resolution, resolution]. latency: where it is timed, as text.

    Raises:
        InvalidValueError: a network that there is not, or does not take such images; a target on which it
            does not run. MissingDependencyError: no torchvision, or a target that is not here.
    """
    import torch

    check_between("resolution", resolution, 1, MOST_PIXELS)
    target = None if latency is None else Target.parse(latency)
    if target is not None and target.backend == "native":
        raise InvalidValueError(
            f"`target` must be of ort, torch or trt for {name}, as native runs networks of spaces alone, but "
            f"got {target}"
        )
    short = name.removeprefix(PREFIX)
    network = torchvision_network(short, classes).eval()
    images = torch.zeros(1, 3, resolution, resolution)
    check_images(network, name, images, classes)
    timed = None
    if target is not None:
        with (
            TemporaryDirectory(prefix="znas-", ignore_cleanup_errors=True) as folder,
            Stopwatch(target, processes=PROCESSES) as watch,
        ):
            asked = {"shape": [3, resolution, resolution]}
            if target.backend == "torch":
                made = {"name": short, "classes": classes}
                timed = watch.timed(asked | {"reference": made}, resolution)
            else:
                file = Path(folder) / "reference.onnx"
                write_onnx(network, images, file)
                timed = watch.timed(asked | {"model": str(file)}, resolution)
    return ReferenceProfile(
        name=name,
        classes=classes,
        resolution=resolution,
        params=sum(each.numel() for each in network.parameters()),
        flops=multiply_accumulates(network, images),
        latency=timed,
    )


def check_images(network: nn.Module, name: str, images: Tensor, classes: int) -> None:
    """InvalidValueError where a network gives no logits of `classes` for such images, float32
    [1, C, H, W]."""
    import torch

    side = images.shape[-1]
    try:
        with torch.inference_mode():
            logits = network.eval()(images)
    except Exception as error:  # each network has its own way to refuse images
        raise InvalidValueError(
            f"{name} does not take images of {side} x {side} pixels ({in_short(error)}): name another "
            "--resolution, such as 224"
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, classes):
        raise InvalidValueError(f"{name} gives no logits of {classes} classes: name a classifier")


def multiply_accumulates(network: nn.Module, images: Tensor) -> int:
    """Of one image, float32 [1, C, H, W], in evaluation mode: of what torch counts, and of the biases of
    linear layers, as `Graph.flops` counts them."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    biases: list[int] = []

    def count(layer: Any, inputs: Any, output: Tensor) -> None:
        biases.append(output.numel() if layer.bias is not None else 0)

    linear = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in linear]
    # The counter sees neither into the fast path nor into fused attention.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network.eval()(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
    return int(counter.get_total_flops()) // 2 + sum(biases)


def write_onnx(network: nn.Module, images: Tensor, file: Path) -> None:
    """As ONNX, normalisation folded; by the exporter of torch that needs no other package."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is another exporter
        torch.onnx.export(
            network,
            (images,),
            str(file),
            dynamo=False,
            opset_version=_OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
        )
