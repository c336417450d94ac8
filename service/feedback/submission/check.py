"""Whether statements go with each other, and with what was said before. Pure: no SQL."""

from collections import Counter

from nearnorm.service.feedback.submission.resolve import Mistake
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables.feedback.labels import Histories

MOST_ON_A_RECORD = 10_000
"""Labels of one record that are taken by one API key: all of them are read with the next one."""


class Checks:
    """`before`: what was said about the records of a request, by digest."""

    def __init__(self, before: Histories) -> None:
        self._before = before
        self._verdicts: dict[tuple[str, str], tuple[int, str]] = {}
        self._taken_back: set[str | None] = set()
        self._counts: dict[str, Counter[str]] = {}

    def check(self, index: int, statement: Label) -> None:
        """Raises Mistake."""
        if statement.label == "retract":
            self._once(statement)
        else:
            self._no_contradiction(index, statement)
            self._bounded(statement)

    def _once(self, retraction: Label) -> None:
        history = self._before.get(retraction.digest)
        if retraction.retracts in self._taken_back or (
            history and history.took_back(str(retraction.retracts))
        ):
            raise Mistake("already-retracted", "the label was retracted before", "retract")
        self._taken_back.add(retraction.retracts)

    def _no_contradiction(self, index: int, label: Label) -> None:
        first, verdict = self._verdicts.setdefault((label.analyst, label.digest), (index, label.label))
        if verdict != label.label:
            detail = f"labels {first} and {index} call the same record {verdict} and {label.label}"
            raise Mistake("contradiction", f"{detail}: send one of them", "label")

    def _bounded(self, label: Label) -> None:
        counts = self._counts.get(label.digest)
        if counts is None:
            history = self._before.get(label.digest)
            counts = (
                Counter(s.actor for s in history.statements if s.label != "retract") if history else Counter()
            )
            self._counts[label.digest] = counts
        counts[label.actor] += 1
        if counts[label.actor] > MOST_ON_A_RECORD:
            raise Mistake(
                "too-many-on-record",
                f"the key {label.actor!r} has labelled this record {MOST_ON_A_RECORD:,} times, and what was "
                "said last stands: leave it out, or send it by another key",
                "label",
            )
