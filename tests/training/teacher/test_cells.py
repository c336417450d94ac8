import numpy as np

from nearnorm.training.teacher.cells import CELL, COLUMN, Beside
from tests.training.teacher.records import records


def test_a_labelled_anomaly_is_seen_as_if_it_had_no_label() -> None:
    unlabelled, bad = (rows.astype(np.float64) for rows in records(0, 6))
    width = bad.shape[1]
    seen = Beside(bad, unlabelled).labelled_cells()
    for one in range(len(bad)):
        without = Beside(np.delete(bad, one, 0), unlabelled).cells(bad[one : one + 1])
        assert np.allclose(seen[one, :width], without[0, :width], atol=1e-5)


def test_labelled_anomalies_make_cells_like_theirs_stand_out_and_no_others() -> None:
    unlabelled, bad = (rows.astype(np.float64) for rows in records(1, 10))
    seen = Beside(bad, unlabelled)
    ratios = seen.cells(bad)[:, :2, 3:6].mean() - seen.cells(-bad)[:, :2, 3:6].mean()
    assert ratios > 1.0


def test_figures_are_bounded_and_as_many_as_the_network_takes() -> None:
    for labels in (1, 2, 9):
        unlabelled, bad = (rows.astype(np.float64) for rows in records(2, labels, 50))
        seen = Beside(bad, unlabelled)
        few, many = seen.labelled_cells(), seen.unlabelled_cells(8)
        far = seen.cells(1e30 * np.sign(unlabelled))
        columns = seen.columns(few, many)
        assert few.shape[2] == many.shape[2] == far.shape[2] == CELL
        assert columns.shape == (few.shape[1], COLUMN)
        assert all(np.isfinite(each).all() for each in (few, many, far, columns))
