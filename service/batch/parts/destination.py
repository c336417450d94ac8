"""Where parts go: a folder, or a prefix of an object store. A file that is there is whole."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from msgspec import Struct

from nearnorm.models.bundle.bundle import fsync_folder
from nearnorm.models.data.files.objects import SCHEMES
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.models.own_words import in_own_words

if TYPE_CHECKING:
    from obstore.store import ObjectStore

ENDING = ".parquet"
_DRAFT = ".unfinished-"


class Folder(Struct, frozen=True):
    """Names are paths below `url`, with slashes. Each call raises DataError where it is out of reach."""

    url: str

    def parts(self) -> set[str]:
        """The Parquet files that are there, but for what lies in folders that begin with _ or a dot."""
        root = Path(self.url)
        return _shown(path.relative_to(root).as_posix() for path in root.rglob(f"*{ENDING}"))

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A file to write to, which is gone afterwards unless it is kept."""
        with self._reaching():
            Path(self.url).mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=_DRAFT, dir=self.url)
            os.fchmod(descriptor, 0o644)  # mkstemp's 0600 would lock out other readers
            os.close(descriptor)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def keep(self, draft: Path, name: str) -> None:
        """Give a draft its name, in the place of what has it."""
        target = Path(self.url, name)
        with self._reaching():
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(target)
            fsync_folder(target.parent)

    def put(self, name: str, content: bytes) -> None:
        with self.draft() as draft:
            draft.write_bytes(content)
            self.keep(draft, name)

    def open(self, name: str) -> pa.NativeFile:
        with self._reaching():
            return pa.OSFile(str(Path(self.url, name)))

    def remove(self, name: str) -> None:
        with self._reaching():
            Path(self.url, name).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the drafts of writers that were killed."""
        with self._reaching():
            for path in Path(self.url).glob(f"{_DRAFT}*"):
                path.unlink(missing_ok=True)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.url} cannot be written: {error.strerror or error}") from None


class Bucket(Struct, frozen=True):
    """As a folder, below a URL."""

    url: str

    def parts(self) -> set[str]:
        import obstore

        with self._reaching():
            listed = [entry["path"] for page in obstore.list(self._store) for entry in page]
        return _shown(path for path in listed if path.endswith(ENDING))

    @contextmanager
    def draft(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, "draft")

    def keep(self, draft: Path, name: str) -> None:
        import obstore

        with self._reaching():
            obstore.put(self._store, name, draft)

    def put(self, name: str, content: bytes) -> None:
        import obstore

        with self._reaching():
            obstore.put(self._store, name, content)

    def open(self, name: str) -> pa.NativeFile:
        import obstore

        with self._reaching():
            return pa.BufferReader(obstore.get(self._store, name).bytes().to_bytes())

    def remove(self, name: str) -> None:
        import obstore

        with self._reaching(), suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def tidy(self) -> None:
        """Nothing is there before it is whole."""

    @property
    def _store(self) -> "ObjectStore":
        from obstore.store import from_url

        return from_url(self.url)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            raise DataError(f"{self.url} cannot be written{in_own_words(error)}") from None


Destination = Folder | Bucket


def open_destination(out: str) -> Destination:
    """Raises ConfigError for what is neither a folder nor a prefix of an object store."""
    scheme, found, _ = out.partition("://")
    if not found:
        if Path(out).exists() and not Path(out).is_dir():
            raise ConfigError(f"--out {out} is a file: parts go into a folder")
        return Folder(out)
    if scheme not in SCHEMES:
        raise ConfigError(f"--out {out}: parts go into folders and to {', '.join(SCHEMES)} URLs")
    try:
        import obstore  # noqa: F401
    except ImportError:
        raise ConfigError(f"{out} is a URL: that needs pip install 'nearnorm[s3]'") from None
    return Bucket(out.rstrip("/"))


def _shown(names: Iterator[str]) -> set[str]:
    return {name for name in names if not any(part[0] in "._" for part in name.split("/"))}
