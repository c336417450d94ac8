"""What the gate's benchmark says in whose name: the ways of labelling are what they are called."""

import numpy as np

from tests.benchmarks.gate_cells import CONTRADICTED, Labelling, said

ROWS = 200
TRUTH = np.arange(ROWS) % 4 == 0
SCORE = np.linspace(0.0, 1.0, ROWS)


def told(how: Labelling) -> tuple[np.ndarray, np.ndarray]:
    return said(how, 40, SCORE, SCORE, TRUTH, seed=0)


def test_the_top_of_the_queue_is_labelled_truly_inverted_or_as_normal() -> None:
    top = np.arange(ROWS)[::-1][:40]
    for how, labels in (
        ("truthful", TRUTH[top]),
        ("inverted", ~TRUTH[top]),
        ("all normal", TRUTH[top] & False),
    ):
        rows, given = told(how)  # type: ignore[arg-type]
        assert rows.tolist() == top.tolist()
        assert given.tolist() == labels.astype(int).tolist()


def test_planted_labels_call_normals_anomalies_and_the_high_ones_lie_where_no_second_opinion_is_asked() -> (
    None
):
    rows, given = told("planted")
    assert not TRUTH[rows].any()
    assert given.tolist() == [1] * 40
    high, _ = told("planted high")
    assert not TRUTH[high].any()
    assert (SCORE[high] >= CONTRADICTED).all()


def test_of_a_mix_nine_in_ten_are_true_and_of_half_random_ones_at_least_half() -> None:
    rows, given = told("mix")
    assert (given == TRUTH[rows]).sum() == 36
    rows, given = told("half random")
    assert 20 <= (given == TRUTH[rows]).sum() < 40
