"""What Python callers and command lines pass: masks, and fields of a request."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import znas
from tests.torture import mutate
from tests.torture.inputs.base import NB201, Input


class Masks(Input):
    """Arrays and what passes for them: those that are taken score as the float32 array that they equal."""

    name = "masks"

    def __init__(self, folder: Path) -> None:
        from znas.setup import Setup

        super().__init__(folder)
        request = znas.Request(
            score="naswot",
            images=4,
            supernet_channels=2,
            supernet_cells=1,
            resolution=8,
            threads=1,
            backend="native",
        )
        self.setup = Setup(request)

    def make(self, rng: Random) -> Any:
        draws = np.random.default_rng(rng.getrandbits(32))
        masks: Any = np.stack(
            [NB201.random_path(draws) for _ in range(rng.randint(0, 3))] or [NB201.mixture()]
        )
        at = tuple(int(draws.integers(side)) for side in masks.shape)
        match rng.randrange(12):
            case 0:
                masks = masks.astype(rng.choice(["f2", "f8", "i1", "u8", "b1", "c8", "O", "U3", "M8[s]"]))
            case 1:
                masks[at] = rng.choice([np.nan, np.inf, -1.0, -0.0, 1e-45, 3.4e38])
            case 2:
                masks = masks.tolist()
            case 3:
                masks = rng.choice([None, "mask", b"mask", 3, [], {}, [[1, 2], [3]], object()])
            case 4:
                masks = masks[rng.choice([0, slice(0, 0), (..., 0), (slice(None), slice(0, 5)), None])]
            case 5:
                masks = masks.transpose(rng.sample(range(3), 3))
            case 6:
                masks = masks[..., ::-1]
            case 7:
                masks.flags.writeable = False
            case 8:
                masks = np.ma.masked_array(masks, mask=masks > 2)
            case 9:
                masks = masks.astype(">f4")
            case 10:
                masks = np.broadcast_to(masks[:1], (2, *masks.shape[1:]))
            case _:
                masks[at] = draws.random()
        return masks

    def use(self, case: Any) -> bool:
        found = self.setup.measure(case)
        plain = np.ascontiguousarray(np.asarray(case, dtype=np.float32))
        return bool(np.array_equal(found, self.setup.measure(plain)))


class Numbers(Input):
    """Fields of a request: what is taken is that number, exactly."""

    name = "arguments of a search"
    FIELDS = (
        "seed",
        "images",
        "envs",
        "p",
        "threads",
        "supernet_channels",
        "supernet_cells",
        "supernet_resolution",
        "resolution",
        "channels_in",
        "race",
        "precision",
        "max_evaluations",
        "finalists",
    )

    def make(self, rng: Random) -> dict[str, Any]:
        number = rng.choice(
            [0, 1, 2, 3, 8, -1, 2**31, 2**63 - 1, 2**63, 10**25, 0.5, 1.0, 1.5, math.nan, math.inf]
        )
        try:
            value = rng.choice(
                [
                    int,
                    float,
                    str,
                    bool,
                    np.int64,
                    np.uint8,
                    np.float16,
                    np.float64,
                    np.array,
                    lambda n: [n],
                    complex,
                    lambda n: None,
                    lambda n: str(n).encode(),
                    lambda n: np.full(6, n),
                    repr,
                    lambda n: {n: n},
                ]
            )(number)
        except (OverflowError, ValueError):
            value = number
        text = rng.choice(
            [
                "space",
                "data",
                "backend",
                "device",
                "preset",
                "score",
                "norm",
                "init",
                "game",
                "dtype",
                "aggregate",
                "prior",
                "selection",
                "order",
            ]
        )
        if rng.random() < 0.3:
            return {text: rng.choice([value, *mutate.WORDS, *mutate.VALUES])}
        return {rng.choice(self.FIELDS): value}

    def use(self, case: dict[str, Any]) -> bool:
        from znas.setup import Setup

        request = znas.Request(
            **({"supernet_channels": 2, "supernet_cells": 1, "resolution": 8, "images": 4} | case)
        )
        setup = Setup(request)
        ((name, value),) = case.items()
        taken = getattr(request, name)
        if name in self.FIELDS and name != "p" and value is not None:
            return bool(taken == np.asarray(value).item() and type(taken) in (int, float))
        return setup.images >= 1
