"""Versions that this process has verified: while their files are as they were, read without digests.

A model that memory has no room for is read again and again, and its digests took most of that.
"""

import time
from pathlib import Path
from typing import NamedTuple

from nearnorm.models.bundle.bundle import MANIFEST, MODEL, Bundle, read_verified
from nearnorm.models.store.folder import ModelStore


class _Mark(NamedTuple):
    """By what a change of a file is noticed. Times are in nanoseconds."""

    inode: int
    size: int
    modified: int
    changed: int


class VerifiedVersions:
    """A store as one process reads it. Called in several threads."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._known: dict[str, tuple[Path, list[_Mark]]] = {}

    def open(self, version: str) -> Bundle:
        """As the store's: verified now, or earlier and unchanged since."""
        known = self._known.get(version)
        if known is not None:
            folder, marks = known
            try:
                if _marks(folder) == marks:
                    return read_verified(folder)
            except OSError:  # deleted
                pass
        began = time.time_ns()
        bundle = self._store.open(version)
        marks = _marks(bundle.path)
        if all(mark.changed < began for mark in marks):  # else they may be others than those that were read
            self._known[version] = bundle.path, marks
        return bundle


def _marks(folder: Path) -> list[_Mark]:
    """Raises OSError."""
    stats = [(folder / name).stat() for name in (MANIFEST, MODEL)]
    return [_Mark(stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats]
