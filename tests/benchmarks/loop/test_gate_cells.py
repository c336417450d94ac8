"""What the gate's benchmark says in whose name: the ways of labelling are what they are called."""

import numpy as np

from tests.benchmarks.loop.gate_cells import CONTRADICTED, HONEST, Labelling, said

ROWS = 200
TRUTH = np.arange(ROWS) % 4 == 0
SCORE = np.linspace(0.0, 1.0, ROWS)


def told(how: Labelling) -> tuple[np.ndarray, np.ndarray]:
    brought = said(how, 40, SCORE, SCORE, TRUTH, seed=0)
    return brought.rows, brought.labels


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


def test_in_a_mix_nine_keys_are_truthful_and_one_plants_normals_that_rank_high() -> None:
    rank = SCORE**0.05
    brought = said("mix", 40, SCORE, rank, TRUTH, seed=0)
    honest = brought.only(brought.key < HONEST)
    assert honest.labels.tolist() == TRUTH[honest.rows].astype(int).tolist()
    assert sorted(set(honest.key.tolist())) == list(range(HONEST))
    planted = brought.only(brought.key == HONEST)
    assert planted.labels.tolist() == [1] * 4
    assert not TRUTH[planted.rows].any()
    assert (rank[planted.rows] >= CONTRADICTED).all()


def test_of_half_random_labels_at_least_half_are_true() -> None:
    rows, given = told("half random")
    assert 20 <= (given == TRUTH[rows]).sum() < 40
