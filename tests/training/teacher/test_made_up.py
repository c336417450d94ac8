import numpy as np

from nearnorm.training.teacher.made_up.causes import MOST, records
from nearnorm.training.teacher.made_up.task import ASKED, LABELS, UNLABELLED, task


def test_a_task_has_labels_contaminated_rows_and_rows_to_rank_all_of_columns_that_vary() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        made = task(rng)
        assert len(made.labelled) in LABELS
        assert len(made.unlabelled) == UNLABELLED
        assert made.truth.sum() == ASKED[0]
        assert len(made.asked) == len(made.truth) == sum(ASKED)
        assert (made.unlabelled.std(0) > 0).all()
        assert all(np.isfinite(rows).all() for rows in (made.labelled, made.unlabelled, made.asked))


def test_the_same_chance_makes_the_same_tasks() -> None:
    one, same = (task(np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one.unlabelled, same.unlabelled)


def test_records_of_many_kinds_come_with_as_many_anomalies_as_asked() -> None:
    for seed in range(30):
        rows, anomalous = records(500, 60, np.random.default_rng(seed))
        assert 0 < anomalous.sum() <= 60
        assert 0 < rows.shape[1] <= MOST
        assert np.isfinite(rows).all()
