"""The trees that many labels grow, as they are served: leaves by number, in a table.

A tree's answers, 0 or 1, are the binary digits of its leaf's number: so that a question more costs no more
than a question. A tree as a polynomial (heads.ForestHead) has twice the products for each, but may answer
softly. Here nothing is soft. That takes values which are the same to the last digit in whatever batch a row
comes: those of preprocess.plain_rows, not the mapped ones, and not r and q*.
"""

import numpy as np
import torch
from torch import Tensor, nn

from nearnorm.training.method.forest.trees import Trees


class GrownForest(nn.Module):
    """T trees of Q questions over plain rows: column and threshold [Q, T], leaf [T, 2^Q] float32."""

    column: Tensor
    threshold: Tensor
    leaf: Tensor

    def __init__(self, trees: Trees) -> None:
        super().__init__()
        tables = trees.column.T, trees.threshold.T.astype(np.float32), trees.leaf.astype(np.float32)
        for name, table in zip(("column", "threshold", "leaf"), tables, strict=True):
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(table)))

    def forward(self, plain: Tensor) -> Tensor:
        """plain_rows [N, D] -> what is added to the logit, [N]."""
        number = torch.zeros(len(plain), len(self.leaf), dtype=torch.int64)
        for bit, (column, threshold) in enumerate(zip(self.column, self.threshold, strict=True)):
            number += (plain[:, column] > threshold).to(torch.int64) << bit
        return self.leaf.gather(1, number.T).sum(0)
