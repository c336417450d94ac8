"""Estimated recall: which share of the anomalies in all traffic the service alerts on.

From the audit slice alone: its events were drawn at random, so its labelled ones stand for all traffic.
Alerts in the slice are labelled more eagerly than the rest, so each of the two strata is weighted by
its own size, not by its labels (Horvitz-Thompson with the labelled share of a stratum as the second
stage's probability). The interval is of 95%: quantiles of the recall under Jeffreys' priors on the
alerts' share of traffic and on the anomalies' share of each stratum; few labels make it wide.
"""

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from service.ledger.events import events
from service.ledger.labels import verdicts

DRAWS = 4_000
PRIOR = 0.5


@dataclass(frozen=True)
class Stratum:
    """Audit events, those of them with a standing verdict, and those found anomalous."""

    events: int = 0
    labelled: int = 0
    anomalies: int = 0


@dataclass(frozen=True)
class Recall:
    """An estimate with its 95% interval, and how many labelled audit events it stands on."""

    estimate: float
    low: float
    high: float
    labelled: int
    anomalies: int


def estimate(alerts: Stratum, rest: Stratum) -> Recall | None:
    """None while no audit event was found anomalous, or a stratum with events has no labels."""
    anomalies = alerts.anomalies + rest.anomalies
    if not anomalies or any(s.events and not s.labelled for s in (alerts, rest)):
        return None
    found = alerts.events * alerts.anomalies / max(alerts.labelled, 1)
    missed = rest.events * rest.anomalies / max(rest.labelled, 1)
    rng = np.random.default_rng(0)  # the same labels, the same interval
    share = rng.beta(alerts.events + PRIOR, rest.events + PRIOR, DRAWS)
    of_alerts, of_rest = (
        rng.beta(s.anomalies + PRIOR, s.labelled - s.anomalies + PRIOR, DRAWS) for s in (alerts, rest)
    )
    caught = share * of_alerts
    recall = caught / (caught + (1 - share) * of_rest)
    low, high = np.quantile(recall, (0.025, 0.975)).tolist()
    point = found / (found + missed)
    return Recall(point, min(low, point), max(high, point), alerts.labelled + rest.labelled, anomalies)


def read(connection: sa.Connection, model: str) -> Recall | None:
    """The estimate from the ledger's kept audit events of a model and the verdicts that stand."""
    verdict = verdicts.c.verdict
    query = (
        sa.select(
            events.c.anomaly,
            sa.func.count(),
            sa.func.count().filter(verdict.in_(("anomaly", "normal"))),
            sa.func.count().filter(verdict == "anomaly"),
        )
        .select_from(
            events.outerjoin(
                verdicts, sa.and_(verdicts.c.model == events.c.model, verdicts.c.digest == events.c.digest)
            )
        )
        .where(events.c.model == model, events.c.audit)
        .group_by(events.c.anomaly)
    )
    strata = {bool(alert): Stratum(*counts) for alert, *counts in connection.execute(query)}
    return estimate(strata.get(True, Stratum()), strata.get(False, Stratum()))
