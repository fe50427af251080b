"""What PyTorch raises of a GPU, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from znas_engine.errors import DeviceError, DeviceMemoryError


@contextmanager
def device_errors() -> Iterator[None]:
    """DeviceMemoryError where PyTorch finds the GPU's memory full, DeviceError where it lost the GPU."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"the GPU's memory is full ({_first_line(error)}); free some, or take a smaller "
            "--supernet-channels"
        ) from error
    except torch.AcceleratorError as error:
        raise DeviceError(f"the GPU failed ({_first_line(error)}); nvidia-smi shows its state") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
