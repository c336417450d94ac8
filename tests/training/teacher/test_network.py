import numpy as np
import torch

from nearnorm.training.teacher.made_up.task import task
from nearnorm.training.teacher.pretrain import seen
from nearnorm.training.teacher.weights import teacher


def test_rows_asked_about_later_are_answered_as_all_at_once() -> None:
    labelled, unlabelled, rows, columns = seen(task(np.random.default_rng(0)))
    with torch.no_grad():
        once = teacher()(labelled, unlabelled, rows, columns)
        known = teacher().compare_with(labelled, unlabelled, columns)
        assert torch.equal(teacher().answer(rows, known), once)
        parts = [teacher().answer(some, known) for some in torch.split(rows, 50)]
    assert torch.allclose(torch.cat(parts), once, atol=1e-5)
