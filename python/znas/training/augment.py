"""What a recipe does to the images of a batch, on whatever device they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from znas.training.recipe import Recipe

#: Side ratios of a window that fills the image.
_RATIOS = (3 / 4, 4 / 3)


@dataclass(frozen=True, slots=True)
class Augment:
    """float32 [n, C, H, W], normalised, to the same; draws from torch's generator of their device.

    mean, std: float32 [1, C, 1, 1] of what normalised them, in units of the largest value of a pixel; None
    where it is not known: black is then the mean colour, and nothing is jittered.
    """

    recipe: Recipe
    mean: Tensor | None
    std: Tensor | None

    def __call__(self, images: Tensor) -> Tensor:
        recipe = self.recipe
        if recipe.resized_crop is not None:
            images = resized_crop(images, recipe.resized_crop)
        if recipe.crop:
            images = shifted(images, round(recipe.crop * images.shape[2]), self._black(images))
        if recipe.flip:
            images = flipped(images)
        if recipe.jitter and self.mean is not None and self.std is not None:
            mean, std = self.mean.to(images), self.std.to(images)
            images = (jittered(images * std + mean, recipe.jitter) - mean) / std
        if recipe.cutout:
            images = cut_out(images, round(recipe.cutout * images.shape[2]))
        return images

    def _black(self, images: Tensor) -> Tensor:
        if self.mean is None or self.std is None:
            return images.new_zeros(1, images.shape[1], 1, 1)
        return (-self.mean / self.std).to(images)


@dataclass(frozen=True, slots=True)
class OnBytes:
    """A transform of pictures of 8 bits, uint8 [C, H, W], as a function of a batch of normalised images, of
    which each is drawn for apart. mean, std: as of `Augment`."""

    transform: Callable[[Tensor], Tensor]
    mean: Tensor
    std: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        mean, std = self.mean.to(images), self.std.to(images)
        pixels = (255 * (images * std + mean)).round().clamp(0, 255).to(torch.uint8)
        changed = torch.stack([self.transform(each) for each in pixels])
        return (changed.to(images) / 255 - mean) / std


def flipped(images: Tensor) -> Tensor:
    """Half of them, left to right."""
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(chosen, images.flip(3), images)


def shifted(images: Tensor, most: int, beyond: Tensor) -> Tensor:
    """Each by up to `most` pixels in both directions; beyond: what comes in, float32 [1, C, 1, 1]."""
    n, _, height, width = images.shape
    padded = F.pad(images - beyond, (most, most, most, most))
    by = torch.randint(0, 2 * most + 1, (2, n, 1), device=images.device)
    rows = by[0] + torch.arange(height, device=images.device)
    columns = by[1] + torch.arange(width, device=images.device)
    each = torch.arange(n, device=images.device)
    cut = padded.permute(0, 2, 3, 1)[each[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2) + beyond


def cut_out(images: Tensor, side: int) -> Tensor:
    """In each a square becomes 0, the mean colour; its centre is any pixel, so a part may lie outside.

    DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017.
    """
    n, _, height, width = images.shape
    inside = []
    for length in (height, width):
        first = torch.randint(0, length, (n, 1), device=images.device) - side // 2
        at = torch.arange(length, device=images.device)
        inside.append((at >= first) & (at < first + side))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole, 0.0)


def resized_crop(images: Tensor, least: float) -> Tensor:
    """In each a window of `least` of the area or more, resized bilinearly to all of it.

    Szegedy et al., Going Deeper with Convolutions, CVPR 2015, section 6.
    """
    n, device = len(images), images.device
    area = least + (1 - least) * torch.rand(n, device=device)
    low, high = (torch.log(torch.tensor(ratio)).item() for ratio in _RATIOS)
    ratio = torch.exp(low + (high - low) * torch.rand(n, device=device))
    size = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1.0)
    centre = (2 * torch.rand(n, 2, device=device) - 1) * (1 - size)
    grid = F.affine_grid(
        torch.cat([torch.diag_embed(size), centre[:, :, None]], 2), list(images.shape), align_corners=False
    )
    return F.grid_sample(images, grid.to(images), padding_mode="reflection", align_corners=False)


def jittered(pixels: Tensor, most: float) -> Tensor:
    """Pixels from 0 to 1 of another brightness, contrast and saturation, each by 1 - most to 1 + most."""
    brightness, contrast, saturation = 1 + most * (
        2 * torch.rand(3, len(pixels), 1, 1, 1, device=pixels.device) - 1
    )
    pixels = (pixels * brightness).clamp(0, 1)
    middle = _grey(pixels).mean((1, 2, 3), keepdim=True)
    pixels = (middle + contrast * (pixels - middle)).clamp(0, 1)
    grey = _grey(pixels)
    mixed: Tensor = grey + saturation * (pixels - grey)
    return mixed.clamp(0, 1)


def _grey(pixels: Tensor) -> Tensor:
    if pixels.shape[1] != 3:
        return pixels.mean(1, keepdim=True)
    weights = pixels.new_tensor([0.299, 0.587, 0.114])
    return torch.einsum("nchw,c->nhw", pixels, weights)[:, None]
