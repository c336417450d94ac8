"""Whether a store is as it was written: the digests of its versions, and that none is missing."""

from collections.abc import Iterator, Sequence

from nearnorm.models.errors import BundleError, StoreError, StoreOutOfReach
from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.in_use import in_use


def verify(store: ModelStore, versions: Sequence[str] | None = None) -> Iterator[tuple[str, str | None]]:
    """Of every version, or of those named, what is wrong with it, if anything; one by one, as it takes time.

    Raises StoreOutOfReach; StoreError for a log that cannot be read.
    """
    there = store.versions() if versions is None else versions
    for version in there:
        try:
            store.check(version)
        except StoreOutOfReach:
            raise
        except BundleError as error:
            yield version, str(error)
        except StoreError as error:
            if versions is not None:  # else it was deleted meanwhile
                yield version, str(error)
        else:
            yield version, None
    if versions is None:
        for version, why in in_use(store).items():
            if version not in there and not store.has(version):
                yield version, f"version {version} is not in the store, and {why}"
