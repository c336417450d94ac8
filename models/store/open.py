"""Which store a location names: a folder, or an object store with its copies in one."""

from pathlib import Path

from nearnorm.models.store.folder import ModelStore


def open_store(location: str, cache: Path) -> ModelStore:
    """The store at a folder or, like s3://bucket/prefix, in an object store with its copies in `cache`.

    Raises ConfigError for a location that cannot be used.
    """
    if "://" not in location:
        return ModelStore(Path(location))
    from nearnorm.models.store.objects import ObjectStore  # its library comes with the extra s3

    return ObjectStore.at(location, cache)
