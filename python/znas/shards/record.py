"""What the folder of a part says of itself: which command, which part, and what the whole job consists of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from znas.files import rewrite_file
from znas.shape import Each, Many, misshapen
from znas.shards.shard import Shard
from znas_engine import __version__, paths, strict_json
from znas_engine.errors import InvalidValueError, StorageError, briefly

#: Its name in the folder, and what it begins with.
FILE, FORMAT = "shard.json", "znas-engine shard 1"

_TEXTS = Many(str)
_COMMAND = {"verb": Many(str, 1), "arguments": _TEXTS, "decides": _TEXTS, "beside": _TEXTS}
_SHAPE = {
    "format": str,
    "version": str,
    "command": _COMMAND,
    "shard": str,
    "finished": bool,
    "works": Each({"identity": dict, "pieces": _TEXTS}),
}


@dataclass(frozen=True, slots=True)
class Command:
    """What was asked for, without the part and the output.

    verb: its words. arguments, decides: those and options that say what is computed. beside: others, on which
    results do not depend: paths (their content is a part of a job's identity) and threads.
    """

    verb: tuple[str, ...]
    arguments: tuple[str, ...]
    decides: tuple[str, ...]
    beside: tuple[str, ...]

    def words(self, out: Path, *others: str) -> list[str]:
        """As the command line takes it. others: further options."""
        options = [*self.beside, *self.decides, *others, "--out", str(out)]
        return [*self.verb, *options, *(["--", *self.arguments] if self.arguments else [])]

    def difference(self, other: Command) -> str | None:
        """The first thing that the other was asked otherwise, in words; None if all parts may be asked so."""
        ours, theirs = ((*each.verb, *each.decides, *each.arguments) for each in (self, other))
        if ours == theirs:
            return None
        i = next(i for i, (a, b) in enumerate(zip_longest(ours, theirs)) if a != b)
        here, there = (" ".join(words[max(i - 1, 0) : i + 2]) for words in (ours, theirs))
        return f"its command has {briefly(there)}, where the other has {briefly(here)}"


@dataclass(frozen=True, slots=True)
class Work:
    """A work file of the job. pieces: the keys of all its pieces, those of other parts too, without those
    that follow from others."""

    identity: dict[str, Any]
    pieces: list[str]


@dataclass(frozen=True, slots=True)
class Record:
    """works: by name, those that are known so far. finished: whether the part is."""

    command: Command
    shard: Shard
    works: dict[str, Work]
    finished: bool

    @classmethod
    def read(cls, folder: Path) -> Record:
        """StorageError where the folder holds none; InvalidValueError for one of another version."""
        path = folder / FILE
        if not paths.is_file(path, "the part"):
            raise StorageError(f"{folder} is no part of a job (it has no {FILE}): name folders of --shard")
        found = strict_json.parse(paths.read(path, "the part"), f"the part {path}")
        version = found.get("version") if isinstance(found, dict) else None
        if isinstance(version, str) and version != __version__:
            raise InvalidValueError(
                f"{folder} is a part by znas-engine {version}, and this is {__version__}: use that one, or "
                "do the parts again"
            )
        wrong = misshapen(found, _SHAPE, "it")
        if wrong is not None or found["format"] != FORMAT:
            raise StorageError(f"{path} is not as znas-engine wrote it; move {folder} away")
        return cls(
            Command(**{name: tuple(found["command"][name]) for name in _COMMAND}),
            Shard.parse(found["shard"]),
            {name: Work(each["identity"], each["pieces"]) for name, each in found["works"].items()},
            found["finished"],
        )

    def write(self, folder: Path) -> None:
        """Makes the folder; StorageError where that cannot be."""
        about = {
            "format": FORMAT,
            "version": __version__,
            "command": asdict(self.command),
            "shard": str(self.shard),
            "finished": self.finished,
            "works": {name: asdict(work) for name, work in self.works.items()},
        }
        rewrite_file(folder / FILE, json.dumps(about, indent=1).encode())
