"""`nearnorm replay`: logged traffic through another version, the differences as data."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.batch.score_file import write_table
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.events import events, fetch
from nearnorm.service.retraining.rescore import Rescorer
from nearnorm.service.settings import Settings
from nearnorm.service.verdict import policies


def replay_events(
    ledger: Ledger, settings: Settings, version: str, out: Path, model: str, limit: int
) -> tuple[int, int]:
    """How many verdicts differ, of how many. Raises NearnormError."""
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out {out}: its name must end in .csv or .parquet")
    store = settings.open_store()
    bundle = store.open(store.resolve(version))
    newest = sa.select(events).where(events.c.model == model).order_by(events.c.event_id.desc()).limit(limit)
    with ledger.read() as connection:
        logged = fetch(connection, newest)[::-1]
        share = policies.share_in_force(connection, bundle, model)
    if not logged:
        raise DataError(f"no event of model {model!r} is kept yet: score something first")
    again = Rescorer(bundle, settings.device, settings.threads, share, len(logged)).rescore(logged)
    fits = again.events
    table = pa.table(
        {
            "event_id": [event.event_id for event in fits],
            "id": pa.array([event.record_id for event in fits], pa.string()),
            "version": [event.model_version for event in fits],
            "score": [event.score for event in fits],
            "percentile": [event.percentile for event in fits],
            "anomaly": [event.anomaly for event in fits],
            "probability": [event.probability for event in fits],
            "new_score": again.score.astype(np.float64),
            "new_percentile": again.percentile,
            "new_anomaly": again.anomaly,
        }
    )
    write_table(table, out)
    return int((again.anomaly != np.array([event.anomaly for event in fits])).sum()), len(fits)
