"""The standing verdicts of every model that serves, in memory, as far as the ledger's clock was read."""

from collections.abc import Iterable

import sqlalchemy as sa

from nearnorm.models.data.schema import FeatureSchema
from nearnorm.service.feedback.matching import Matches
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.ledger.tables.feedback.labels import Standing


class _Known:
    """One model's verdicts, and up to which number of the clock they are known."""

    def __init__(self) -> None:
        self.matches = Matches()
        self.change = 0

    def refresh(self, connection: sa.Connection, model: str) -> None:
        new = labels.changed_since(connection, model, self.change)
        if new:
            self.matches.learn(new)
            self.change = new[-1].change


class VerdictCache:
    """Written by the follower and by requests that labelled, read by every request for scores."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def of(self, model: str) -> Matches:
        """A model's verdicts: an empty table where none was ever read."""
        known = self._known.get(model)  # on every request's way: no new table for nothing
        return (known or self._known.setdefault(model, _Known())).matches

    def models(self) -> set[str]:
        """Whose verdicts are in memory."""
        return set(self._known.copy())

    def forget(self, model: str) -> None:
        """Hold a model's verdicts no longer: they are read from the beginning when it is there again."""
        self._known.pop(model, None)

    def prepare(self, model: str, schema: FeatureSchema) -> None:
        """Make the table of a schema, before a model that uses it serves."""
        self.of(model).prepare(schema)

    def refresh(self, connection: sa.Connection, model: str, anew: bool = False) -> None:
        """Take up what others wrote; `anew`: from the beginning, as what was erased leaves no trace."""
        known = _Known() if anew else self._known.setdefault(model, _Known())
        known.refresh(connection, model)
        self._known[model] = known

    def learn(self, model: str, standings: Iterable[Standing]) -> None:
        """Verdicts of a request that was just committed act at once here; replicas follow."""
        self.of(model).learn(standings)
