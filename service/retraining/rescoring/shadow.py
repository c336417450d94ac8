"""The shadow period: a challenger scores live traffic beside the champion, before it may serve.

It runs in the worker and reads what the event log of every replica keeps: all alerts and a random slice,
each with the probability of being kept. So no request waits for it or fails by it, and counts of all
traffic follow from the sample. It holds nothing but the moment it began: whoever takes up its job after a
restart reads the same events again, and goes on.
"""

import time
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.ids import first_id_at, now_ms
from nearnorm.service.inference.engine import Engine
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.events import Event, events, fetch
from nearnorm.service.records.encoded import Rows
from nearnorm.service.retraining.rescoring.rescore import Rescorer
from nearnorm.service.verdict import policies

CHUNK = 500  # events a look: some tenths of a second, so that a cancellation is seen soon
LAG = 2_000  # ms: by then an event that has its id is in the ledger
TIMED = 200  # rows that either side is timed on, one by one
SHOWN = 20  # events whose verdict differs, by id


class Shadow:
    """What the challenger says of the traffic that the champion answers."""

    def __init__(
        self,
        ledger: Ledger,
        model: str,
        versions: tuple[Bundle, Bundle],
        period: tuple[int, int],
        most: int,
    ) -> None:
        """`versions` are champion and challenger; `period` is from when to when (ms), over sooner once `most`
        events were seen. Raises BundleError for a version that cannot score here."""
        self._ledger, self._model, self._most = ledger, model, most
        self._since, self._until = period
        with ledger.read() as connection:
            shares = [policies.share_in_force(connection, bundle, model) for bundle in versions]
        self._champion, self._challenger = (
            Rescorer(bundle, "auto", None, share, CHUNK)
            for bundle, share in zip(versions, shares, strict=True)
        )
        self._version = versions[0].version
        self._last = first_id_at(self._since)
        self._seen = 0
        self._unfit = 0
        self._parts: list[NDArray[np.float64]] = []
        self._seconds: list[tuple[float, float]] = []
        self._gained: list[str] = []
        self._lost: list[str] = []

    def look(self) -> bool:
        """Compare what has come in, a chunk of it. Whether the period goes on."""
        now = now_ms()
        query = (
            sa.select(events)
            .where(events.c.model == self._model, events.c.event_id > self._last)
            .where(events.c.event_id < first_id_at(min(now - LAG, self._until)))
            .order_by(events.c.event_id)
            .limit(min(CHUNK, self._most - self._seen))
        )
        with self._ledger.read() as connection:
            found = fetch(connection, query)
        if found:
            self._last = found[-1].event_id
        theirs = [event for event in found if event.model_version == self._version]
        if theirs:
            self._compare(theirs)
        return self._seen < self._most and (bool(found) or now < self._until + LAG)

    def report(self) -> dict[str, Any]:
        """The figures so far. Counts of traffic are estimates: one kept event stands for 1 / probability."""
        told: dict[str, Any] = {
            "since_ms": self._since,
            "seconds": (min(now_ms(), self._until) - self._since) / 1000,
            "events": self._seen,
            "events_unfit": self._unfit,
        }
        if not self._parts:
            return told
        weight, audit, was, now, was_percentile, now_percentile = np.concatenate(self._parts, axis=1)
        random = audit == 1
        told |= {
            "rows": round(float(weight.sum())),
            "alerts": {
                name: round(float(weight @ which))
                for name, which in (
                    ("champion", was),
                    ("challenger", now),
                    ("gained", now * (1 - was)),
                    ("lost", was * (1 - now)),
                )
            },
            "agreement": round(float(weight @ (was == now) / weight.sum()), 6),
            "rank_correlation": rank_correlation(was_percentile[random], now_percentile[random]),
            "gained": self._gained,
            "lost": self._lost,
        }
        if self._seconds:
            champion, challenger = np.median(self._seconds, axis=0) * 1000
            told["row_ms"] = {
                "champion": round(float(champion), 4),
                "challenger": round(float(challenger), 4),
            }
        return told

    def _compare(self, logged: list[Event]) -> None:
        self._seen += len(logged)
        again = self._challenger.rescore(logged)
        self._unfit += len(logged) - len(again.events)
        if not again.events:
            return
        was = self._champion.judge(again.events)
        self._parts.append(
            np.array(
                [
                    [1 / event.probability for event in again.events],
                    [event.audit for event in again.events],
                    was,
                    again.anomaly,
                    [event.percentile for event in again.events],
                    again.percentile,
                ],
                np.float64,
            )
        )
        for shown, which in ((self._gained, again.anomaly & ~was), (self._lost, was & ~again.anomaly)):
            ids = [event.event_id for event, differs in zip(again.events, which, strict=True) if differs]
            shown += ids[: SHOWN - len(shown)]
        if len(self._seconds) < TIMED:
            self._time(again.events[: TIMED - len(self._seconds)])

    def _time(self, logged: list[Event]) -> None:
        """Either side on the same rows, in turn, one row at a time as the service does at rest."""
        both = [(side, side.rescore(logged).rows) for side in (self._champion, self._challenger)]
        for i in range(min(len(rows) for _, rows in both)):
            champion, challenger = (_seconds(side.engine, rows.part(i, i + 1)) for side, rows in both)
            self._seconds.append((champion, challenger))


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Spearman's, equal values sharing their ranks; None where one side ranks nothing."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return round(float(np.corrcoef(_average_ranks(one), _average_ranks(other))[0, 1]), 6)


def spoken(report: dict[str, Any]) -> str:
    """The report as one of a job's reasons."""
    if "alerts" not in report:
        return f"in shadow for {report['seconds']:,.0f} s, and no event of the champion that fits was kept"
    alerts, rank = report["alerts"], report["rank_correlation"]
    return (
        f"in shadow for {report['seconds']:,.0f} s, on about {report['rows']:,} rows of traffic "
        f"({report['events']:,} kept): {alerts['challenger']:,} alerts where the champion has "
        f"{alerts['champion']:,}, {alerts['gained']:,} gained and {alerts['lost']:,} lost; "
        f"the same verdict on {report['agreement']:.2%}, "
        f"rank correlation {'unknown' if rank is None else f'{rank:.3f}'}"
    )


def _average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: NDArray[np.float64] = (last - (count - 1) / 2)[place]
    return ranks


def _seconds(engine: Engine, row: Rows) -> float:
    started = time.perf_counter()
    engine.run(row)
    return time.perf_counter() - started
