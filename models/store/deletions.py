"""Deleted versions of a store in a folder.

    deleted/<sha256>.json           that a version was deleted, when and by whom
    versions/.deleted-<sha256>/     one that is withdrawn: nobody can open it any more, and it can be put back

A version is deleted in two steps: it is withdrawn, and cleared once nobody is seen to need it still. Whoever
activates a version looks for it again once the entry is in the log, and whoever deletes one reads the log
again once it is withdrawn. So one of the two sees the other, and no champion goes.
"""

import os
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from nearnorm.models.bundle.bundle import fsync_folder, rename_durably, write_durably
from nearnorm.models.bundle.plain_file import read_plain_file
from nearnorm.models.errors import StoreError, StoreOutOfReach

MOST_NOTE_BYTES = 64 * 2**10


class Deletion(BaseModel):
    """What stays of a version. `at` is ISO 8601 in UTC, `reason` what whoever deleted it said."""

    model_config = ConfigDict(frozen=True)

    version: str
    at: str
    by: str
    reason: str | None = None


class Deletions:
    """Every method raises StoreOutOfReach where the store cannot be read or written."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def withdraw(self, deletion: Deletion) -> None:
        """Let nobody open a version any more."""
        self.note(deletion)
        self.clear(deletion.version)  # of a deleter that was killed
        try:
            rename_durably(self._folder(deletion.version), self._withdrawn(deletion.version))
        except OSError as error:
            raise StoreOutOfReach(f"{self._root} cannot be written: {error.strerror}") from error

    def note(self, deletion: Deletion) -> None:
        """Keep that a version was deleted."""
        path = self._note(deletion.version)
        temporary = path.with_name(f".{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(temporary, deletion.model_dump_json(exclude_none=True).encode())
            os.replace(temporary, path)
            fsync_folder(path.parent)
        except OSError as error:
            raise StoreOutOfReach(f"{self._root} cannot be written: {error.strerror}") from error

    def put_back(self, version: str) -> None:
        """Undo `withdraw`."""
        try:
            rename_durably(self._withdrawn(version), self._folder(version))
        except OSError as error:
            raise StoreOutOfReach(f"{self._root} cannot be written: {error.strerror}") from error
        self.forget(version)

    def clear(self, version: str) -> None:
        """Remove what was withdrawn, for good."""
        shutil.rmtree(self._withdrawn(version), ignore_errors=True)

    def forget(self, version: str) -> None:
        """The version is there again."""
        with suppress(OSError):
            self._note(version).unlink(missing_ok=True)

    def find(self, version: str) -> Deletion | None:
        """What is known of the deletion of a version. Raises StoreError."""
        content = self._read(version)
        if content is None:
            return None
        try:
            return Deletion.model_validate_json(content)
        except ValidationError:
            raise StoreError(f"{self._root}/deleted/{version}.json is no note of a deletion") from None

    def versions(self) -> list[str]:
        """Of which such notes are there."""
        return sorted(note.stem for note in self._note("").parent.glob("[0-9a-f]*.json"))

    def sweep(self, abandoned_after: float) -> None:
        """Remove what deleters that were killed so many seconds ago had withdrawn."""
        for folder in self._root.glob("versions/.deleted-*"):
            with suppress(FileNotFoundError):
                if time.time() - folder.stat().st_ctime > abandoned_after:  # when it was renamed
                    shutil.rmtree(folder, ignore_errors=True)

    def _read(self, version: str) -> bytes | None:
        try:
            return read_plain_file(self._note(version), MOST_NOTE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreOutOfReach(f"{self._note(version)} cannot be read: {error.strerror}") from None

    def _note(self, version: str) -> Path:
        return self._root / "deleted" / f"{version}.json"

    def _folder(self, version: str) -> Path:
        return self._root / "versions" / version

    def _withdrawn(self, version: str) -> Path:
        return self._root / "versions" / f".deleted-{version}"
