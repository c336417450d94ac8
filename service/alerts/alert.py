"""An alert as it is told: what stays when its event is gone, and what the event still has."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.records.shapes import Reason


class Alert(Struct, frozen=True):
    """`at` is in ms since 1970, `id` the caller's own. `record` is there where it was asked for, and
    `left_out` says why it is not all the same; `link` leads to a page about it."""

    event_id: str
    at: int
    model: str
    model_version: str
    score: float
    percentile: float
    id: str | None = None
    record: dict[str, Any] | None = None
    left_out: str | None = None
    link: str | None = None
    reasons: Sequence[Reason] = ()

    @classmethod
    def of(cls, event: Event, records: bool, reasons: Sequence[Reason] = ()) -> "Alert":
        """Of a kept event."""
        return cls(
            event.event_id,
            event.at,
            event.model,
            event.model_version,
            event.score,
            event.percentile,
            event.record_id,
            event.record if records else None,
            reasons=reasons,
        )


def plain(alert: Alert) -> dict[str, Any]:
    """As JSON has it; what is empty is left out. Of reasons only the features: values are the record's."""
    told = {
        "event_id": alert.event_id,
        "at": iso(alert.at),
        "model": alert.model,
        "model_version": alert.model_version,
        "score": alert.score,
        "percentile": alert.percentile,
        "id": alert.id,
        "record": alert.record,
        "record_left_out": alert.left_out,
        "link": alert.link,
        "reasons": [reason.feature for reason in alert.reasons] or None,
    }
    return {name: value for name, value in told.items() if value is not None}
