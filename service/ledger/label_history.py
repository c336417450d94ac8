"""What was said about one record, and what it adds up to. Pure: no SQL."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from msgspec import Struct

from nearnorm.service.ledger.tables.quarantine import Silenced

Verdict = Literal["anomaly", "normal", "conflict", "none"]


class Label(Struct, frozen=True):
    """One statement. `record` holds the values the model sees, by feature."""

    feedback_id: str
    at: int
    model: str
    digest: str
    label: str
    record: dict[str, Any]
    analyst: str
    actor: str
    retracts: str | None = None
    event_id: str | None = None
    record_id: str | None = None
    class_: str | None = None
    comment: str | None = None
    score_before: float | None = None
    score_after: float | None = None
    score_held_out: float | None = None
    job_id: str | None = None
    model_version: str | None = None


class LabelHistory(Struct, frozen=True, dict=True):
    """All statements about one record, in order. Those of `silenced` are there and do not count."""

    statements: Sequence[Label]
    silenced: Silenced

    def counts(self, statement: Label) -> bool:
        return not self.silenced.covers(statement.analyst, statement.actor)

    @cached_property
    def standing(self) -> list[Label]:
        """The newest statement of each analyst, retractions and what they took back left out; oldest first.

        A retraction does not bring back what its analyst had said earlier and corrected since.
        """
        newest: dict[str, Label] = {}
        for statement in filter(self.counts, self.statements):
            if statement.label != "retract":
                newest.pop(statement.analyst, None)
                newest[statement.analyst] = statement
        return [label for label in newest.values() if not self.took_back(label.feedback_id)]

    @property
    def verdict(self) -> Verdict:
        said = {label.label for label in self.standing}
        if not said:
            return "none"
        if len(said) > 1:
            return "conflict"
        return "anomaly" if "anomaly" in said else "normal"

    def took_back(self, feedback_id: str) -> bool:
        return feedback_id in self._retracted

    def opponents(self, label: Label) -> list[str] | None:
        """Standing labels that say the opposite of a standing one; None where there are none."""
        if label not in self.standing:
            return None
        return [other.feedback_id for other in self.standing if other.label != label.label] or None

    @cached_property
    def _retracted(self) -> set[str | None]:
        return {statement.retracts for statement in filter(self.counts, self.statements)}
