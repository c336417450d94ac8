"""What prototypes are worth: a fit whose head and trees see neither r nor q*."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from nearnorm.training.method.heads import ScoreHead


@contextmanager
def evidence_taken_out() -> Iterator[None]:
    """Inside, r and q* are the same for every record, in training and in scoring."""
    head = ScoreHead.forward

    def blind(self: ScoreHead, z: Tensor, error: Tensor, similarity: Tensor, rows: Tensor) -> Tensor:
        return head(self, z, torch.zeros_like(error), torch.ones_like(similarity), rows)

    def nothing(error: Tensor, similarity: Tensor) -> Tensor:
        return torch.zeros(len(error), 2)

    with (
        mock.patch.object(ScoreHead, "forward", blind),
        mock.patch("nearnorm.training.method.heads.soft_evidence", nothing),
        mock.patch("nearnorm.training.fitting.fit.soft_evidence", nothing),
    ):
        yield
