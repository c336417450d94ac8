"""The gate refuses where there is evidence against a challenger, and only there."""

import numpy as np
import pytest

from nearnorm.training.loop.gate import (
    CONFIDENCE,
    DRAWS,
    MARGIN,
    Confirmed,
    GateEvidence,
    Ranked,
    RecentTraffic,
    _differences,
    average_precisions,
    decide,
)

QUIET = RecentTraffic(1_000, 10, 10)


def ranked(challenger: float, anomalies: int, reference: int = 500, seed: int = 0) -> Ranked:
    """Anomalies that the champion ranks around 0.9, the challenger around `challenger`."""
    rng = np.random.default_rng(seed)
    normal = np.linspace(0, 0.999, reference)

    def ranks(centre: float) -> np.ndarray:
        return np.concatenate([np.clip(rng.normal(centre, 0.03, anomalies), 0, 1), normal])

    truth = np.concatenate([np.ones(anomalies, int), np.zeros(reference, int)])
    return Ranked(truth, np.ones(len(truth)), np.arange(len(truth)), ranks(0.95), ranks(challenger))


def evidence(challenger: float, anomalies: int, confirmed: tuple[Confirmed, ...] = ()) -> GateEvidence:
    return GateEvidence(ranked(challenger, anomalies), confirmed, QUIET, 0.01)


def test_an_equal_challenger_is_accepted() -> None:
    decision = decide(evidence(0.95, 40))
    assert decision.accepted, decision.reasons
    assert any("average precision" in reason for reason in decision.reasons)


def test_a_clearly_worse_challenger_is_refused_with_the_figures() -> None:
    decision = decide(evidence(0.6, 40))
    assert not decision.accepted
    assert decision.reasons[0].startswith("it finds anomalies worse than the champion")
    figures = decision.figures["average_precision"]
    assert isinstance(figures, dict)
    assert figures["challenger"] < figures["champion"]


def seen_again(few: Ranked, times: int) -> Ranked:
    """The same ranks on either side, of so many times the records."""
    rows = np.tile(np.arange(len(few.truth)), times)
    units = np.arange(len(rows))
    return Ranked(few.truth[rows], few.weight[rows], units, few.champion[rows], few.challenger[rows])


def test_the_same_worse_challenger_is_refused_only_when_labels_are_many() -> None:
    few = ranked(0.93, 20)
    assert decide(GateEvidence(few, (), QUIET, 0.01)).accepted
    assert not decide(GateEvidence(seen_again(few, 20), (), QUIET, 0.01)).accepted


def test_a_challenger_is_refused_when_the_gate_is_sure_and_not_where_it_is_only_likely() -> None:
    """By this evidence it is worse by more than the margin in most draws, but not in nine of ten."""
    few = ranked(0.93, 20)
    differences = _differences(few, 0)
    assert np.quantile(differences, 0.5) < -MARGIN < np.quantile(differences, CONFIDENCE)
    assert decide(GateEvidence(few, (), QUIET, 0.01)).accepted


def test_without_anomalies_to_find_it_is_accepted_and_says_so() -> None:
    decision = decide(GateEvidence(None, (), QUIET, 0.01))
    assert decision.accepted
    assert "cannot be measured yet" in decision.reasons[0]


def record(name: str, champion: float, challenger: float, anomaly: bool = True) -> Confirmed:
    return Confirmed(name, anomaly, champion, challenger)


def test_confirmed_records_that_flip_the_wrong_way_are_told_by_id_and_refused_beyond_a_bound() -> None:
    wrong = tuple(record(f"f{i}", 0.999, 0.5) for i in range(3))
    decision = decide(evidence(0.95, 40, wrong))
    assert not decision.accepted
    assert decision.figures["flipped"] == ["f0", "f1", "f2"]
    assert "f0, f1, f2" in decision.reasons[0]
    assert decide(evidence(0.95, 40, wrong[:2])).accepted


def test_of_many_confirmed_records_a_tenth_may_flip() -> None:
    right = tuple(record(f"r{i}", 0.999, 0.999) for i in range(40))
    wrong = tuple(record(f"f{i}", 0.999, 0.5) for i in range(5))
    assert not decide(evidence(0.95, 40, right[:35] + wrong)).accepted
    assert decide(evidence(0.95, 40, right + right + wrong)).accepted


@pytest.mark.parametrize(
    ("anomaly", "champion", "challenger", "counts"),
    [
        (True, 0.995, 0.97, True),
        (True, 0.995, 0.985, False),  # within twice the budget of the threshold
        (True, 0.9, 0.5, False),  # it was wrong before
        (False, 0.5, 0.996, True),
        (False, 0.5, 0.992, False),  # not within half the budget
        (False, 0.995, 0.999, False),
    ],
)
def test_a_flip_counts_when_it_is_no_accident_of_the_threshold(
    anomaly: bool, champion: float, challenger: float, counts: bool
) -> None:
    assert record("f", champion, challenger, anomaly).turned(0.01, wrong=True) is counts


def test_a_challenger_that_alerts_beyond_the_budget_is_refused() -> None:
    noisy = GateEvidence(None, (), RecentTraffic(1_000, 10, 60), 0.01)
    decision = decide(noisy)
    assert not decision.accepted
    assert "alerts would exceed the budget" in decision.reasons[0]


def test_the_sentence_on_alerts_tells_both_sides_and_the_budget() -> None:
    reasons = decide(GateEvidence(None, (), RecentTraffic(1_000, 10, 60), 0.01)).reasons
    shares = "it alerts on 6.00% of 1,000 rows of recent traffic, the champion on 1.00%, the budget is 1.00%"
    assert reasons[0].endswith(shares)


def test_without_recent_traffic_there_are_no_alerts_to_count() -> None:
    decision = decide(GateEvidence(None, (), RecentTraffic(0, 0, 0), 0.01))
    assert decision.accepted
    assert "beside confirmed anomalies there is no recent traffic to count alerts on" in decision.reasons
    assert "traffic" not in decision.figures


def test_where_the_champion_alerts_on_most_of_the_traffic_nothing_is_more() -> None:
    assert decide(GateEvidence(None, (), RecentTraffic(1_000, 800, 1_000), 0.01)).accepted


def test_few_rows_of_traffic_are_no_evidence_of_too_many_alerts() -> None:
    assert decide(GateEvidence(None, (), RecentTraffic(20, 0, 1), 0.01)).accepted


def test_a_challenger_may_alert_as_often_as_the_champion_does_when_traffic_has_changed() -> None:
    assert decide(GateEvidence(None, (), RecentTraffic(1_000, 80, 90), 0.01)).accepted


def test_average_precision_is_sklearns_with_ties_and_weights() -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    rank, truth = rng.integers(0, 30, 200) / 30, rng.integers(0, 2, 200)
    weights = rng.uniform(0.1, 5, (4, 200))
    expected = [average_precision_score(truth, rank, sample_weight=row) for row in weights]
    assert average_precisions(rank, truth, weights) == pytest.approx(expected)


def test_a_record_found_by_the_audit_slice_weighs_what_it_stands_for() -> None:
    same = ranked(0.95, 4)
    weight = same.weight.copy()
    weight[0] = 100.0
    champion = same.champion.copy()
    champion[0] = 0.0
    heavy = Ranked(same.truth, weight, same.unit, champion, same.challenger)
    figures = decide(GateEvidence(heavy, (), QUIET, 0.01)).figures["average_precision"]
    assert isinstance(figures, dict)
    assert figures["challenger"] > 2 * figures["champion"]
    differences = _differences(heavy, 0)
    drawn = differences > 0.1
    assert 0.5 < drawn.mean() < 0.8, "in two draws of three the record is there, and decides"


def test_every_draw_has_as_many_anomalies_as_there_are() -> None:
    """Of records drawn all together, more than a third of the draws would have none of one anomaly."""
    reference = np.linspace(0, 0.9, 100)
    truth = np.concatenate([[1], np.zeros(100, int)])
    found, missed = np.concatenate([[1.0], reference]), np.concatenate([[-1.0], reference])
    one = Ranked(truth, np.ones(101), np.arange(101), champion=found, challenger=missed)
    assert (_differences(one, 0) < -0.9).all()


def test_draws_are_many_and_differ() -> None:
    differences = _differences(ranked(0.9, 10), 0)
    assert len(differences) == DRAWS
    assert len(np.unique(differences)) > DRAWS / 2


def test_the_figures_of_a_decision_are_these() -> None:
    """GET /jobs/{id} answers with them."""
    truth = np.concatenate([np.ones(4, int), np.zeros(200, int)])
    weight = np.concatenate([[2.0], np.ones(203)])
    reference = np.linspace(0.0, 0.99, 200)
    champion, challenger = (
        np.concatenate([anomalies, reference])
        for anomalies in ([0.995, 0.5, 0.5, 0.5], [0.995, 0.995, 0.5, 0.5])
    )
    confirmed = (record("mended", 0.5, 0.999), record("flipped", 0.999, 0.5), record("same", 0.999, 0.999))
    evidence = GateEvidence(
        Ranked(truth, weight, np.arange(204), champion, challenger), confirmed, RecentTraffic(50, 1, 0), 0.01
    )
    decision = decide(evidence)
    before, after = (
        float(average_precisions(rank, truth, weight[None])[0]) for rank in (champion, challenger)
    )
    precision = decision.figures["average_precision"]
    assert isinstance(precision, dict)
    low, high = precision.pop("interval_90")
    assert 0 <= low < after - before < high < 0.6
    assert decision.figures == {
        "average_precision": {"champion": before, "challenger": after, "difference": after - before},
        "recall_at_budget": {"champion": 2 / 5, "challenger": 3 / 5},
        "labels_measured": 4,
        "confirmed": 3,
        "mended": 1,
        "flipped": ["flipped"],
        "traffic": {"rows": 50, "champion": 1, "challenger": 0},
        "budget": 0.01,
    }
    assert "of 3 confirmed records it mends 1 and turns 1 wrong" in decision.reasons


def test_no_more_than_five_records_are_told_by_id() -> None:
    wrong = tuple(record(f"f{i}", 0.999, 0.5) for i in range(6))
    assert "(feedback f0, f1, f2, f3, f4)" in decide(evidence(0.95, 40, wrong[:5])).reasons[0]
    assert "(feedback f0, f1, f2, f3, f4 ...)" in decide(evidence(0.95, 40, wrong)).reasons[0]


def test_the_same_evidence_gives_the_same_decision() -> None:
    assert decide(evidence(0.9, 10)) == decide(evidence(0.9, 10))
