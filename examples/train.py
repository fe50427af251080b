"""Trains what a search found, with nothing but torch and Pillow: its run folder says how pictures are fed.

python examples/train.py runs/first examples/five-classes/train weights.pt
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image


def module_of(run: Path) -> ModuleType:
    """The `architecture.py` of a run folder."""
    spec = importlib.util.spec_from_file_location("architecture", run / "architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tensor(file: Path, a: ModuleType) -> np.ndarray:
    """A picture as the search saw it, float32 [3, SIZE, SIZE]: the centre square, resized, normalised."""
    picture = Image.open(file).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    pixels = np.asarray(picture.resize((a.SIZE, a.SIZE), Image.Resampling.BILINEAR, box=box), np.float32)
    scale, mean, std = np.float32(a.SCALE), np.array(a.MEAN, np.float32), np.array(a.STD, np.float32)
    return ((pixels - scale * mean) / (scale * std)).transpose(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a folder that `znas-engine search --out` wrote")
    parser.add_argument("pictures", type=Path, help="one folder of pictures per class")
    parser.add_argument("out", type=Path, help="a new file for the weights")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--channels", type=int, help="another width than was found")
    parser.add_argument("--cells", type=int, help="another depth than was found")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    a = module_of(asked.run)
    files = [
        (file, k) for k, name in enumerate(a.CLASSES) for file in sorted((asked.pictures / name).iterdir())
    ]
    images = torch.from_numpy(np.stack([tensor(file, a) for file, _ in files]))
    labels = torch.tensor([k for _, k in files])
    size = {name: value for name in ("channels", "cells") if (value := getattr(asked, name)) is not None}
    network = a.build(**size)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4)
    batches = -(-len(labels) // 30)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.05, total_steps=asked.epochs * batches)
    for epoch in range(asked.epochs):
        for rows in torch.randperm(len(labels)).split(30):
            flipped = images[rows].flip(3) if epoch % 2 else images[rows]
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(flipped), labels[rows])
            loss.backward()
            optimiser.step()
            schedule.step()
    torch.save(network.state_dict(), asked.out)
    print(f"{asked.out}: {asked.epochs} epochs of {len(labels)} pictures, last loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
