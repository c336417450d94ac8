"""The model store in an S3-compatible object store, behind the same functions and with the same promises.

    versions/<sha256>/...           a bundle's files; manifest.json is put last, and makes the version exist
    activations/00000001.json       one entry an object, created only where there is none

Objects appear whole or not at all. Bundles are copied to a local folder once, and verified there.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from nearnorm.models.bundle.bundle import MANIFEST, MOST_FILE_BYTES, Bundle, read_bundle
from nearnorm.models.bundle.plain_file import read_plain_file
from nearnorm.models.errors import BundleError, ConfigError, NearnormError, StoreOutOfReach
from nearnorm.models.own_words import in_own_words
from nearnorm.models.store.folder import VERSION, ModelStore, Space, numbered, plain_files, read_importable

try:
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError
    from obstore.store import ObjectStore as Objects
    from obstore.store import from_url

    from nearnorm.models.store.object_deletions import ObjectDeletions
except ImportError:
    raise ConfigError("NEARNORM_MODEL_STORE is a URL: that needs pip install 'nearnorm[s3]'") from None

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import RetryConfig

_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}


@dataclass(frozen=True)
class ObjectStore(ModelStore):
    """`root` is the folder of local copies. Objects need no lock: whoever creates an entry first has it."""

    url: str
    objects: Objects

    @classmethod
    def at(cls, url: str, cache: Path) -> Self:
        """`s3://bucket/prefix`; credentials, region and endpoint by the usual AWS_ variables.

        Raises ConfigError for a URL that names no object store.
        """
        try:
            return cls(cache, url, from_url(url, retry_config=_RETRIES))
        except (BaseError, ValueError) as error:
            raise ConfigError(f"NEARNORM_MODEL_STORE={url} cannot be used:{in_own_words(error)}") from None

    @property
    def name(self) -> str:
        return self.url

    def publish(self, source: Path) -> str:
        version = read_importable(source).version
        if self._is_whole(version):  # else it is new, or the store lost or cut what it had taken
            return version
        files = sorted(plain_files(source), key=lambda file: file.name == MANIFEST)  # it comes last
        with self._reaching():
            for file in files:
                content = read_plain_file(file, MOST_FILE_BYTES)
                obstore.put(self.objects, f"versions/{version}/{file.name}", content)
        try:
            self.deletions.drop_copy(version)
            self.open(version)  # what was stored, not what was read before
        except StoreOutOfReach:
            raise
        except NearnormError as error:
            raise StoreOutOfReach(f"{self.url} did not keep what it took ({error}): publish again") from None
        self.deletions.forget(version)
        return version

    def versions(self) -> list[str]:
        return list(self.kept())

    def kept(self) -> dict[str, Space]:
        with self._reaching():
            listed = [entry for page in obstore.list(self.objects, "versions") for entry in page]
        sizes: Counter[str] = Counter()
        for entry in listed:
            sizes[_version(entry)] += entry["size"]
        manifests = [entry for entry in listed if entry["path"].endswith(f"/{MANIFEST}")]
        manifests.sort(key=lambda entry: (entry["last_modified"], entry["path"]))
        return {_version(e): Space(sizes[_version(e)], e["last_modified"]) for e in manifests}

    def has(self, version: str) -> bool:
        if not VERSION.fullmatch(version):
            return False
        with self._reaching():
            try:
                obstore.head(self.objects, f"versions/{version}/{MANIFEST}")
            except FileNotFoundError:
                return False
        return True

    def fetch(self, version: str) -> bool:
        if not VERSION.fullmatch(version) or (self._versions / version).is_dir():
            return False
        self._copy(version)
        return True

    def open(self, version: str) -> Bundle:
        self.fetch(version)
        try:
            return super().open(version)
        except BundleError:  # the copy is damaged
            self.deletions.drop_copy(version)
            self._copy(version)
            return super().open(version)

    def check(self, version: str) -> None:
        with self.fetched(version) as folder:
            if folder is None:
                raise self.missing(version)
            found = read_bundle(folder).version
        if found != version:
            raise BundleError(f"{self.url}/versions/{version} holds version {found}")

    @property
    def deletions(self) -> ObjectDeletions:
        return ObjectDeletions(self.root, self.url, self.objects, self._reaching)

    def _copy(self, version: str) -> None:
        """Bring a version into the local folder, verified, whole or not at all."""
        with self.fetched(version) as folder:
            if folder is not None:
                self._write(folder, read_importable(folder).version)

    @contextmanager
    def fetched(self, version: str) -> Iterator[Path | None]:
        if not VERSION.fullmatch(version):
            yield None
            return
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=self.root) as name:
            with self._reaching():
                listed = [e for page in obstore.list(self.objects, f"versions/{version}") for e in page]
                paths = [entry["path"] for entry in listed]
                there = f"versions/{version}/{MANIFEST}" in paths
                for entry in listed if there else ():
                    if entry["size"] > MOST_FILE_BYTES:
                        raise BundleError(
                            f"{self.url}/{entry['path']} is larger than {MOST_FILE_BYTES:,} bytes"
                        )
                    content = obstore.get(self.objects, entry["path"]).bytes()
                    (Path(name) / entry["path"].rsplit("/", 1)[1]).write_bytes(content.to_bytes())
            yield Path(name) if there else None

    def _numbers(self) -> list[int]:
        with self._reaching():
            listed = [entry["path"] for page in obstore.list(self.objects, "activations") for entry in page]
        return numbered(path.rsplit("/", 1)[-1] for path in listed)

    def _entry(self, number: int) -> bytes:
        with self._reaching():
            return obstore.get(self.objects, f"activations/{number:08}.json").bytes().to_bytes()

    def _put_entry(self, number: int, content: bytes) -> bool:
        """As the folder's; what was answered to be stored is read again, and stored again if it is not."""
        path = f"activations/{number:08}.json"
        with self._reaching():
            try:
                obstore.put(self.objects, path, content, mode="create")
            except AlreadyExistsError:
                return False
            if self._kept(path) != content:
                obstore.put(self.objects, path, content)
                if self._kept(path) != content:
                    raise StoreOutOfReach(f"{self.url} did not keep {path}, which it took: try again")
        return True

    def make_room(self, aside: str) -> None:
        """The log alone: versions are named by what they are."""
        away = f"activations-{aside}"
        for number in self._numbers():
            name = f"{number:08}.json"
            with self._reaching():
                if self._kept(f"{away}/{name}") is None:
                    obstore.rename(self.objects, f"activations/{name}", f"{away}/{name}")
                else:  # of a restore that did not end
                    obstore.delete(self.objects, f"activations/{name}")

    def _kept(self, path: str) -> bytes | None:
        try:
            return obstore.get(self.objects, path).bytes().to_bytes()
        except FileNotFoundError:
            return None

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise StoreOutOfReach(f"{self.url} cannot be reached{in_own_words(error)}") from error


def _version(entry: "ObjectMeta") -> str:
    return entry["path"].split("/")[1]
