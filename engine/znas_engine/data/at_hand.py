"""Images that were read already, at every size at which they were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from znas_engine.data import IN_MEMORY, Dataset, load


class AtHand:
    """What `load` takes in place of what it was asked for first: the same data sets, each read once.

    asked, data_dir: as `load` has them. It pickles with all that it has read, so that nothing is read again
    elsewhere; what was not read before is read there, by its name. A data set that decodes pictures as they
    are drawn (image folders) pickles without them, and finds them at the same path elsewhere.
    """

    def __init__(self, asked: Any, data_dir: Path | None) -> None:
        self._asked = asked
        self._data_dir = data_dir
        self._read: dict[tuple[int | None, int | None], Dataset] = {}

    def keep(self, resolution: int | None, channels_in: int | None, found: Dataset) -> None:
        """What `load` made of these."""
        self._read[resolution, channels_in] = found

    def __call__(self, resolution: int | None = None, channels_in: int | None = None) -> Dataset:
        """Raises as `load`."""
        if (resolution, channels_in) not in self._read:
            found = load(self._asked, data_dir=self._data_dir, resolution=resolution, channels_in=channels_in)
            self.keep(resolution, channels_in, found)
        return self._read[resolution, channels_in]

    def __getstate__(self) -> dict[str, Any]:
        """Arrays and other objects were read: they go without what they were read from."""
        named = self._asked is None or isinstance(self._asked, str)
        return self.__dict__ | {"_asked": self._asked if named else IN_MEMORY}
