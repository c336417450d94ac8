"""Deleted versions of a store in an object store: as in a folder, but it is the manifest that is renamed,
without which a version is not there."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.store import ObjectStore as Objects

from nearnorm.models.bundle.bundle import MANIFEST
from nearnorm.models.store.deletions import Deletion, Deletions

WITHDRAWN = f"deleted-{MANIFEST}"


class ObjectDeletions(Deletions):
    def __init__(
        self, copies: Path, url: str, objects: Objects, reaching: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """`copies` is the folder of local copies, `reaching` makes of trouble a StoreOutOfReach."""
        super().__init__(copies)
        self._url, self._objects, self._reaching = url, objects, reaching

    def withdraw(self, deletion: Deletion) -> None:
        version = deletion.version
        self.note(deletion)
        with self._reaching():
            obstore.rename(self._objects, _file(version, MANIFEST), _file(version, WITHDRAWN))
        self.drop_copy(version)

    def note(self, deletion: Deletion) -> None:
        content = deletion.model_dump_json(exclude_none=True).encode()
        with self._reaching():
            obstore.put(self._objects, _note(deletion.version), content)

    def put_back(self, version: str) -> None:
        with self._reaching():
            obstore.rename(self._objects, _file(version, WITHDRAWN), _file(version, MANIFEST))
        self.forget(version)

    def clear(self, version: str) -> None:
        with self._reaching():
            listed = [e["path"] for page in obstore.list(self._objects, f"versions/{version}") for e in page]
            for path in sorted(listed, key=lambda path: path.endswith(WITHDRAWN)):
                obstore.delete(self._objects, path)

    def forget(self, version: str) -> None:
        with self._reaching():
            for path in (_note(version), _file(version, WITHDRAWN)):
                with suppress(FileNotFoundError):
                    obstore.delete(self._objects, path)

    def versions(self) -> list[str]:
        with self._reaching():
            listed = [e["path"] for page in obstore.list(self._objects, "deleted") for e in page]
        return sorted(path.rsplit("/", 1)[-1].removesuffix(".json") for path in listed)

    def sweep(self, abandoned_after: float) -> None:
        super().sweep(abandoned_after)
        with self._reaching():
            listed = [e for page in obstore.list(self._objects, "versions") for e in page]
        there = {_version(e["path"]) for e in listed if e["path"].endswith(f"/{MANIFEST}")}
        before = datetime.now(UTC) - timedelta(seconds=abandoned_after)
        for entry in listed:
            if entry["path"].endswith(f"/{WITHDRAWN}") and entry["last_modified"] < before:
                self.clear(_version(entry["path"]))
        for version in self.versions():
            if version not in there:  # another machine deleted it
                self.drop_copy(version)

    def drop_copy(self, version: str) -> None:
        """Remove the local copy of a version."""
        folder = self._folder(version)
        if folder.is_dir():
            away = Path(tempfile.mkdtemp(prefix=".deleted-", dir=folder.parent))
            folder.rename(away / version)  # at once: whoever reads it meanwhile finds it gone
            shutil.rmtree(away, ignore_errors=True)

    def _read(self, version: str) -> bytes | None:
        with self._reaching():
            try:
                return obstore.get(self._objects, _note(version)).bytes().to_bytes()
            except FileNotFoundError:
                return None


def _version(path: str) -> str:
    return path.split("/")[1]


def _note(version: str) -> str:
    return f"deleted/{version}.json"


def _file(version: str, name: str) -> str:
    return f"versions/{version}/{name}"
