"""`nearnorm replay`: what another version would say of traffic that was answered already."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.service.batch.score_file import write_table
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.events import events, fetch
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.retraining.rescoring.rescore import Rescorer
from nearnorm.service.settings import Settings
from nearnorm.service.verdict import policies

MOST_FLIPS = 100
"""Confirmed records whose verdict changes that are told one by one, those that change most."""


class OldAnswers(Struct, frozen=True, eq=False):
    """N rows as they were answered; one stands for 1 / `probability` of traffic. `verdict` is what analysts
    said of an equal record by now: anomaly, normal or None."""

    event_id: Sequence[str]
    record_id: Sequence[str | None]
    version: Sequence[str]
    score: NDArray[np.float64]
    percentile: NDArray[np.float64]
    anomaly: NDArray[np.bool_]
    probability: NDArray[np.float64]
    verdict: Sequence[str | None]


class ReplayedRows(Struct, frozen=True, eq=False):
    """The answers that were given, and beside each what `version` says; `unfit` more it cannot read."""

    version: str
    old: OldAnswers
    score: NDArray[np.float64]
    percentile: NDArray[np.float64]
    anomaly: NDArray[np.bool_]
    unfit: int


class AlertCounts(Struct, frozen=True):
    """How many rows alerted `before` and `after`: `up` are new ones, `down` no longer; all `of` so many."""

    of: int
    before: int
    after: int
    up: int
    down: int


class ConfirmedFlip(Struct, frozen=True):
    """A record that analysts judged, whose verdict changes; percentiles are 0 to 100."""

    event_id: str
    label: str
    percentile_before: float
    percentile_after: float
    anomaly_before: bool
    anomaly_after: bool

    @property
    def is_better(self) -> bool:
        return self.anomaly_after == (self.label == "anomaly")


class ReplayReport(Struct, frozen=True):
    """`traffic`: alerts of the traffic that the rows stand for. The others are rows: of confirmed anomalies
    an alert is right, of confirmed normals it is wrong. `flips` are the strongest."""

    version: str
    rows: int
    unfit: int
    traffic: AlertCounts
    anomalies: AlertCounts
    normals: AlertCounts
    flips: list[ConfirmedFlip]


def replay_events(ledger: Ledger, settings: Settings, version: str, model: str, limit: int) -> ReplayedRows:
    """The newest kept events of a model. Raises NearnormError."""
    store = settings.open_store()
    bundle = store.open(store.resolve(version))
    newest = sa.select(events).where(events.c.model == model).order_by(events.c.event_id.desc()).limit(limit)
    with ledger.read() as connection:
        logged = fetch(connection, newest)[::-1]
        said = {one.digest: one.verdict for one in labels.changed_since(connection, model, 0)}
    if not logged:
        raise DataError(f"no event of model {model!r} is kept yet: score something first")
    again = rescorer(ledger, settings, bundle, model, len(logged)).rescore(logged)
    fits = again.events
    old = OldAnswers(
        [event.event_id for event in fits],
        [event.record_id for event in fits],
        [event.model_version for event in fits],
        np.array([event.score for event in fits], np.float64),
        np.array([event.percentile for event in fits], np.float64),
        np.array([event.anomaly for event in fits], bool),
        np.array([event.probability for event in fits], np.float64),
        [_confirmed(said, event.digest) for event in fits],
    )
    unfit = len(logged) - len(fits)
    return ReplayedRows(
        bundle.manifest.version, old, again.score.astype(np.float64), again.percentile, again.anomaly, unfit
    )


def rescorer(ledger: Ledger, settings: Settings, bundle: Bundle, model: str, most: int) -> Rescorer:
    """At the budget in force."""
    with ledger.read() as connection:
        share = policies.share_in_force(connection, bundle, model)
    return Rescorer(bundle, settings.device, settings.threads, share, most)


def report(replayed: ReplayedRows) -> ReplayReport:
    old = replayed.old
    weight = 1 / old.probability
    verdict = np.array([said or "" for said in old.verdict])
    rows = np.ones(len(weight))
    flips = [
        ConfirmedFlip(
            old.event_id[i],
            str(old.verdict[i]),
            round(float(old.percentile[i]), 4),
            round(float(replayed.percentile[i]), 4),
            bool(old.anomaly[i]),
            bool(replayed.anomaly[i]),
        )
        for i in np.flatnonzero((old.anomaly != replayed.anomaly) & (verdict != "")).tolist()
    ]
    flips.sort(key=lambda flip: -abs(flip.percentile_after - flip.percentile_before))
    return ReplayReport(
        replayed.version,
        len(weight),
        replayed.unfit,
        _alerts(replayed, weight),
        _alerts(replayed, rows * (verdict == "anomaly")),
        _alerts(replayed, rows * (verdict == "normal")),
        flips[:MOST_FLIPS],
    )


def write_rows(replayed: ReplayedRows, out: Path) -> None:
    """Row by row, what was said and what would be. Raises ConfigError, DataError."""
    check_out(out)
    old = replayed.old
    table = pa.table(
        {
            "event_id": old.event_id,
            "id": pa.array(old.record_id, pa.string()),
            "version": old.version,
            "score": old.score,
            "percentile": old.percentile,
            "anomaly": old.anomaly,
            "probability": old.probability,
            "label": pa.array(old.verdict, pa.string()),
            "new_score": replayed.score,
            "new_percentile": replayed.percentile,
            "new_anomaly": replayed.anomaly,
        }
    )
    write_table(table, out)


def check_out(out: Path) -> None:
    """Raises ConfigError."""
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out {out}: its name must end in .csv or .parquet")


def _confirmed(said: Mapping[str, str], digest: str) -> str | None:
    found = said.get(digest)
    return found if found in ("anomaly", "normal") else None


def _alerts(replayed: ReplayedRows, weight: NDArray[np.float64]) -> AlertCounts:
    before, after = replayed.old.anomaly, replayed.anomaly
    return AlertCounts(
        *(
            round(float(weight[which].sum()))
            for which in (np.ones_like(before), before, after, after & ~before, before & ~after)
        )
    )
