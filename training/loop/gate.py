"""GateEvidence -> accept or refuse, with reasons. Pure.

The rule is non-inferiority by depth: of all traffic, which share lies above a typical trusted anomaly. Every
anomaly counts by its rank alone, and among reference rows nothing is taken to be normal, so that anomalies
hidden there do not matter. The margin is a share of the champion's own depth. What cannot be measured is
neither accepted nor refused: `Decision.measured` says so.
"""

from dataclasses import asdict, dataclass
from math import exp, fsum, lgamma, log, log1p, sqrt

import numpy as np

from nearnorm.models.conformal import lowest_rank

MARGIN = 0.05
"""A share of the champion's depth: trusted anomalies may lie so much deeper by a challenger."""
GAIN = 0.1
"""Normals alone teach to look away: where all that is new says normal, trusted anomalies must lie shallower
by such a share of the champion's depth, or by half of what can be gained at all."""
FEWEST_NORMALS = 10
"""With fewer new labels than these, the usual margin holds."""
FINEST = 0.01
"""Above the highest so many of traffic it does not matter how high: analysts look at all of those."""
FEWEST_TRUSTED = 5
"""With fewer trusted anomalies than these, new labels are judged by all labels, themselves among them."""
CHANCE = 1.0
"""Standard errors of the difference that count as chance where the labels are not trusted."""
CONFIDENCE = 0.9
"""How sure the gate is that alerts exceed the budget before it refuses."""
MOST_FLIPPED = 0.1
ALWAYS_FLIPPED = 2
"""Confirmed records whose right verdict a challenger may turn clearly wrong: a share of them, or so many."""
ALERT_SLACK = 1.5
"""Alerts on recent traffic may be so many times the budget, or the champion's where those are more."""
DRAWS = 400
MOST_RANKS = 200
"""Anomalies whose ranks are told one by one, for pictures."""
_CHUNK = 50


@dataclass(frozen=True)
class Ranked:
    """M held-out ranks in [0, 1] by either side. `truth` [M] is 1 for an anomaly. `weight` [M] is one over
    the probability that a record like it is kept. `unit` [M] says which entries are one record.

    Of the anomalies `by_artefact` were ranked by the bundle that would serve, which did not train on them,
    the others by cross-fitting its recipe. `trusted`: the labels are not those that are new, each the word of
    one labeller alone."""

    truth: np.ndarray
    weight: np.ndarray
    unit: np.ndarray
    champion: np.ndarray
    challenger: np.ndarray
    by_artefact: int = 0
    trusted: bool = True


@dataclass(frozen=True)
class Confirmed:
    """A record that analysts agree on, and its held-out rank in [0, 1] by either side."""

    feedback_id: str
    anomaly: bool
    champion: float
    challenger: float

    def flip(self, budget: float) -> dict[str, object] | None:
        """How its verdict changes; None: it does not.

        A rank beside the threshold crosses it by chance, so a flip is clear from twice or half the budget on.
        """
        was, now = (rank >= lowest_rank(budget) for rank in (self.champion, self.challenger))
        if was == now:
            return None
        return {
            "feedback_id": self.feedback_id,
            "label": "anomaly" if self.anomaly else "normal",
            "champion": round(100 * self.champion, 3),
            "challenger": round(100 * self.challenger, 3),
            "turns": "right" if now == self.anomaly else "wrong",
            "clear": now == bool(self.challenger >= lowest_rank((2.0 if was else 0.5) * budget)),
        }


@dataclass(frozen=True)
class RecentTraffic:
    """Of `rows` drawn at random from recent traffic, confirmed anomalies left out, how many either side
    alerts on."""

    rows: int
    champion: int
    challenger: int


@dataclass(frozen=True)
class GateEvidence:
    """`ranked` is None where there is no anomaly to find by which either side could be measured. `plain` has
    in the champion's place the recipe without any word that one labeller alone said; None: the champion
    learnt no such word, or hardly an anomaly is shared. `only_normals`: all new words say normal, and
    they are many."""

    ranked: Ranked | None
    confirmed: tuple[Confirmed, ...]
    traffic: RecentTraffic
    budget: float
    plain: Ranked | None = None
    only_normals: bool = False


@dataclass(frozen=True)
class Decision:
    """`reasons` are sentences, those that refuse first; `figures` what they stand on. `measured`: whether it
    is known how well unseen anomalies are found."""

    accepted: bool
    reasons: tuple[str, ...]
    figures: dict[str, object]
    measured: bool = True


def decide(evidence: GateEvidence, seed: int = 0) -> Decision:
    """Judge a challenger. The same evidence and seed give the same decision."""
    judged = [
        _depth(evidence, seed),
        _creep(evidence.plain),
        _flips(evidence.confirmed, evidence.budget),
        _alerts(evidence.traffic, evidence.budget),
    ]
    judged.sort(key=lambda one: one.accepted)
    figures = {name: figure for one in judged for name, figure in one.figures.items()}
    reasons = tuple(reason for one in judged for reason in one.reasons)
    return Decision(
        all(one.accepted for one in judged), reasons, figures, all(one.measured for one in judged)
    )


def depths(rank: np.ndarray, weight: np.ndarray) -> float:
    """The depth of anomalies with ranks [A]: the geometric mean of the share of traffic that lies above."""
    times = np.maximum(1.0 - rank, FINEST) / FINEST  # FINEST itself, to the last digit, where all lie so high
    return FINEST * exp(float(np.average(np.log(times), weights=weight)))


def deeper(ranked: Ranked) -> tuple[float, float]:
    """By how much, as a share of the champion's depth, anomalies lie deeper by the challenger, and what of
    that may be chance."""
    found = ranked.truth == 1
    weight = ranked.weight[found] / ranked.weight[found].sum()
    champion, challenger = (
        np.log(np.maximum(1.0 - rank[found], FINEST)) for rank in (ranked.champion, ranked.challenger)
    )
    differences = challenger - champion
    mean = float(weight @ differences)
    error = sqrt(float((weight**2) @ (differences - mean) ** 2))
    return exp(mean) - 1.0, exp(CHANCE * error) - 1.0


def _depth(evidence: GateEvidence, seed: int) -> Decision:
    ranked = evidence.ranked
    if ranked is None:
        text = "how well unseen anomalies are found cannot be measured yet: it takes two labelled anomalies"
        return Decision(True, (text,), {}, measured=False)
    found = ranked.truth == 1
    count = len(np.unique(ranked.unit[found]))
    champion, challenger = (
        depths(rank[found], ranked.weight[found]) for rank in (ranked.champion, ranked.challenger)
    )
    more, chance = deeper(ranked)
    allowed = MARGIN + (0.0 if ranked.trusted else chance)
    must_gain = evidence.only_normals and ranked.trusted
    if must_gain:
        allowed = -min(GAIN, (1.0 - FINEST / champion) / 2.0)
    how = "by cross-fitting"
    if ranked.by_artefact:
        how = (
            f"({ranked.by_artefact} of the trust set, which neither trained on, the others by cross-fitting)"
        )
    which = "trusted anomalies" if ranked.trusted else "anomalies, each the word of one labeller alone,"
    text = (
        f"{count} {which} {how}: {_in_words(challenger)} of traffic lies above a typical one, by the "
        f"champion {_in_words(champion)}"
    )
    accepted = more <= allowed
    if not accepted and must_gain:
        text = (
            "all new labels say normal, and what learns from normals alone must find anomalies better: they "
            f"lie {more:+.0%} deeper, {allowed:+.0%} is asked; they wait for an anomaly beside them; {text}"
        )
    elif not accepted:
        text = (
            f"it finds anomalies worse than the champion: they lie {more:.0%} deeper, {allowed:.0%} is "
            f"allowed; {text}"
        )
    return Decision(
        accepted,
        (text,),
        {
            **_figures(ranked, evidence.budget, seed),
            "depth": {
                "champion": champion,
                "challenger": challenger,
                "deeper": more,
                "allowed": allowed,
                "finest": FINEST,
            },
        },
    )


def _in_words(depth: float) -> str:
    return f"{depth:.2%}" if depth > FINEST else f"{FINEST:.0%} or less"


def _creep(plain: Ranked | None) -> Decision:
    """What single labellers said, now and before, may not have made it worse: small losses would add up."""
    if plain is None:
        return Decision(True, (), {})
    more, chance = deeper(plain)
    allowed = MARGIN + chance
    figures: dict[str, object] = {"without_single_words": {"deeper": more, "allowed": allowed}}
    text = (
        f"shared anomalies lie {more:+.0%} deeper than by a model without the words of single labellers, "
        f"{allowed:.0%} is allowed"
    )
    if more > allowed:
        text = f"what single labellers said made it worse: {text}"
    return Decision(more <= allowed, (text,), figures)


def _figures(ranked: Ranked, budget: float, seed: int) -> dict[str, object]:
    champion, challenger = (
        float(average_precisions(rank, ranked.truth, ranked.weight[None])[0])
        for rank in (ranked.champion, ranked.challenger)
    )
    low, high = np.quantile(_differences(ranked, seed), (0.05, 0.95)).tolist()
    anomalous = ranked.truth == 1
    recalls = {
        name: float(np.average(rank[anomalous] >= lowest_rank(budget), weights=ranked.weight[anomalous]))
        for name, rank in (("champion", ranked.champion), ("challenger", ranked.challenger))
    }
    return {
        "judged_by": "artefact" if ranked.by_artefact else "cross-fitting",
        "by_artefact": ranked.by_artefact,
        "trusted": ranked.trusted,
        "average_precision": {
            "champion": champion,
            "challenger": challenger,
            "difference": challenger - champion,
            "interval_90": [low, high],
        },
        "recall_at_budget": recalls,
        "ranks": _ranks(ranked),
        "labels_measured": len(np.unique(ranked.unit[anomalous])),
    }


def _ranks(ranked: Ranked) -> dict[str, list[float]]:
    """Percentiles of the measured anomalies by either side, pair by pair, the champion's ascending; of many,
    as many as a picture holds, evenly over the champion's order."""
    found = np.flatnonzero(ranked.truth == 1)
    ordered = found[np.argsort(ranked.champion[found], kind="stable")]
    shown = ordered[np.linspace(0, len(ordered) - 1, min(len(ordered), MOST_RANKS)).round().astype(int)]
    sides = (("champion", ranked.champion), ("challenger", ranked.challenger))
    return {name: np.round(100 * rank[shown], 3).tolist() for name, rank in sides}


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
    """All flips are listed; those that are clear and turn wrong are bounded."""
    flips = [flip for record in confirmed if (flip := record.flip(budget))]
    wrong = [flip for flip in flips if flip["turns"] == "wrong"]
    clear = [flip for flip in wrong if flip["clear"]]
    allowed = max(ALWAYS_FLIPPED, int(MOST_FLIPPED * len(confirmed)))
    accepted = len(clear) <= allowed
    text = (
        f"of {len(confirmed)} confirmed records it turns {len(flips) - len(wrong)} right and {len(wrong)} "
        f"wrong, {len(clear)} of those clearly"
    )
    if not accepted:
        ids = ", ".join(str(flip["feedback_id"]) for flip in clear[:5])
        text = f"{text}, where {allowed} are allowed (feedback {ids}{' ...' if len(clear) > 5 else ''})"
    figures: dict[str, object] = {
        "confirmed": len(confirmed),
        "flips": flips,
        "flips_allowed": allowed,
        "precision_of_alerts": {
            "champion": _precision([(record.champion, record.anomaly) for record in confirmed], budget),
            "challenger": _precision([(record.challenger, record.anomaly) for record in confirmed], budget),
        },
    }
    return Decision(accepted, (text,), figures)


def _precision(judged: list[tuple[float, bool]], budget: float) -> float | None:
    """Of the records with a verdict that a side alerts on, the share that are anomalies; None: it alerts on
    none."""
    alerts = [anomaly for rank, anomaly in judged if rank >= lowest_rank(budget)]
    return sum(alerts) / len(alerts) if alerts else None


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
