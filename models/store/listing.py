"""The store as people look at it: what each version learnt, how it did, who let it serve, and its size."""

from collections.abc import Sequence

from pydantic import BaseModel

from nearnorm.models.errors import BundleError, StoreError, StoreOutOfReach
from nearnorm.models.store.folder import Activation, ModelStore, Space


class Listed(BaseModel):
    """`serves` names the models whose champion it is, `activated` is the newest entry of the log about it.
    It takes so many `bytes` of the store, `since` then; a `problem` is why nothing else is known of it."""

    version: str
    serves: list[str]
    activated: Activation | None = None
    created_at: str | None = None
    rows: int | None = None
    anomalies: int | None = None
    normals: int | None = None
    metrics: dict[str, float | None] = {}
    bytes: int
    since: str
    problem: str | None = None


def listed(store: ModelStore, wanted: Sequence[str] | None = None) -> list[Listed]:
    """Every version, or those wanted, oldest first. Raises StoreError where the store cannot be read."""
    newest = {entry.version: entry for entry in store.activations()}
    champions = {model: entry.version for model, entry in store.champions().items()}
    return [
        _listed(store, version, kept, champions, newest)
        for version, kept in store.kept().items()
        if wanted is None or version in wanted
    ]


def _listed(
    store: ModelStore,
    version: str,
    kept: Space,
    champions: dict[str, str],
    newest: dict[str, Activation],
) -> Listed:
    serves = sorted(model for model, champion in champions.items() if champion == version)
    known = Listed(
        version=version,
        serves=serves,
        activated=newest.get(version),
        bytes=kept.bytes,
        since=kept.since.isoformat(timespec="seconds"),
    )
    try:
        manifest = store.open(version).manifest
    except StoreOutOfReach:
        raise
    except (BundleError, StoreError) as error:
        return known.model_copy(update={"problem": str(error)})
    data = manifest.core.data
    return known.model_copy(
        update={
            "created_at": manifest.created_at,
            "rows": data.rows,
            "anomalies": data.anomalies,
            "normals": data.normals,
            "metrics": manifest.core.metrics,
        }
    )
