"""Where a backup lies: a folder, or a prefix in an object store. Files have names with slashes."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from nearnorm.models.bundle.bundle import fsync_folder
from nearnorm.models.errors import NearnormError


class BackupPlace(Protocol):
    """Every method raises NearnormError where the place cannot be read or written."""

    name: str

    def begin(self, name: str, content: bytes) -> bool:
        """Put the first file; False where it is there: of two that begin at once one does."""

    def making(self, name: str) -> AbstractContextManager[Path]:
        """A path to make a file at, which is a file of the backup, whole, once the block is left."""

    def fetch(self, name: str, target: Path) -> bool:
        """Bring a file to `target`; False where there is none."""

    def is_empty(self) -> bool: ...


class BackupFolder:
    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def begin(self, name: str, content: bytes) -> bool:
        target = self._path / name
        try:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            number = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fsync_folder(self._path)
        except FileExistsError:
            return False
        except OSError as error:
            raise NearnormError(f"{target} cannot be written: {error.strerror}") from error
        return True

    @contextmanager
    def making(self, name: str) -> Iterator[Path]:
        target = self._path / name
        temporary = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.unlink(missing_ok=True)
            yield temporary
            temporary.chmod(0o600)  # records, and secrets of webhooks
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, target)
            fsync_folder(target.parent)
        except OSError as error:
            raise NearnormError(f"{target} cannot be written: {error.strerror}") from error

    def fetch(self, name: str, target: Path) -> bool:
        try:
            shutil.copyfile(self._path / name, target)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise NearnormError(f"{self._path / name} cannot be read: {error.strerror}") from error
        return True

    def is_empty(self) -> bool:
        try:
            return not self._path.exists() or not any(self._path.iterdir())
        except OSError as error:
            raise NearnormError(f"{self._path} cannot be read: {error.strerror}") from error


def place_at(location: str) -> BackupPlace:
    """Raises ConfigError for a location that cannot be used."""
    if "://" not in location:
        return BackupFolder(Path(location))
    from nearnorm.service.backup.bucket import BackupBucket  # its library comes with the extra s3

    return BackupBucket(location)
