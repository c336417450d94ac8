"""Data in an object store (`s3://bucket/key`, a prefix ending in /, or a glob), by obstore (extra s3)."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from nearnorm.models.errors import ConfigError, DataError
from nearnorm.models.own_words import in_own_words

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
BLOCK_BYTES, BLOCKS = 1 << 23, 16
"""What is fetched at once of an object, and how many such pieces are held."""
Opener = Callable[[], pa.NativeFile]


class FoundObject(NamedTuple):
    """Its URL, its key below the named prefix, and its opener; `mark` changes when its content does."""

    url: str
    key: str
    open: Opener
    size: int
    mark: str


def find(source: str, is_data: Callable[[str], bool]) -> list[FoundObject]:
    """The objects that are meant, in the order of their names.

    Raises ConfigError for another scheme or without obstore, DataError where nothing is found.
    """
    scheme, _, rest = source.partition("://")
    if scheme not in SCHEMES:
        raise ConfigError(f"{source}: data is read from files and from {', '.join(SCHEMES)} URLs")
    bucket, _, wanted = rest.partition("/")
    try:
        import obstore
        from obstore.store import from_url
    except ImportError:
        raise ConfigError(f"{source} is a URL: that needs pip install 'nearnorm[s3]'") from None
    with _reaching(source):
        store = from_url(f"{scheme}://{bucket}")
    if wanted and not wanted.endswith("/") and not _is_glob(wanted):
        with _reaching(source):
            entry = obstore.head(store, wanted)
        return [_found(store, entry, source, wanted.rsplit("/", 1)[-1])]
    prefix = "/".join(_plain_parts(wanted))
    with _reaching(source):
        entries = {e["path"]: e for page in obstore.list(store, prefix or None) for e in page}
    if _is_glob(wanted):
        found = [key for key in sorted(entries) if _matches(key, wanted)]
    else:
        keys = [key for key in sorted(entries) if key.startswith(wanted)]
        below = [(key, key.removeprefix(wanted).split("/")) for key in keys]
        found = [k for k, parts in below if is_data(k) and not any(p[:1] in ("_", ".") for p in parts)]
    if not found:
        raise DataError(f"{source} has no data files")
    return [_found(store, entries[key], f"{scheme}://{bucket}/{key}", key) for key in found]


def _found(store: "ObjectStore", entry: "ObjectMeta", url: str, key: str) -> FoundObject:
    mark = f"{entry['size']}-{entry['e_tag'] or entry['last_modified'].isoformat()}"
    opener = partial(_opened, store, entry["path"], entry["size"], url)
    return FoundObject(url, key, opener, entry["size"], mark)


def _opened(store: "ObjectStore", key: str, size: int, url: str) -> pa.NativeFile:
    return pa.PythonFile(io.BufferedReader(_Object(store, key, size, url)), mode="r")


class _Object(io.RawIOBase):
    """An object, of which the pieces are fetched that are read. Raises DataError."""

    def __init__(self, store: "ObjectStore", key: str, size: int, url: str) -> None:
        import obstore

        def fetched(block: int) -> bytes:
            start = block * BLOCK_BYTES
            with _reaching(url):
                end = min(start + BLOCK_BYTES, size)
                return obstore.get_range(store, key, start=start, end=end).to_bytes()

        self._size, self._at = size, 0
        self._block = lru_cache(BLOCKS)(fetched)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        wanted = memoryview(buffer).cast("B")
        if self._at >= self._size:
            return 0
        block, start = divmod(self._at, BLOCK_BYTES)
        part = self._block(block)[start : start + len(wanted)]
        wanted[: len(part)] = part
        self._at += len(part)
        return len(part)


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{url} does not exist") from None
    except (BaseError, OSError, ValueError) as error:
        raise DataError(
            f"{url} cannot be read{in_own_words(error)}: credentials, region and endpoint come from the "
            "usual variables (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, ...)"
        ) from None


def _is_glob(key: str) -> bool:
    return any(character in key for character in "*?[")


def _plain_parts(key: str) -> list[str]:
    """The folders before the first that is a pattern."""
    parts = key.split("/")[:-1]
    plain = next((i for i, part in enumerate(parts) if _is_glob(part)), len(parts))
    return parts[:plain]


def _matches(key: str, pattern: str) -> bool:
    """As the shell does: a star stays within its folder, two go across."""
    if "**" in pattern:
        return fnmatchcase(key, pattern.replace("**/", "*"))
    parts, patterns = key.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))
