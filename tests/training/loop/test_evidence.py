"""What the gate judges by: held-out ranks of trusted labels, and of all where hardly any is trusted."""

import numpy as np
import pytest

from nearnorm.models.retraining import Verdict
from nearnorm.training.evaluation.crossfit import CrossFit
from nearnorm.training.loop.evidence import confirmed, rank_among_reference, say_only_normal, weights
from nearnorm.training.loop.gate import FEWEST_NORMALS, FEWEST_TRUSTED


def side(rows: list[int], rank: list[float], reference: list[list[float]]) -> CrossFit:
    return CrossFit(np.array(rows), np.array(rank), np.array(rank), np.array(reference))


def test_a_record_that_is_seldom_kept_weighs_one_over_its_probability() -> None:
    """Row 5 stands for the four of its like that no event kept; row 2 was labelled in the base data."""
    labels = np.array([-1, -1, 1, -1, -1, 1, 0], np.int8)
    verdicts = [
        Verdict("a", "a", True, {}, probability=0.25, known=False),
        Verdict("b", "b", False, {}, probability=0.5, known=False),
        Verdict("left out", "c", True, {}, probability=0.001, known=False),
    ]
    weight = weights(len(labels), np.array([5, 6, -1]), verdicts)
    rows, reference = [2, 5, 6], [[0.1, 0.2], [0.3, 0.4]]
    champion = side(rows, [0.5, 0.6, 0.7], reference)
    challenger = side(rows, [0.9, 0.8, 0.0], [[0.0, 0.5], [0.5, 0.0]])
    ranked = rank_among_reference(labels, weight, labels >= 0, [(champion, challenger)], 0)
    assert ranked is not None
    assert ranked.weight.tolist() == [1.0, 4.0, 2.0, 0.5, 0.5, 0.5, 0.5], "either fit's reference counts half"
    assert ranked.truth.tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert ranked.unit.tolist() == [0, 1, 2, 3, 4, 3, 4], "a reference row is one record in both fits"
    assert ranked.champion.tolist() == [0.5, 0.6, 0.7, 0.1, 0.2, 0.3, 0.4]
    assert ranked.challenger.tolist() == [0.9, 0.8, 0.0, 0.0, 0.5, 0.5, 0.0]


@pytest.mark.parametrize(
    ("trusted", "measured"), [(FEWEST_TRUSTED, FEWEST_TRUSTED), (FEWEST_TRUSTED - 1, 20)]
)
def test_new_words_of_one_labeller_are_the_truth_only_where_hardly_any_label_is_trusted(
    trusted: int, measured: int
) -> None:
    labels = np.ones(20, np.int8)
    both = side(list(range(20)), [0.5] * 20, [[0.1, 0.2]])
    ranked = rank_among_reference(labels, np.ones(20), np.arange(20) < trusted, [(both, both)], 0)
    assert ranked is not None
    assert int(ranked.truth.sum()) == measured
    assert ranked.trusted is (trusted == FEWEST_TRUSTED)


def test_where_no_anomaly_was_measured_nothing_is_ranked() -> None:
    both = side([0], [0.5], [[0.1, 0.2]])
    labels = np.array([0, -1], np.int8)
    assert rank_among_reference(labels, np.ones(2), labels >= 0, [(both, both)], 1) is None
    assert rank_among_reference(labels, np.ones(2), labels >= 0, [], 0) is None


def test_a_confirmed_record_is_judged_by_ranks_of_models_that_did_not_train_on_it() -> None:
    verdicts = [
        Verdict(name, name, True, {}, probability=1.0, known=False)
        for name in ("held out", "crossed", "neither")
    ]
    artefact = (side([3], [0.1], [[0.5]]), side([3], [0.2], [[0.5]]))
    recipe = (side([4], [0.3], [[0.5]]), side([4], [0.4], [[0.5]]))
    found = confirmed(np.array([3, 4, 5]), verdicts, [artefact, recipe])
    assert [(one.feedback_id, one.champion, one.challenger) for one in found] == [
        ("held out", 0.1, 0.2),
        ("crossed", 0.3, 0.4),
    ]


def test_anomalies_of_the_trust_set_and_cross_fitted_ones_count_alike_among_one_reference() -> None:
    artefact = (side([0, 1], [0.1, 0.2], [[0.5]]), side([0, 1], [0.3, 0.4], [[0.5]]))
    recipe = (side([2], [0.6], [[0.7]]), side([2], [0.8], [[0.7]]))
    labels = np.array([1, 0, 1], np.int8)
    ranked = rank_among_reference(labels, np.ones(3), labels >= 0, [artefact, recipe], 1)
    assert ranked is not None
    assert ranked.truth.tolist() == [1, 0, 1, 0]
    assert ranked.champion.tolist() == [0.1, 0.2, 0.6, 0.5]
    assert ranked.challenger.tolist() == [0.3, 0.4, 0.8, 0.5]
    assert ranked.by_artefact == 1, "the other one of the trust set is a normal"


def test_what_single_labellers_newly_said_may_all_be_normal() -> None:
    def say(anomaly: bool, known: bool = False, key: str | None = "soc") -> Verdict:
        return Verdict("d", "d", anomaly, {}, 1.0, known, key)

    normals = [say(False)] * FEWEST_NORMALS
    assert say_only_normal(normals)
    assert say_only_normal([*normals, say(True, known=True), say(True, key=None)])
    assert not say_only_normal([*normals, say(True)])
    assert not say_only_normal(normals[1:])
    assert not say_only_normal([*normals[1:], say(False, known=True), say(False, key=None)])
