"""What we left on the disk ourselves, damaged: work files, the cache, checkpoints."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np

from tests.torture import mutate
from tests.torture.inputs.base import NB201, Input
from znas_engine.errors import ZnasError


class Journals(Input):
    """Work files with changed bytes: what is read was written, and a file that is refused stays as it was."""

    name = "journals"
    weight = 4
    JOB: ClassVar = {"job": "torture", "seed": 1}
    PIECES: ClassVar = {str(k): [k / 3, "x" * k] for k in range(5)}

    def make(self, rng: Random) -> bytes:
        from znas_engine.journal import Journal

        path = self.folder / "whole.work"
        path.unlink(missing_ok=True)
        with Journal(path, self.JOB) as journal:
            for key, value in self.PIECES.items():
                journal.record(key, value)
        data = path.read_bytes()
        lines = data.splitlines(keepends=True)
        match rng.randrange(6):
            case 0:
                return mutate.bytes_of(data, rng)
            case 1:
                rng.shuffle(lines)
            case 2:
                del lines[rng.randrange(len(lines))]
            case 3:
                lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            case 4:
                return rng.choice([b"", b"notes", b"notes\n", rng.randbytes(200), b"{}\n" * 3])
            case _:
                return mutate.flipped(data, rng)
        return b"".join(lines)

    def use(self, case: bytes) -> bool:
        from znas_engine.journal import Journal

        path = self.put("changed.work", case)
        try:
            with Journal(path, self.JOB) as journal:
                done, written = [*journal.done.items()], [*self.PIECES.items()]
                whole = case.count(b"\n") - 1  # the first line is the job's
                return done == written[: len(done)] and len(done) >= min(whole, len(written))
        except ZnasError:
            if path.read_bytes() != case:
                return False
            raise


class CacheEntries(Input):
    """Flipped bits in the cache: the same bytes come back, whether found or built again."""

    name = "cache entries"
    weight = 3

    def make(self, rng: Random) -> tuple[int, int]:
        return rng.getrandbits(30), rng.randrange(4)

    def use(self, case: tuple[int, int]) -> bool:
        from znas_engine.storage import load_or_build

        seed, how = case
        rng = Random(seed)
        os.environ["ZNAS_CACHE"] = str(self.folder / "cache")
        number = rng.randrange(5)

        def found(of: int = number) -> bytes:
            return load_or_build(
                "torture", {"of": of}, lambda: b"data %d" % of * 30, report=lambda line: None
            )

        data = b"data %d" % number * 30
        if found() != data or found(5) != b"data 5" * 30:
            return False
        files = [
            path for path in (self.folder / "cache").rglob("*") if path.is_file() and path.stat().st_size
        ]
        path = rng.choice(files)
        whole = path.read_bytes()
        if how == 3:  # an entry under another one's name
            path.write_bytes(rng.choice(files).read_bytes())
            return found() == data and found() == data
        path.write_bytes(
            [mutate.flipped, mutate.bytes_of, lambda d, r: d[: r.randrange(len(d))]][how](whole, rng)
        )
        return found() == data and found() == data


class Checkpoints(Input):
    """Flipped bits in a checkpoint: training goes on to the same weights, or does not begin."""

    name = "checkpoints"
    weight = 3

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        macro = replace(NB201.proxy_macro(resolution=8, classes=2), channels=2, cells=1)
        self.graph = NB201.supernet(macro)
        self.whole = self.train(self.folder / "whole")

    def train(self, checkpoint: Path) -> Any:
        from znas_engine.data import Batch
        from znas_engine.environment import Environment
        from znas_engine.supernet.training import Schedule, train

        pixels = np.random.default_rng(0).standard_normal((8, 3, 8, 8), dtype=np.float32)
        batch = Batch(pixels, np.arange(8) % 2)
        return train(
            self.graph,
            Environment(1, "gaussian", batch),
            Schedule(epochs=1, batch=4, learning_rate=0.1),
            draw_mask=NB201.random_path,
            threads=1,
            identity={"job": "torture"},
            checkpoint=checkpoint,
        )

    def make(self, rng: Random) -> bytes:
        whole = (self.folder / "whole").read_bytes()
        if rng.random() < 0.1:
            return whole  # which is gone on from
        return rng.choice([mutate.flipped, mutate.flipped, mutate.bytes_of])(whole, rng)

    def use(self, case: bytes) -> bool:
        path = self.put("changed", case)
        try:
            found = self.train(path)
        except ZnasError:
            if path.read_bytes() != case:
                return False
            raise
        return all(np.array_equal(found[name], self.whole[name]) for name in self.whole)


class Trainings(Input):
    """Flipped bits in what a training goes on from: the same tensors and numbers, or a refusal."""

    name = "trainings"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import torch

        from znas.training import checkpoint

        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
        steps = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        network(torch.rand(2, 3, 8, 8)).square().mean().backward()
        steps.step()
        self.tree = {"epoch": 3, "state_dict": dict(network.state_dict()), "optimizer": steps.state_dict()}
        checkpoint.write(self.folder / "whole", self.tree, {"job": "torture"})

    def make(self, rng: Random) -> bytes:
        whole = (self.folder / "whole").read_bytes()
        return rng.choice([mutate.flipped, mutate.flipped, mutate.bytes_of])(whole, rng)

    def use(self, case: bytes) -> bool:
        from znas.training import checkpoint

        path = self.put("changed", case)
        try:
            job, tree = checkpoint.read(path)
        except ZnasError:
            if path.read_bytes() != case:
                return False
            raise
        checkpoint.write(self.folder / "again", tree, job)
        return (self.folder / "again").read_bytes() == (self.folder / "whole").read_bytes()
