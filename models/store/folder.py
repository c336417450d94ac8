"""The model store: immutable versions, and an append-only log that says which one serves.

    versions/<sha256>/        a bundle, named by its content
    activations/00000001.json one entry a file, created whole or not at all, never changed
    deleted/                  what is known of versions that were deleted (deletions.py)

The champion is what the log says: an activation puts a version on top, a rollback takes it off again.
"""

import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from nearnorm.models.bundle.bundle import (
    MANIFEST,
    MODEL,
    MOST_FILE_BYTES,
    Bundle,
    fsync_folder,
    read_bundle,
    rename_durably,
    write_durably,
)
from nearnorm.models.bundle.operators import check_operators
from nearnorm.models.bundle.plain_file import read_plain_file
from nearnorm.models.bundle.review import REVIEW
from nearnorm.models.errors import BundleError, StoreError, StoreOutOfReach
from nearnorm.models.store.deletions import Deletions

DEFAULT_MODEL = "default"
VERSION = re.compile(r"[0-9a-f]{64}")
_ENTRY = re.compile(r"([0-9]{8,18})\.json")
MOST_ENTRY_BYTES = 64 * 2**10
ABANDONED_AFTER = 24 * 3600.0  # seconds after which what a killed process had begun is removed


class Activation(BaseModel):
    """One entry of the log. `version` is the champion from here on; `at` is ISO 8601 in UTC. `reason` is what
    whoever asked for it said."""

    model_config = ConfigDict(frozen=True)

    number: int
    at: str
    action: Literal["activate", "rollback"]
    model: str
    version: str
    by: str
    reason: str | None = None


class Space(NamedTuple):
    """What a version takes in the store, and since when it is there."""

    bytes: int
    since: datetime


@dataclass(frozen=True)
class ModelStore:
    """The store in a local folder, which is made when something is first written to it."""

    root: Path
    _known: dict[int, Activation] = field(default_factory=dict, compare=False, repr=False, kw_only=True)
    """Entries that were read: they never change, and whoever follows the log looks every second."""

    def publish(self, source: Path) -> str:
        """Copy a verified bundle into the store and answer its version. Publishing twice is harmless, and
        mends a version that was damaged.

        Raises BundleError for a bad bundle, StoreOutOfReach when the store cannot be written.
        """
        version = read_importable(source).version
        if not self._is_whole(version):
            self._write(source, version)
            self.deletions.forget(version)
        return version

    def _write(self, source: Path, version: str) -> None:
        """Copy a verified bundle into the folder, whole or not at all. Raises StoreOutOfReach."""
        target = self._versions / version
        try:
            self._versions.mkdir(parents=True, exist_ok=True)
            self._sweep()
            temporary = Path(tempfile.mkdtemp(prefix=".publish-", dir=self._versions))
            try:
                temporary.chmod(0o755)
                for file in plain_files(source):
                    write_durably(temporary / file.name, read_plain_file(file, MOST_FILE_BYTES))
                read_bundle(temporary)  # what was copied, not what was read before
                if target.is_dir():  # damaged
                    os.rename(target, self._versions / f".publish-{uuid.uuid4().hex}")
                rename_durably(temporary, target)
            except BaseException as error:
                shutil.rmtree(temporary, ignore_errors=True)  # a full disk has no room for halves
                first = isinstance(error, OSError) and target.is_dir()
                if not first:  # another publisher was, with the same content
                    raise
        except OSError as error:
            raise StoreOutOfReach(f"{self.root} cannot be written: {error.strerror}") from error

    def versions(self) -> list[str]:
        """All whole versions, oldest first."""
        return list(self.kept())

    def kept(self) -> dict[str, Space]:
        """The same, and of each version what it takes."""
        found = []
        for folder in self._versions.iterdir() if self._versions.is_dir() else ():
            if folder.name.startswith(".") or not (folder / MANIFEST).is_file():
                continue
            with suppress(FileNotFoundError):  # deleted meanwhile
                size = sum(file.stat().st_size for file in plain_files(folder))
                since = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
                found.append((since, folder.name, size))
        return {name: Space(size, since) for since, name, size in sorted(found)}

    def has(self, version: str) -> bool:
        """Whether the store itself has a version now, whole or damaged. Raises StoreOutOfReach."""
        return bool(VERSION.fullmatch(version)) and (self._versions / version).is_dir()

    def open(self, version: str) -> Bundle:
        """The bundle of a version, verified anew. Raises StoreError or BundleError."""
        folder = self._versions / version
        if not VERSION.fullmatch(version) or not folder.is_dir():
            raise self.missing(version)
        try:
            bundle = read_bundle(folder)
        except BundleError:
            if not folder.is_dir():  # deleted while it was read
                raise self.missing(version) from None
            raise
        if bundle.version != version:
            raise BundleError(f"{folder} holds version {bundle.version}: the store was changed by hand")
        return bundle

    def fetch(self, version: str) -> bool:
        """Bring a version to this machine; False: it was here. Raises StoreOutOfReach, BundleError."""
        return False

    def check(self, version: str) -> None:
        """Verify what the store itself has of a version. Raises as `open` does."""
        self.open(version)

    @contextmanager
    def fetched(self, version: str) -> Iterator[Path | None]:
        """What the store itself has of a version, in a folder for the moment, not verified; None: nothing.

        Raises StoreOutOfReach."""
        yield self._versions / version if self.has(version) else None

    def missing(self, version: str) -> StoreError:
        """What is to be said of a version that is not there."""
        gone = self.deletions.find(version) if VERSION.fullmatch(version) else None
        if gone is None:
            return StoreError(no_such_version(version))
        return StoreError(
            f"version {version} was deleted on {gone.at[:10]} (the audit trail says by whom): import its "
            "bundle to have it back"
        )

    def resolve(self, prefix: str) -> str:
        """The one version that begins with `prefix`. Raises StoreError for none or several."""
        found = [v for v in self.versions() if v.startswith(prefix)] if prefix else []
        gone = [v for v in self.deletions.versions() if v.startswith(prefix)] if prefix and not found else []
        if len(gone) == 1:
            raise self.missing(gone[0])
        if len(found) != 1:
            what = f"{len(found)} versions begin" if found else "no version begins"
            raise StoreError(f"{what} with {prefix!r}: see `nearnorm models list`")
        return found[0]

    def activate(
        self, version: str, by: str, model: str = DEFAULT_MODEL, reason: str | None = None
    ) -> Activation:
        """Make a stored version the champion of `model`. Raises as `open` does."""
        self.open(version)
        if not self.has(version):  # a copy has outlived it
            raise self.missing(version)
        while (entry := self._append(self._next_number(), "activate", version, by, model, reason)) is None:
            pass  # another writer took this number
        if not self.has(version):  # it was deleted meanwhile (deletions.py)
            with suppress(StoreError):
                self.rollback(by, model, self.previous(model), f"{version} was deleted meanwhile")
            raise self.missing(version)
        return entry

    def previous(self, model: str = DEFAULT_MODEL) -> str:
        """The version that a rollback would put back. Raises StoreError where there is none."""
        stack = self.stacks().get(model, [])
        if len(stack) < 2:
            raise StoreError(f"nothing to roll back to: model {model!r} had no other champion")
        return stack[-2]

    def rollback(
        self, by: str, model: str = DEFAULT_MODEL, to: str | None = None, reason: str | None = None
    ) -> Activation:
        """Put the champion before this one back: `to`, where it was looked up and checked beforehand.

        Raises StoreError where there is none, or another one than `to` by now; else as `open` does.
        """
        while True:
            number = self._next_number()
            version = self.previous(model)
            if version != (to or version):
                raise StoreError(f"the champion of {model!r} changed meanwhile: look, and roll back again")
            self.open(version)
            entry = self._append(number, "rollback", version, by, model, reason)
            if entry is not None:
                return entry  # else another writer took this number, and may have changed what is before

    def put_log(self, entries: Iterable[Activation]) -> None:
        """Entries of a log that was backed up. Raises StoreError where another has the number of one."""
        for entry in entries:
            content = _spelled(entry)
            if not self._put_entry(entry.number, content) and self._entry(entry.number) != content:
                raise StoreError(f"{self.name} has another entry {entry.number} in its activation log")

    def make_room(self, aside: str) -> None:
        """Move what is there out of the way, to a name that ends with `aside`; once, however often it is
        tried. Raises StoreOutOfReach."""
        away = self.root.with_name(f"{self.root.name}.{aside}")
        if self.root.is_dir() and not away.exists():
            try:
                self.root.rename(away)
            except OSError as error:
                raise StoreOutOfReach(f"{self.root} cannot be moved aside: {error.strerror}") from error

    def champion(self, model: str = DEFAULT_MODEL) -> Activation | None:
        """The newest entry of the log for `model`: its version is the one to serve."""
        return self.champions().get(model)

    def champions(self) -> dict[str, Activation]:
        """That entry of every model there is."""
        return {entry.model: entry for entry in self._entries()}

    def stacks(self) -> dict[str, list[str]]:
        """By model the versions that one rollback after another would put back, the champion last."""
        stacks: dict[str, list[str]] = {}
        for entry in self._entries():
            stack = stacks.setdefault(entry.model, [])
            if entry.action == "rollback":
                del stack[-1:]
            elif not stack or stack[-1] != entry.version:
                stack.append(entry.version)
        return stacks

    def activations(self) -> list[Activation]:
        """The whole log, oldest first. Raises StoreError for an entry that cannot be read."""
        return list(self._entries())

    def sweep(self) -> None:
        """Remove what killed publishers and deleters left behind. Raises StoreOutOfReach."""
        self._sweep()
        self.deletions.sweep(ABANDONED_AFTER)

    @property
    def deletions(self) -> Deletions:
        return Deletions(self.root)

    @property
    def name(self) -> str:
        """What to call the store when something is wrong with it."""
        return str(self.root)

    @property
    def _versions(self) -> Path:
        return self.root / "versions"

    @property
    def _log(self) -> Path:
        return self.root / "activations"

    def _numbers(self) -> list[int]:
        # names, not paths: a Path interns its parts, and the table of those grows with what comes and goes
        names = os.listdir(self._log) if self._log.is_dir() else []
        return numbered(names)

    def _entries(self) -> Iterator[Activation]:
        numbers = self._numbers()
        if not self._known.keys() <= set(numbers):
            self._known.clear()  # it is another log than before
        for number in numbers:
            entry = self._known.get(number)  # once: another thread may clear it
            if entry is None:
                entry = self._known[number] = self._read(number)
            yield entry

    def _read(self, number: int) -> Activation:
        content = self._entry(number)
        try:
            return Activation.model_validate(json.loads(content))
        except (ValueError, ValidationError):
            path = f"{self.name}/activations/{number:08}.json"
            raise StoreError(f"{path} is not an entry of the activation log") from None

    def _next_number(self) -> int:
        """Raises StoreError where an entry has the last number that there is."""
        last = max(self._numbers(), default=0)
        if not _ENTRY.fullmatch(f"{last + 1:08}.json"):
            raise StoreError(f"{self.name}/activations/{last}.json has the last number there is: remove it")
        return last + 1

    def _append(
        self,
        number: int,
        action: Literal["activate", "rollback"],
        version: str,
        by: str,
        model: str,
        reason: str | None,
    ) -> Activation | None:
        """The entry, or None where there is one of that number already. Raises StoreError."""
        entry = Activation(
            number=number,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            action=action,
            model=model,
            version=version,
            by=by,
            reason=reason,
        )
        content = _spelled(entry)
        if len(content) > MOST_ENTRY_BYTES:
            raise StoreError("the reason is longer than an entry of the log may be: give a sentence")
        return entry if self._put_entry(number, content) else None

    def _entry(self, number: int) -> bytes:
        """Raises StoreError."""
        path = self._log / f"{number:08}.json"
        try:
            return read_plain_file(path, MOST_ENTRY_BYTES)
        except OSError as error:
            raise StoreOutOfReach(f"{path} cannot be read: {error.strerror}") from None

    def _put_entry(self, number: int, content: bytes) -> bool:
        """Write an entry whole, unless there is one of that number: then False."""
        temporary = self._log / f".entry-{uuid.uuid4().hex}"
        try:
            self._log.mkdir(parents=True, exist_ok=True)
            write_durably(temporary, content)
            try:
                os.link(temporary, self._log / f"{number:08}.json")
            except FileExistsError:
                return False
            fsync_folder(self._log)
        except OSError as error:
            raise StoreOutOfReach(f"{self._log} cannot be written: {error.strerror}") from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return True

    def _sweep(self) -> None:
        for folder in self._versions.glob(".publish-*"):
            if time.time() - folder.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(folder, ignore_errors=True)

    def _is_whole(self, version: str) -> bool:
        """Whether a version is there and undamaged. Raises StoreOutOfReach."""
        try:
            self.check(version)
        except StoreOutOfReach:
            raise
        except (StoreError, BundleError):
            return False
        return True


def no_such_version(version: str) -> str:
    """What is said of a version that is not in the store."""
    return f"no model version {version!r} in the store: see `nearnorm models list`"


def _spelled(entry: Activation) -> bytes:
    return entry.model_dump_json(exclude_none=True).encode()


def read_importable(folder: Path) -> Bundle:
    """A bundle that may come into a store: whole, and of our own operators alone. Raises BundleError."""
    bundle = read_bundle(folder)
    check_operators(bundle.model, str(folder / MODEL))
    return bundle


def plain_files(folder: Path) -> list[Path]:
    """What is copied of a bundle's folder: no folders, links, FIFOs, and no rows for review."""
    files = (file for file in sorted(folder.iterdir()) if file.name != REVIEW)
    return [file for file in files if file.is_file() and not file.is_symlink()]


def numbered(names: Iterable[str]) -> list[int]:
    """The numbers of the log's entries, by the names of their files."""
    found = [_ENTRY.fullmatch(name) for name in names]
    # as `_append` would name it: 000000005.json is no entry, as nobody reads it back
    return sorted(int(entry[1]) for entry in found if entry and f"{int(entry[1]):08}" == entry[1])
