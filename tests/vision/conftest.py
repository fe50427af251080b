"""What asks about the real torchvision and timm: skipped without, required by `make test-vision`."""

from __future__ import annotations

import os
from importlib import import_module

import pytest

from znas_engine.data.torchvision_sets import torchvision


@pytest.fixture(scope="session", autouse=True)
def both() -> None:
    try:
        torchvision()
        import_module("timm")
    except ImportError as error:
        if os.environ.get("ZNAS_REQUIRE_TORCHVISION"):
            raise
        pytest.skip(f"torchvision and timm: {error}")
