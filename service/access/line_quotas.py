"""Quotas of lines: what all callers of a line together may ask for, however many keys they have."""

import sqlalchemy as sa

from nearnorm.models.errors import ConfigError
from nearnorm.service.access.quota import Meter
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import lines


class LineQuotas:
    """The meters of lines in memory. `refresh` runs every second or two."""

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}

    def refresh(self, connection: sa.Connection) -> None:
        """A meter stays while its quota does: what was used of it is not forgotten."""
        found = {}
        for model, quota in lines.quotas(connection).items():
            old = self._meters.get(model)
            kept = old is not None and old.quota == quota
            found[model] = old if old and kept else Meter(quota, f"the model {model!r} takes")
        self._meters = found

    def of(self, model: str) -> Meter | None:
        return self._meters.get(model)

    def meters(self) -> dict[str, Meter]:
        """By a name that no caller's meter has: keys' ids have no space."""
        return {f"model {model}": meter for model, meter in self._meters.items()}


def limit(connection: sa.Connection, model: str, quota: Quota, actor: str) -> None:
    """Give a line another quota. Raises ConfigError for a name that none can have."""
    if problem := lines.problem_of_name(model):
        raise ConfigError(problem)
    lines.limit(connection, model, quota, now_ms(), actor)
    audit.note(connection, actor, "line.limit", model, **quota.limits())
