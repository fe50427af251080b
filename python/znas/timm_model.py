"""The end of architecture.py: how timm, where it is installed, takes the network as a model of its own.

timm is imported when its model is asked for, never before: architecture.py imports torch alone.
"""

from __future__ import annotations

#: What timm calls the model, unless `register_timm` is told another name.
NAME = "znas_found"

_TEXT = '''

def register_timm(name: str = "{name}") -> None:
    """Makes the network a model of timm: timm.create_model("{name}"), and --model of its scripts.

    Its images are what is said above. It takes num_classes (0 gives what the classifier reads) and what
    `build` takes; its weights have the keys of `build`'s.
    """
    import sys
    from types import ModuleType
    from typing import Any

    from timm.models import build_model_with_cfg, register_model
    from torch import nn

    def create(
        num_classes: int = {classes}, in_chans: int = {inputs}, drop_rate: float = 0.0, **size: int
    ) -> nn.Module:
        if in_chans != {inputs}:
            raise ValueError(f"the network reads {inputs} channels but in_chans={{in_chans}}: leave that out")
        if drop_rate:
            raise ValueError(f"the network has no dropout for drop_rate={{drop_rate}}: leave that out")
        network: Any = build(**size)

        class Found(type(network)):
            def get_classifier(self) -> nn.Module:
                return self.get_submodule("{classifier}")

            def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
                self.num_classes = num_classes
                layer = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
                self.set_submodule("{classifier}", layer)

        network.__class__ = Found
        network.num_classes, network.num_features = {classes}, network.get_classifier().in_features
        if num_classes != network.num_classes:
            network.reset_classifier(num_classes)
        return network

    def entry(pretrained: bool = False, **asked: Any) -> nn.Module:
        return build_model_with_cfg(create, name, pretrained, **asked)

    about = {{"input_size": ({inputs}, SIZE, SIZE), "interpolation": "bilinear", "crop_pct": 1.0}}
    about |= {{"num_classes": {classes}, "label_names": CLASSES, "classifier": "{classifier}"}}
    if SCALE == 255:  # timm's mean and std are of pixels from 0 to 1
        about |= {{"mean": MEAN, "std": STD}}
    entry.__name__ = entry.__module__ = name
    home: Any = ModuleType(name)  # where timm looks for what a model's images are
    home.default_cfgs = {{name: about}}
    sys.modules[name] = home
    register_model(entry)


if __name__ == "__main__":  # python architecture.py train.py --model {name} ...: a script that then knows it
    import runpy
    import sys
    from pathlib import Path

    if len(sys.argv) < 2:
        sys.exit("usage: python architecture.py SCRIPT ...: a script of timm, whose --model may be {name}")
    register_timm()
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
'''


def source(*, classes: int, inputs: int, classifier: str) -> str:
    """Of a network with so many classes and channels of an image, whose last layer is the submodule
    `classifier`; it reads the constants of architecture.py and its `build`."""
    return _TEXT.format(name=NAME, classes=classes, inputs=inputs, classifier=classifier)
