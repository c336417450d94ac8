"""The teacher's network: from what is seen of cells to a row's logit of being like the labelled anomalies.

Neither the order of rows nor that of columns tells it anything, and there may be any number of both.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from nearnorm.training.teacher.cells import CELL, COLUMN

WIDTH = 32
HEADS = 4
ROW = 48
HIDDEN = 64
RATIOS = CELL - 2
"""Of a cell's figures: labelled to unlabelled rows that are like it."""


class Known(NamedTuple):
    """Columns [D, WIDTH], and the keys and values of labelled and of unlabelled rows."""

    columns: Tensor
    labelled: tuple[Tensor, Tensor]
    unlabelled: tuple[Tensor, Tensor]


class Network(nn.Module):
    """Attention over a row's columns, then over labelled rows less that over unlabelled ones."""

    def __init__(self) -> None:
        super().__init__()
        self.column = nn.Sequential(nn.Linear(COLUMN, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.among = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.cell = nn.Linear(CELL, WIDTH)
        self.mixed = nn.Sequential(nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.trusted = nn.Linear(WIDTH, RATIOS)
        nn.init.zeros_(self.trusted.weight)
        nn.init.zeros_(self.trusted.bias)
        self.before = nn.LayerNorm(WIDTH)
        self.asked = nn.Linear(WIDTH, 3 * WIDTH)
        self.heard = nn.Linear(WIDTH, WIDTH)
        self.thought = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )
        self.row = nn.Sequential(
            nn.LayerNorm(2 * WIDTH), nn.Linear(2 * WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, ROW)
        )
        self.kind = nn.Parameter(0.1 * torch.randn(2, ROW))
        self.known = nn.LayerNorm(ROW)
        self.query = nn.Linear(ROW, ROW)
        self.key_value = nn.Linear(ROW, 2 * ROW)
        self.compared = nn.Linear(ROW, ROW)
        self.last = nn.LayerNorm(ROW)
        self.out = nn.Sequential(nn.Linear(ROW + RATIOS, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))

    def forward(self, labelled: Tensor, unlabelled: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Cells [A, D, CELL], [U, D, CELL] and [N, D, CELL], columns [D, COLUMN] -> logits [N].

        As `compare_with` and `answer` do, but for the order, in which gradients are added: the weights that
        ship were learnt in this one.
        """
        each = self._each(columns)
        known = self._known_rows(labelled, unlabelled, each)
        row = self._row(rows, each)
        asked = _heads(self.query(self.known(row)))
        return self._answer(rows, row, asked, self._compare(each, known))

    def compare_with(self, labelled: Tensor, unlabelled: Tensor, columns: Tensor) -> Known:
        """What any row is compared with, whatever rows are asked about."""
        each = self._each(columns)
        return self._compare(each, self._known_rows(labelled, unlabelled, each))

    def answer(self, rows: Tensor, known: Known) -> Tensor:
        """Cells [N, D, CELL] -> logits [N]."""
        row = self._row(rows, known.columns)
        return self._answer(rows, row, _heads(self.query(self.known(row))), known)

    def _each(self, columns: Tensor) -> Tensor:
        each = self.column(columns)
        among: Tensor = self.among(torch.cat([each, each.mean(0, keepdim=True).expand_as(each)], dim=1))
        return among

    def _known_rows(self, labelled: Tensor, unlabelled: Tensor, each: Tensor) -> list[Tensor]:
        groups = zip((labelled, unlabelled), self.kind, strict=True)
        return [self._row(cells, each) + kind for cells, kind in groups]

    def _compare(self, each: Tensor, known: list[Tensor]) -> Known:
        told = []
        for group in known:
            key, value = self.key_value(self.known(group)).chunk(2, dim=-1)
            told.append((_heads(key), _heads(value)))
        return Known(each, *told)

    def _answer(self, rows: Tensor, row: Tensor, asked: Tensor, known: Known) -> Tensor:
        labelled, unlabelled = (
            _joined(scaled_dot_product_attention(asked, *group))
            for group in (known.labelled, known.unlabelled)
        )
        row = row + self.compared(labelled - unlabelled)
        trusted = torch.softmax(self.trusted(known.columns), dim=0)
        plain = torch.einsum("ndr,dr->nr", rows[..., 2:], trusted)
        logit: Tensor = self.out(torch.cat([self.last(row), plain], dim=1))
        return logit.squeeze(1)

    def _row(self, cells: Tensor, columns: Tensor) -> Tensor:
        """[N, D, CELL] and [D, WIDTH] -> [N, ROW]."""
        hidden = self.mixed(self.cell(cells) + columns)
        query, key, value = (_heads(part) for part in self.asked(self.before(hidden)).chunk(3, dim=-1))
        hidden = hidden + self.heard(_joined(scaled_dot_product_attention(query, key, value)))
        hidden = hidden + self.thought(hidden)
        row: Tensor = self.row(torch.cat([hidden.mean(1), hidden.amax(1)], dim=1))
        return row


def _heads(each: Tensor) -> Tensor:
    """[..., N, W] -> [..., HEADS, N, W / HEADS]."""
    return each.reshape(*each.shape[:-1], HEADS, -1).transpose(-3, -2)


def _joined(heads: Tensor) -> Tensor:
    return heads.transpose(-3, -2).flatten(-2)
