"""A backup in an object store, by obstore (extra s3)."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.models.own_words import in_own_words

try:
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError
    from obstore.store import from_url
except ImportError:
    raise ConfigError("a backup at a URL needs pip install 'nearnorm[s3]'") from None


class BackupBucket:
    """`s3://bucket/prefix`; credentials, region and endpoint by the usual AWS_ variables."""

    def __init__(self, url: str) -> None:
        """Raises ConfigError for a URL that names no object store."""
        self.name = url
        try:
            self._objects = from_url(url)
        except (BaseError, ValueError) as error:
            raise ConfigError(f"{url} cannot be used:{in_own_words(error)}") from None

    def begin(self, name: str, content: bytes) -> bool:
        with self._reaching():
            try:
                obstore.put(self._objects, name, content, mode="create")
            except AlreadyExistsError:
                return False
        return True

    @contextmanager
    def making(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="nearnorm-backup-") as folder:
            path = Path(folder) / "file"
            yield path
            with self._reaching():
                obstore.put(self._objects, name, path)

    def fetch(self, name: str, target: Path) -> bool:
        with self._reaching():
            try:
                found = obstore.get(self._objects, name)
            except FileNotFoundError:
                return False
            with target.open("wb") as file:
                for chunk in found.stream(min_chunk_size=8 * 2**20):
                    file.write(chunk)
        return True

    def is_empty(self) -> bool:
        with self._reaching():
            return not any(len(page) for page in obstore.list(self._objects, chunk_size=1))

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise NearnormError(f"{self.name} cannot be reached{in_own_words(error)}") from error
