"""What traffic would look like to a version that has seen none: logged events, scored again."""

from collections import defaultdict

import numpy as np
import sqlalchemy as sa

from nearnorm.service.ids import first_id_at, now_ms
from nearnorm.service.inference.batches import score_rows
from nearnorm.service.ledger.tables.events.events import events, fetch
from nearnorm.service.ledger.tables.events.traffic import NOBODY, Counted
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.verdict.traffic.score_bins import bins_of

EVENTS = 20_000
DAYS = 7
_HOUR_MS = 3600 * 1000
_DAY_MS = 24 * _HOUR_MS


def stand_in(connection: sa.Connection, model: LoadedModel) -> list[Counted]:
    """Sketches of the newest EVENTS of the last DAYS, by hour.

    An event counts as much less than one as it was likelier to be kept than the least likely one, so that
    together they weigh what they are worth beside traffic that was counted. They stand for no rows and no
    alerts, which the hours themselves tell.
    """
    since = first_id_at(now_ms() - DAYS * _DAY_MS)
    query = (
        sa.select(events)
        .where(events.c.model == model.ref.name, events.c.event_id >= since)
        .order_by(events.c.event_id.desc())
        .limit(EVENTS)
    )
    logged = fetch(connection, query)
    if not logged:
        return []
    encoded = Encoder(model.encoder.schema, EVENTS).encode(Envelope(records=[e.record for e in logged]))
    least = min(event.probability for event in logged)
    found: dict[int, dict[int, float]] = defaultdict(dict)
    places = encoded.places()
    if places:
        bins = bins_of(np.asarray(score_rows(model.engine, encoded.rows).score, np.float32)).tolist()
        for place, bin_ in zip(places, bins, strict=True):
            event = logged[place]
            hour = found[event.at // _HOUR_MS]
            hour[bin_] = hour.get(bin_, 0.0) + least / event.probability
    name, version = model.ref.name, model.ref.version
    return [Counted(name, hour, version, NOBODY, 0, 0, 0, 0, 0, counted) for hour, counted in found.items()]
