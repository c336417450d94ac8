"""Events put into a ledger as the log's writer would."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import astuple, replace

from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events import candidates, events
from nearnorm.service.ledger.tables.events.events import Event


def keep(ledger: Ledger, kept: Sequence[Event]) -> None:
    texts = (replace(event, record=msgspec.json.encode(event.record).decode()) for event in kept)
    with ledger.write() as connection:
        events.append(connection, [astuple(event) for event in texts])
        if kept:
            ids = [event.event_id for event in kept]
            candidates.follow(connection, min(ids), max(ids))
