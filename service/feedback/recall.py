"""Estimated recall: which share of the anomalies in all traffic the service alerts on.

Every kept event stands for 1 / probability rows of traffic: an alert for itself, one of the audit slice for
those that were not drawn (Horvitz-Thompson). Alerts are labelled more eagerly than the rest, so each of the
two strata is weighted by its own size, not by its labels, with the labelled share of a stratum as the second
stage's probability. The interval is of 95%: quantiles of the recall under Jeffreys' priors on the anomalies'
share of each stratum and on the rest's size; few labels make it wide.
"""

from typing import Any

import numpy as np
import sqlalchemy as sa
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service.ledger.tables import retention
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.labels import verdicts

DRAWS = 4_000
PRIOR = 0.5


class Weights(Struct, frozen=True):
    """Some events: how many, the rows of traffic that they stand for, and the sum of the squares of that."""

    events: int = 0
    rows: float = 0.0
    squares: float = 0.0

    @property
    def effective(self) -> float:
        """So many events of one weight would tell as much (Kish)."""
        return self.rows**2 / self.squares if self.squares else 0.0


class Stratum(Struct, frozen=True):
    """The kept events, those of them with a standing verdict, and those found anomalous."""

    events: Weights = Weights()
    labelled: Weights = Weights()
    anomalies: Weights = Weights()

    @property
    def share(self) -> float:
        """The anomalies' share of what was labelled."""
        return self.anomalies.rows / self.labelled.rows if self.labelled.rows else 0.0


class Recall(Struct, frozen=True):
    """An estimate with its 95% interval, and how many labelled events it stands on."""

    estimate: float
    low: float
    high: float
    labelled: int
    anomalies: int


def estimate(alerts: Stratum, rest: Stratum) -> Recall | None:
    """None while no event was found anomalous, nothing of the rest is labelled, or none of the alerts is."""
    anomalies = alerts.anomalies.events + rest.anomalies.events
    if not anomalies or not rest.labelled.events or (alerts.events.events and not alerts.labelled.events):
        return None
    found, missed = alerts.events.rows * alerts.share, rest.events.rows * rest.share
    rng = np.random.default_rng(0)  # the same labels, the same interval
    size_of_alerts, size_of_rest = (_sizes(s.events, rng) for s in (alerts, rest))
    of_alerts, of_rest = (_shares(s, rng) for s in (alerts, rest))
    caught = size_of_alerts * of_alerts
    recall = caught / (caught + size_of_rest * of_rest)
    low, high = np.quantile(recall, (0.025, 0.975)).tolist()
    point = found / (found + missed)
    labelled = alerts.labelled.events + rest.labelled.events
    return Recall(point, min(low, point), max(high, point), labelled, anomalies)


def _sizes(known: Weights, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws of how many rows of traffic a stratum has: certain where all of them were kept."""
    variance = known.squares - known.rows  # the sum of (1 - p) / p^2
    if variance <= 0:
        return np.full(DRAWS, known.rows)
    return rng.gamma(known.rows**2 / variance, variance / known.rows, DRAWS)


def _shares(stratum: Stratum, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws of the anomalies' share of a stratum."""
    labelled = stratum.labelled.effective
    return rng.beta(stratum.share * labelled + PRIOR, (1 - stratum.share) * labelled + PRIOR, DRAWS)


def read(connection: sa.Connection, model: str) -> Recall | None:
    """The estimate from the ledger's kept events of a model and the verdicts that stand.

    Where a caller's share was full, from those since then: alerts outlive the rest.
    """
    found = [verdicts.c.model == model, verdicts.c.verdict == "anomaly"]
    if not connection.execute(sa.select(sa.exists().where(*found))).scalar():
        return None  # without going through all events
    labelled = verdicts.c.verdict.in_(("anomaly", "normal"))
    rows = 1.0 / events.c.probability
    sums: list[sa.FunctionElement[Any]] = [sa.func.count(), sa.func.sum(rows), sa.func.sum(rows * rows)]
    query = (
        sa.select(
            events.c.anomaly,
            *sums,
            *(s.filter(labelled) for s in sums),
            *(s.filter(verdicts.c.verdict == "anomaly") for s in sums),
        )
        .select_from(
            events.outerjoin(
                verdicts, sa.and_(verdicts.c.model == events.c.model, verdicts.c.digest == events.c.digest)
            )
        )
        .where(events.c.model == model, retention.is_complete(connection))
        .group_by(events.c.anomaly)
    )
    strata = {
        bool(alert): Stratum(*(Weights(*(cell or 0 for cell in cells[i : i + 3])) for i in (0, 3, 6)))
        for alert, *cells in connection.execute(query)
    }
    return estimate(strata.get(True, Stratum()), strata.get(False, Stratum()))
