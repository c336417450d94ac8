"""GateEvidence -> accept or refuse, with reasons. Pure.

The rule is non-inferiority: a challenger is refused where there is evidence against it, not where
evidence for it is missing. With few labels that lets it pass.
"""

from dataclasses import asdict, dataclass
from math import exp, fsum, lgamma, log, log1p

import numpy as np

from nearnorm.models.conformal import lowest_rank

MARGIN = 0.02
"""Average precision that a challenger may lose."""
CONFIDENCE = 0.9
"""How sure the gate is before it refuses."""
MOST_FLIPPED = 0.1
ALWAYS_FLIPPED = 2
"""Confirmed records whose right verdict a challenger may turn clearly wrong: a share of them, or so many."""
ALERT_SLACK = 1.5
"""Alerts on recent traffic may be so many times the budget, or the champion's where those are more."""
DRAWS = 400
_CHUNK = 50


@dataclass(frozen=True)
class Ranked:
    """M held-out ranks in [0, 1] by either side. `truth` [M] is 1 for an anomaly. `weight` [M] is one over
    the probability that a record like it is kept. `unit` [M] says which entries are one record."""

    truth: np.ndarray
    weight: np.ndarray
    unit: np.ndarray
    champion: np.ndarray
    challenger: np.ndarray


@dataclass(frozen=True)
class Confirmed:
    """A record that analysts agree on, and its rank in [0, 1] among either side's reference rows."""

    feedback_id: str
    anomaly: bool
    champion: float
    challenger: float

    def turned(self, budget: float, wrong: bool) -> bool:
        """Whether the challenger turns a right verdict wrong, or a wrong one right.

        A rank beside the threshold crosses it by chance, so it counts from twice or half the budget on.
        """
        was, now = (rank >= lowest_rank(budget) for rank in (self.champion, self.challenger))
        clear = self.challenger >= lowest_rank((2.0 if was else 0.5) * budget)
        return was != now and clear == now and (now != self.anomaly) == wrong


@dataclass(frozen=True)
class RecentTraffic:
    """Of `rows` drawn at random from recent traffic, confirmed anomalies left out, how many either side
    alerts on."""

    rows: int
    champion: int
    challenger: int


@dataclass(frozen=True)
class GateEvidence:
    """`ranked` is None where no fold has an anomaly to find."""

    ranked: Ranked | None
    confirmed: tuple[Confirmed, ...]
    traffic: RecentTraffic
    budget: float


@dataclass(frozen=True)
class Decision:
    """`reasons` are sentences, those that refuse first; `figures` what they stand on."""

    accepted: bool
    reasons: tuple[str, ...]
    figures: dict[str, object]


def decide(evidence: GateEvidence, seed: int = 0) -> Decision:
    """Judge a challenger. The same evidence and seed give the same decision."""
    judged = [
        _precision(evidence, seed),
        _flips(evidence.confirmed, evidence.budget),
        _alerts(evidence.traffic, evidence.budget),
    ]
    judged.sort(key=lambda one: one.accepted)
    figures = {name: figure for one in judged for name, figure in one.figures.items()}
    reasons = tuple(reason for one in judged for reason in one.reasons)
    return Decision(all(one.accepted for one in judged), reasons, figures)


def _precision(evidence: GateEvidence, seed: int) -> Decision:
    ranked = evidence.ranked
    if ranked is None:
        text = "how well unseen anomalies are found cannot be measured yet: it takes two labelled anomalies"
        return Decision(True, (text,), {})
    champion, challenger = (
        float(average_precisions(rank, ranked.truth, ranked.weight[None])[0])
        for rank in (ranked.champion, ranked.challenger)
    )
    low, high, worst = np.quantile(_differences(ranked, seed), (0.05, 0.95, CONFIDENCE)).tolist()
    text = (
        f"average precision on records it did not train on: {challenger:.3f}, the champion's recipe "
        f"{champion:.3f}; the difference lies between {low:+.3f} and {high:+.3f} with 90% confidence"
    )
    accepted = worst >= -MARGIN
    if not accepted:
        text = f"it finds anomalies worse than the champion by more than {MARGIN:.2f}: {text}"
    anomalous = ranked.truth == 1
    recalls = {
        name: float(
            np.average(rank[anomalous] >= lowest_rank(evidence.budget), weights=ranked.weight[anomalous])
        )
        for name, rank in (("champion", ranked.champion), ("challenger", ranked.challenger))
    }
    figures: dict[str, object] = {
        "average_precision": {
            "champion": champion,
            "challenger": challenger,
            "difference": challenger - champion,
            "interval_90": [low, high],
        },
        "recall_at_budget": recalls,
        "labels_measured": len(np.unique(ranked.unit[ranked.truth == 1])),
    }
    return Decision(accepted, (text,), figures)


def average_precisions(rank: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted average precision of one ranking under each row of `weights` [D, M]; equal ranks count as
    one threshold."""
    order = np.argsort(-rank, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(rank[order])), len(rank) - 1)
    every = weights[:, order].cumsum(axis=1)[:, ends]
    found = (weights[:, order] * truth[order]).cumsum(axis=1)[:, ends]
    gained = np.diff(found, axis=1, prepend=0.0)
    precision = np.divide(found, every, out=np.zeros_like(found), where=every > 0)
    total = found[:, -1]
    averages: np.ndarray = (precision * gained).sum(axis=1) / np.where(total > 0, total, 1.0)
    return averages


def _differences(ranked: Ranked, seed: int) -> np.ndarray:
    """Challenger less champion in DRAWS paired bootstrap samples of records, anomalies and others apart."""
    rng = np.random.default_rng(seed)
    units = int(ranked.unit.max()) + 1
    anomalous = np.zeros(units, bool)
    anomalous[ranked.unit[ranked.truth == 1]] = True
    parts = []
    for start in range(0, DRAWS, _CHUNK):
        draws = min(_CHUNK, DRAWS - start)
        times = np.zeros((draws, units))
        for of in (anomalous, ~anomalous):
            count = int(of.sum())
            if count:
                times[:, of] = rng.multinomial(count, np.full(count, 1 / count), size=draws)
        weights = times[:, ranked.unit] * ranked.weight
        parts.append(
            average_precisions(ranked.challenger, ranked.truth, weights)
            - average_precisions(ranked.champion, ranked.truth, weights)
        )
    return np.concatenate(parts)


def _flips(confirmed: tuple[Confirmed, ...], budget: float) -> Decision:
    flipped = [record for record in confirmed if record.turned(budget, wrong=True)]
    mended = sum(record.turned(budget, wrong=False) for record in confirmed)
    allowed = max(ALWAYS_FLIPPED, int(MOST_FLIPPED * len(confirmed)))
    accepted = len(flipped) <= allowed
    text = f"of {len(confirmed)} confirmed records it mends {mended} and turns {len(flipped)} wrong"
    if not accepted:
        ids = ", ".join(record.feedback_id for record in flipped[:5])
        text = f"{text}, where {allowed} are allowed (feedback {ids}{' ...' if len(flipped) > 5 else ''})"
    figures: dict[str, object] = {
        "confirmed": len(confirmed),
        "mended": mended,
        "flipped": [record.feedback_id for record in flipped],
    }
    return Decision(accepted, (text,), figures)


def _alerts(traffic: RecentTraffic, budget: float) -> Decision:
    if not traffic.rows:
        return Decision(
            True, ("beside confirmed anomalies there is no recent traffic to count alerts on",), {}
        )
    allowed = ALERT_SLACK * max(budget, traffic.champion / traffic.rows)
    share = traffic.challenger / traffic.rows
    text = (
        f"beside confirmed anomalies it alerts on {share:.2%} of {traffic.rows:,} rows of recent traffic, "
        f"the champion on {traffic.champion / traffic.rows:.2%}, the budget is {budget:.2%}"
    )
    accepted = allowed >= 1 or _chance(traffic.challenger, traffic.rows, allowed) > 1 - CONFIDENCE
    if not accepted:
        text = f"alerts would exceed the budget: {text}"
    return Decision(accepted, (text,), {"traffic": asdict(traffic), "budget": budget})


def _chance(hits: int, rows: int, share: float) -> float:
    """The binomial probability of at least so many hits where each row is one with probability `share`."""
    fewer = (
        lgamma(rows + 1) - lgamma(k + 1) - lgamma(rows - k + 1) + k * log(share) + (rows - k) * log1p(-share)
        for k in range(hits)
    )
    return 1.0 - fsum(exp(one) for one in fewer)
