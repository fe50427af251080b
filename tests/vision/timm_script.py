"""Training as timm's own train.py does it, which its package does not hold: timm's parts and nothing of ours.

python architecture.py timm_script.py --model znas_found --data-dir FOLDER --output FOLDER
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from timm import create_model
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.models import resolve_model_input_args
from timm.optim import create_optimizer_v2
from timm.task import ClassificationTask
from timm.utils import CheckpointSaver, ModelEmaV3, accuracy


def loader(folder: str, config: dict[str, Any], *, train: bool) -> Any:
    return create_loader(
        create_dataset("", root=folder, is_training=train),
        batch_size=15,
        is_training=train,
        use_prefetcher=False,
        no_aug=True,
        num_workers=0,
        **{name: config[name] for name in ("input_size", "interpolation", "mean", "std", "crop_pct")},
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--num-classes", type=int)
    parser.add_argument("--in-chans", type=int)
    parser.add_argument("--epochs", type=int, default=1)
    asked = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    given = resolve_model_input_args(asked.model, vars(asked), num_classes=asked.num_classes, drop_rate=0.0)
    model = create_model(**given)
    config = resolve_data_config(vars(asked), model=model)
    optimiser = create_optimizer_v2(model, opt="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4)
    average = ModelEmaV3(model)
    task = ClassificationTask(model, verbose=False)
    saver = CheckpointSaver(model, optimiser, args=asked, model_ema=average, checkpoint_dir=asked.output)
    model.train()
    for _ in range(asked.epochs):
        for images, labels in loader(f"{asked.data_dir}/train", config, train=True):
            optimiser.zero_grad()
            task(images, labels)["loss"].backward()
            optimiser.step()
            average.update(model)
    model.eval()
    right, total = 0.0, 0
    for images, labels in loader(f"{asked.data_dir}/val", config, train=False):
        with torch.inference_mode():
            right += float(accuracy(model(images), labels)[0]) / 100 * len(labels)
        total += len(labels)
    saver.save_checkpoint(0, metric=right / total)
    print(json.dumps({"accuracy": right / total}))


if __name__ == "__main__":
    main()
