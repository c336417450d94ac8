"""What `nearnorm models gc` takes: versions that are neither new, nor among a model's newest, nor needed."""

from collections import defaultdict
from collections.abc import Mapping, Set
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.listing import Listed, listed
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.retraining.line_of_version import lines_of
from nearnorm.service.upkeep.needed import needed


class Plan(Struct, frozen=True):
    """`goes` are the versions to delete, oldest first, `stays` all others with the reason of each."""

    goes: list[Listed]
    stays: list[tuple[Listed, str]]

    @property
    def bytes(self) -> int:
        return sum(version.bytes for version in self.goes)


def plan(store: ModelStore, ledger: Ledger, keep: int, days: float, now: datetime | None = None) -> Plan:
    """A version goes that came into the store, and was last activated, more than `days` ago, and is not
    among the newest `keep` of any model that it served or was trained for. One that cannot be read stays, to
    be looked at.

    Raises StoreError, LedgerUnavailable.
    """
    versions = sorted(listed(store), key=lambda version: (version.since, version.created_at or ""))
    held = needed(store, ledger)
    newest = _newest(versions, _models(store, ledger, versions), keep)
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    goes: list[Listed] = []
    stays: list[tuple[Listed, str]] = []
    for version in versions:
        why = held.get(version.version) or newest.get(version.version)
        if version.problem is not None:
            stays.append((version, version.problem))
        elif why is not None:
            stays.append((version, why))
        elif _last_of_use(version) >= before:
            stays.append((version, f"it came, or was activated, within {days:g} days"))
        else:
            goes.append(version)
    return Plan(goes, stays)


def _models(store: ModelStore, ledger: Ledger, versions: list[Listed]) -> dict[str, set[str]]:
    """By version the models that it served, or was trained for."""
    log = store.activations()
    with ledger.read() as connection:
        return {one.version: lines_of(connection, log, one.version) for one in versions}


def _newest(versions: list[Listed], models: Mapping[str, Set[str | None]], keep: int) -> dict[str, str]:
    """Versions of no model count together."""
    ranked: dict[str | None, list[str]] = defaultdict(list)
    for version in versions:
        for model in models[version.version] or {None}:
            ranked[model].append(version.version)
    return {
        version: f"it is among the newest {keep}" + (f" of {model!r}" if model is not None else "")
        for model, made in ranked.items()
        for version in made[len(made) - min(keep, len(made)) :]
    }


def _last_of_use(version: Listed) -> datetime:
    times = [version.since, *([version.activated.at] if version.activated else [])]
    return max(datetime.fromisoformat(at) for at in times)
