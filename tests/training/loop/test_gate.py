"""The gate refuses where there is evidence against a challenger, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from nearnorm.training.loop.gate import (
    CHANCE,
    DRAWS,
    FINEST,
    GAIN,
    MARGIN,
    MOST_RANKS,
    Confirmed,
    GateEvidence,
    Ranked,
    RecentTraffic,
    _differences,
    average_precisions,
    decide,
    deeper,
    depths,
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
    assert any("of traffic lies above a typical one" in reason for reason in decision.reasons)
    assert decision.measured


def test_of_anomalies_above_the_highest_hundredth_it_is_not_said_how_much_lies_above() -> None:
    truth = np.concatenate([np.ones(30, int), np.zeros(900, int)])
    ranks = np.concatenate([np.full(30, 0.9998), np.linspace(0, 0.999, 900)])
    both = Ranked(truth, np.ones(930), np.arange(930), ranks, ranks)
    decision = decide(GateEvidence(both, (), QUIET, 0.01))
    assert decision.accepted
    assert decision.reasons[0] == (
        "30 trusted anomalies by cross-fitting: 1% or less of traffic lies above a typical one, by the "
        "champion 1% or less"
    )


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


def moved(anomalies: int, deeper_by: float, noise: float = 0.0) -> Ranked:
    """Anomalies that lie at 10% by the champion, and deeper by a factor, more or less, by the challenger."""
    tail = 0.1 * (1 + deeper_by) * np.exp(noise * np.resize([1.0, -1.0], anomalies))
    reference = np.linspace(0, 0.99, 100)
    truth = np.concatenate([np.ones(anomalies, int), np.zeros(100, int)])
    champion, challenger = (np.concatenate([side, reference]) for side in (np.full(anomalies, 0.9), 1 - tail))
    return Ranked(truth, np.ones(len(truth)), np.arange(len(truth)), champion, challenger)


@pytest.mark.parametrize(("by", "accepted"), [(MARGIN - 0.01, True), (MARGIN + 0.01, False), (-0.5, True)])
def test_trusted_anomalies_may_lie_deeper_by_a_share_of_the_champions_own_depth(
    by: float, accepted: bool
) -> None:
    assert decide(GateEvidence(moved(20, by), (), QUIET, 0.01)).accepted is accepted


@pytest.mark.parametrize(
    ("champion", "gained", "accepted"),
    [(0.05, GAIN + 0.01, True), (0.05, GAIN - 0.01, False), (0.011, 0.05, True), (0.011, 0.04, False)],
)
def test_normals_alone_must_make_it_better_by_a_share_or_half_of_what_can_be_gained(
    champion: float, gained: float, accepted: bool
) -> None:
    few = ranked(0.95, 1, 1)
    sides = (np.array([1 - champion, 0.5]), np.array([1 - champion * (1 - gained), 0.5]))
    pair = replace(few, champion=sides[0], challenger=sides[1])
    decision = decide(GateEvidence(pair, (), QUIET, 0.01, only_normals=True))
    assert decision.accepted is accepted
    assert decision.reasons[0].startswith("all new labels say normal") is not accepted
    assert decide(GateEvidence(pair, (), QUIET, 0.01)).accepted


def test_labels_that_nobody_trusts_must_differ_by_more_than_chance_too() -> None:
    by = MARGIN + 0.1
    assert CHANCE * 0.5 / np.sqrt(10) > 0.1
    noisy = moved(10, by, noise=0.5)
    assert not decide(GateEvidence(noisy, (), QUIET, 0.01)).accepted
    assert decide(GateEvidence(replace(noisy, trusted=False), (), QUIET, 0.01)).accepted
    assert not decide(GateEvidence(replace(moved(10, by), trusted=False), (), QUIET, 0.01)).accepted


def test_what_single_labellers_said_may_not_have_made_it_worse_though_the_champion_is_as_bad() -> None:
    as_good, lost = moved(20, 0.0), moved(20, MARGIN + 0.2)
    decision = decide(GateEvidence(as_good, (), QUIET, 0.01, plain=lost))
    assert not decision.accepted
    assert decision.reasons[0].startswith(
        "what single labellers said made it worse: shared anomalies lie +25%"
    )
    figures = decision.figures["without_single_words"]
    assert figures == {"deeper": pytest.approx(0.25), "allowed": pytest.approx(MARGIN)}
    assert decide(GateEvidence(as_good, (), QUIET, 0.01, plain=moved(20, -0.5))).accepted
    few = moved(6, 0.2, noise=0.5)
    assert decide(GateEvidence(as_good, (), QUIET, 0.01, plain=few)).accepted, "that may be chance"


def test_a_depth_is_the_share_of_traffic_above_a_typical_anomaly() -> None:
    assert depths(np.array([0.9, 0.99]), np.ones(2)) == pytest.approx(np.sqrt(0.1 * 0.01))
    assert depths(np.array([0.9, 0.99]), np.array([1.0, 0.0])) == pytest.approx(0.1)
    assert depths(np.array([0.9999]), np.ones(1)) == pytest.approx(FINEST), "who is looked at anyway"


def test_hidden_anomalies_among_the_reference_do_not_matter() -> None:
    """Ranks of the reference rows are not looked at: none of them is taken to be normal."""
    one = moved(30, 0.05)
    other = Ranked(one.truth, one.weight, one.unit, one.champion[::1], np.roll(one.challenger, 0))
    other.challenger[30:] = 0.999
    assert deeper(one) == deeper(other)


def test_without_anomalies_to_find_it_is_neither_refused_nor_measured_and_says_so() -> None:
    decision = decide(GateEvidence(None, (), QUIET, 0.01))
    assert decision.accepted
    assert not decision.measured
    assert "cannot be measured yet" in decision.reasons[0]


def test_the_sentence_tells_who_was_measured_and_by_whose_word() -> None:
    few = moved(30, 0.0)
    of_artefact = Ranked(few.truth, few.weight, few.unit, few.champion, few.challenger, by_artefact=20)
    own_word = Ranked(few.truth, few.weight, few.unit, few.champion, few.challenger, trusted=False)
    for ranked, text in (
        (few, "30 trusted anomalies by cross-fitting: 10.00% of traffic lies above a typical one"),
        (
            of_artefact,
            "30 trusted anomalies (20 of the trust set, which neither trained on, the others by "
            "cross-fitting): 10.00%",
        ),
        (own_word, "30 anomalies, each the word of one labeller alone, by cross-fitting"),
    ):
        assert any(text in reason for reason in decide(GateEvidence(ranked, (), QUIET, 0.01)).reasons)


def record(name: str, champion: float, challenger: float, anomaly: bool = True) -> Confirmed:
    return Confirmed(name, anomaly, champion, challenger)


def test_confirmed_records_that_flip_the_wrong_way_are_told_by_id_and_refused_beyond_a_bound() -> None:
    wrong = tuple(record(f"f{i}", 0.999, 0.5) for i in range(3))
    decision = decide(evidence(0.95, 40, wrong))
    assert not decision.accepted
    assert "f0, f1, f2" in decision.reasons[0]
    assert decide(evidence(0.95, 40, wrong[:2])).accepted


def test_every_flip_is_listed_with_both_percentiles_in_either_direction() -> None:
    told = (
        record("lost", 0.995, 0.5),
        record("just lost", 0.995, 0.985),
        record("found", 0.5, 0.999),
        record("raised", 0.5, 0.999, anomaly=False),
        record("same", 0.999, 0.995),
    )
    flips = decide(evidence(0.95, 40, told)).figures["flips"]
    assert flips == [
        {
            "feedback_id": "lost",
            "label": "anomaly",
            "champion": 99.5,
            "challenger": 50.0,
            "turns": "wrong",
            "clear": True,
        },
        {
            "feedback_id": "just lost",
            "label": "anomaly",
            "champion": 99.5,
            "challenger": 98.5,
            "turns": "wrong",
            "clear": False,
        },
        {
            "feedback_id": "found",
            "label": "anomaly",
            "champion": 50.0,
            "challenger": 99.9,
            "turns": "right",
            "clear": True,
        },
        {
            "feedback_id": "raised",
            "label": "normal",
            "champion": 50.0,
            "challenger": 99.9,
            "turns": "wrong",
            "clear": True,
        },
    ]


def test_of_many_confirmed_records_a_tenth_may_flip() -> None:
    right = tuple(record(f"r{i}", 0.999, 0.999) for i in range(40))
    wrong = tuple(record(f"f{i}", 0.999, 0.5) for i in range(5))
    assert not decide(evidence(0.95, 40, right[:35] + wrong)).accepted
    assert decide(evidence(0.95, 40, right + right + wrong)).accepted


@pytest.mark.parametrize(
    ("anomaly", "champion", "challenger", "clear"),
    [
        (True, 0.995, 0.97, True),
        (True, 0.995, 0.985, False),  # within twice the budget of the threshold
        (True, 0.9, 0.5, None),  # it was wrong before
        (False, 0.5, 0.996, True),
        (False, 0.5, 0.992, False),  # not within half the budget
        (False, 0.995, 0.999, None),
    ],
)
def test_a_flip_is_clear_when_it_is_no_accident_of_the_threshold(
    anomaly: bool, champion: float, challenger: float, clear: bool | None
) -> None:
    flip = record("f", champion, challenger, anomaly).flip(0.01)
    assert (flip and (flip["turns"], flip["clear"])) == (clear if clear is None else ("wrong", clear))


def test_flips_beside_the_threshold_are_listed_and_not_bounded() -> None:
    beside = tuple(record(f"f{i}", 0.995, 0.985) for i in range(9))
    decision = decide(evidence(0.95, 40, beside))
    assert decision.accepted
    assert "of 9 confirmed records it turns 0 right and 9 wrong, 0 of those clearly" in decision.reasons


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
    flips = decision.figures.pop("flips")
    assert isinstance(flips, list)
    assert [(flip["feedback_id"], flip["turns"]) for flip in flips] == [
        ("mended", "right"),
        ("flipped", "wrong"),
    ]
    depth = decision.figures.pop("depth")
    assert isinstance(depth, dict)
    assert depth.keys() == {"champion", "challenger", "deeper", "allowed", "finest"}
    assert depth["deeper"] == pytest.approx(depth["challenger"] / depth["champion"] - 1)
    assert decision.figures == {
        "judged_by": "cross-fitting",
        "by_artefact": 0,
        "trusted": True,
        "average_precision": {"champion": before, "challenger": after, "difference": after - before},
        "recall_at_budget": {"champion": 2 / 5, "challenger": 3 / 5},
        "ranks": {"champion": [50.0, 50.0, 50.0, 99.5], "challenger": [99.5, 50.0, 50.0, 99.5]},
        "labels_measured": 4,
        "confirmed": 3,
        "flips_allowed": 2,
        "precision_of_alerts": {"champion": 1.0, "challenger": 1.0},
        "traffic": {"rows": 50, "champion": 1, "challenger": 0},
        "budget": 0.01,
    }


def test_of_many_anomalies_as_many_ranks_are_told_as_a_picture_holds() -> None:
    ranks = decide(evidence(0.95, 1_000)).figures["ranks"]
    assert isinstance(ranks, dict)
    assert len(ranks["champion"]) == len(ranks["challenger"]) == MOST_RANKS
    assert ranks["champion"] == sorted(ranks["champion"])


def test_no_more_than_five_records_are_told_by_id() -> None:
    wrong = tuple(record(f"f{i}", 0.999, 0.5) for i in range(6))
    assert "(feedback f0, f1, f2, f3, f4)" in decide(evidence(0.95, 40, wrong[:5])).reasons[0]
    assert "(feedback f0, f1, f2, f3, f4 ...)" in decide(evidence(0.95, 40, wrong)).reasons[0]


def test_the_same_evidence_gives_the_same_decision() -> None:
    assert decide(evidence(0.9, 10)) == decide(evidence(0.9, 10))
