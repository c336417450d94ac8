"""Deleting a version of a store, so that none goes which anybody needs: see deletions.py."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from nearnorm.models.errors import StoreError
from nearnorm.models.store.deletions import Deletion
from nearnorm.models.store.folder import ModelStore

Needed = Callable[[], Mapping[str, str]]
"""Which versions may not go, and of each why: "it is the champion of 'default'"."""


def delete(store: ModelStore, version: str, by: str, needed: Needed, reason: str | None = None) -> None:
    """Take a version out of the store for good. Raises StoreError where it is not there, or is needed: then
    it stays."""
    if not store.has(version):
        raise store.missing(version)
    _refuse(version, needed())
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    store.deletions.withdraw(Deletion(version=version, at=at, by=by, reason=reason))
    try:
        _refuse(version, needed())
    except BaseException:
        store.deletions.put_back(version)
        raise
    store.deletions.clear(version)


def _refuse(version: str, needed: Mapping[str, str]) -> None:
    if version in needed:
        raise StoreError(f"version {version} stays: {needed[version]}")
