"""Images that were read already, at every size at which they were asked for."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from znas_engine.data import IN_MEMORY, Dataset, load
from znas_engine.errors import DataError


class AtHand:
    """What `load` takes in place of what it was asked for first: the same data sets, each read once.

    asked, data_dir: as `load` has them. It pickles with all that it has read, so that nothing is read again
    elsewhere; what was not read before is read there, by its name. A data set that decodes pictures as they
    are drawn (image folders) pickles without them, and finds them at the same path elsewhere: where they are
    others there, that is said before any is shown.
    """

    def __init__(self, asked: Any, data_dir: Path | None) -> None:
        self._asked = asked
        self._data_dir = data_dir
        self._read: dict[tuple[int | None, int | None], Dataset] = {}
        #: Of what came from another process, until it was seen to be the same here.
        self._unseen: dict[tuple[int | None, int | None], str] = {}

    def keep(self, resolution: int | None, channels_in: int | None, found: Dataset) -> None:
        """What `load` made of these."""
        self._read[resolution, channels_in] = found

    def __call__(self, resolution: int | None = None, channels_in: int | None = None) -> Dataset:
        """Raises as `load`, and DataError for other data than where this was pickled."""
        key = resolution, channels_in
        if key not in self._read:
            found = load(self._asked, data_dir=self._data_dir, resolution=resolution, channels_in=channels_in)
            self.keep(resolution, channels_in, found)
        if (identity := self._unseen.pop(key, None)) is not None:
            self._check(self._read[key], identity)
        return self._read[key]

    def _check(self, found: Dataset, identity: str) -> None:
        where = f"{found.origin} on {socket.gethostname()}"
        try:
            same = found.identity == identity
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        if not same:
            raise DataError(f"{where} is not what it is where the command was given: copy it there")

    def __getstate__(self) -> dict[str, Any]:
        """Arrays and other objects were read: they go without what they were read from."""
        named = self._asked is None or isinstance(self._asked, str)
        identities = {key: found.identity for key, found in self._read.items()}
        return self.__dict__ | {"_asked": self._asked if named else IN_MEMORY, "_unseen": identities}
