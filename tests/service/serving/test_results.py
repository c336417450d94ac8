"""The part of a batch that is a request's own, and parts of several batches as one."""

import numpy as np

from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from nearnorm.service.serving.results import Batch, Scores, joined

TOLD = ("score", "percentile", "anomaly", "prototype", "distance", "reconstruction_error")


def batch(first: int, count: int) -> Batch:
    """Rows whose figures are all their number, each kind in a hundred of its own."""
    n = np.arange(first, first + count)
    column = n.astype(np.float32)
    wide = np.column_stack([column, -column])
    outputs = Outputs(column, wide, n, column + 100, column + 200, wide + 300)
    rows = Rows(np.zeros((count, 1)), np.zeros((count, 0), np.int64))
    listed = n.tolist()
    return Batch(
        rows,
        outputs,
        [float(i) for i in listed],
        [i + 0.5 for i in listed],
        [i % 2 == 0 for i in listed],
        listed,
        [i + 100.0 for i in listed],
        [i + 200.0 for i in listed],
        {row: (number,) for row, number in enumerate(listed) if number % 2},
    )


def part(of: Batch, start: int, stop: int) -> Scores:
    return Scores(of, start, stop, of.percentile[start:stop], of.anomaly[start:stop])


def test_a_request_sees_its_own_rows_of_a_batch() -> None:
    own = part(batch(10, 6), 2, 5)
    assert len(own) == 3
    assert own.score == [12.0, 13.0, 14.0]
    assert own.percentile == [12.5, 13.5, 14.5]
    assert own.anomaly == [True, False, True]
    assert own.prototype == [12, 13, 14]
    assert own.distance == [112.0, 113.0, 114.0]
    assert own.reconstruction_error == [212.0, 213.0, 214.0]
    assert own.novel == {1: (13,)}


def test_parts_of_several_batches_are_one_in_their_order() -> None:
    rows = Rows(np.zeros((5, 1)), np.zeros((5, 0), np.int64))
    parts = [part(batch(0, 4), 1, 4), part(batch(20, 4), 0, 2)]
    whole = joined(rows, parts)
    assert len(whole) == 5
    assert whole.batch.rows is rows
    for name in TOLD:
        assert getattr(whole, name) == [*getattr(parts[0], name), *getattr(parts[1], name)]
    assert whole.batch.outputs.residual[:, 0].tolist() == [301, 302, 303, 320, 321]
    assert whole.batch.outputs.score.tolist() == [1, 2, 3, 20, 21]
    assert whole.novel == {0: (1,), 2: (3,), 4: (21,)}
    assert whole.batch.event_ids == {}
    assert not whole.batch.watched, "drift has still to see them"
