"""What graphs of mobile networks are made of, in the paths of their trainable modules."""

from __future__ import annotations

from znas_engine.graph import Builder


def conv_norm_relu(
    b: Builder,
    path: str,
    x: int,
    channels: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    first: int = 0,
) -> int:
    """A convolution, its normalisation and a ReLU, as the modules `first` and on of `path`."""
    y = b.conv(f"{path}.{first}", x, channels, kernel, stride=stride, padding=kernel // 2, groups=groups)
    return b.relu(f"{path}.{first + 2}", b.norm(f"{path}.{first + 1}", y))


def inverted_residual(
    b: Builder, path: str, x: int, channels: int, *, expansion: int, kernel: int, stride: int
) -> int:
    """Expand, filter each channel by itself, project (Sandler et al., CVPR 2018); the input is added where
    shape stays. Expansion 1 has nothing to expand."""
    inputs, body, y = b.shape(x)[0], f"{path}.body", x
    wide = expansion * inputs
    if expansion > 1:
        y = conv_norm_relu(b, body, x, wide, 1)
    at = 3 if expansion > 1 else 0
    y = conv_norm_relu(b, body, y, wide, kernel, stride=stride, groups=wide, first=at)
    y = b.norm(f"{body}.{at + 4}", b.conv(f"{body}.{at + 3}", y, channels, 1))
    return b.add(f"{path}.sum", [x, y]) if stride == 1 and channels == inputs else y
