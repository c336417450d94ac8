"""What was said about one record, and what it adds up to. Pure: no SQL."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

from msgspec import Struct

from nearnorm.service.ledger.tables.feedback.quarantine import Silenced

NamedBy = Literal["event_id", "record_id", "record"]
"""What a label named its record by. One that the queue handed out goes by its event; who reports what was
missed has the record or their own id."""

Verdict = Literal["anomaly", "normal", "conflict", "none"]

MOST_OPPONENTS = 20
"""Labels that a receipt names as contradicting its own."""


class Label(Struct, frozen=True):
    """One statement. `record` holds the values the model sees, by feature; `group_id` is that of the verdict
    on a group of records that it was given with."""

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
    group_id: str | None = None
    named_by: NamedBy | None = None
    score_before: float | None = None
    percentile_before: float | None = None
    anomaly_before: bool | None = None
    score_after: float | None = None
    percentile_after: float | None = None
    anomaly_after: bool | None = None
    score_held_out: float | None = None
    percentile_held_out: float | None = None
    anomaly_held_out: bool | None = None
    job_id: str | None = None
    model_version: str | None = None


class Statement(Struct, frozen=True, gc=False):
    """What verdicts need of a label or a retraction; `change` is the clock's number of its transaction."""

    feedback_id: str
    change: int
    at: int
    label: str
    analyst: str
    actor: str
    retracts: str | None


class LabelHistory(Struct, frozen=True, dict=True):
    """All statements about one record, in order. Those of `silenced` are there and do not count."""

    statements: Sequence[Statement]
    silenced: Silenced

    def counts(self, statement: Statement | Label) -> bool:
        return not self.silenced.covers(statement.analyst, statement.actor)

    @cached_property
    def standing(self) -> list[Statement]:
        """The newest statement of each analyst, retractions and what they took back left out; oldest first.

        A retraction does not bring back what its analyst had said earlier and corrected since.
        """
        newest: dict[str, Statement] = {}
        for statement in filter(self.counts, self.statements):
            if statement.label != "retract":
                newest.pop(statement.analyst, None)
                newest[statement.analyst] = statement
        return [label for label in newest.values() if not self.took_back(label.feedback_id)]

    @property
    def verdict(self) -> Verdict:
        verdicts = {label.label for label in self.standing}
        if not verdicts:
            return "none"
        if len(verdicts) > 1:
            return "conflict"
        return "anomaly" if "anomaly" in verdicts else "normal"

    @property
    def alone(self) -> str | None:
        """The API key that alone stands behind the verdict; None: several do. Not the analyst: a name is what
        its sender says."""
        keys = {label.actor for label in self.standing}
        return keys.pop() if len(keys) == 1 else None

    def took_back(self, feedback_id: str) -> bool:
        return feedback_id in self._retracted

    def stands(self, label: Label) -> bool:
        return label.feedback_id in self._standing_ids

    def opponents(self, label: Label) -> list[str] | None:
        """The newest standing labels that say the opposite of a standing one; None: there are none."""
        return (self._opposing.get(label.label) or None) if self.stands(label) else None

    def until(self, change: int) -> "LabelHistory":
        """As it was at a number of the clock."""
        return LabelHistory([s for s in self.statements if s.change <= change], self.silenced)

    def followed_by(self, labels: Iterable[Label], change: int) -> "LabelHistory":
        """With more statements, which are written under a number of the clock."""
        new = [
            Statement(x.feedback_id, change, x.at, x.label, x.analyst, x.actor, x.retracts) for x in labels
        ]
        return LabelHistory([*self.statements, *new], self.silenced)

    @cached_property
    def _standing_ids(self) -> set[str]:
        return {label.feedback_id for label in self.standing}

    @cached_property
    def _opposing(self) -> dict[str, list[str]]:
        """By a label, the newest that say the opposite."""
        opponents = {}
        for label in ("anomaly", "normal"):
            opponents[label] = [s.feedback_id for s in self.standing if s.label != label][-MOST_OPPONENTS:]
        return opponents

    @cached_property
    def _retracted(self) -> set[str | None]:
        return {statement.retracts for statement in filter(self.counts, self.statements)}
