"""Models that policies are for: those with a champion, by whose reference a budget is solved."""

from collections.abc import Mapping

import sqlalchemy as sa

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.feedback.verdict_cache import VerdictCache
from nearnorm.service.verdict.solve import Ground


def read_champions(store: ModelStore) -> dict[str, Manifest]:
    """By model. Read before a transaction begins: a store may be far away. Raises StoreError."""
    versions = {entry.model: entry.version for entry in store.activations()}
    return {model: store.open(version).manifest for model, version in sorted(versions.items())}


def ground_of(connection: sa.Connection, champions: Mapping[str, Manifest], model: str) -> Ground:
    """What a champion's verdicts stand on, as the ledger says that people have reviewed it."""
    manifest = champions[model]
    verdicts = VerdictCache()
    verdicts.refresh(connection, model)
    confirmed = verdicts.of(model).anomalies(row.digest for row in manifest.core.reference.review)
    return Ground.of(manifest, model, confirmed)
