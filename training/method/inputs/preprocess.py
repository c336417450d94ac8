"""Raw columns -> network input, as a torch module, so that it is part of the exported graph.

Numbers are centred in float64 before the cast to float32 (epoch seconds keep their differences),
then mapped (column_maps.py). A missing number takes the column's median; where training saw
missing values, an indicator is added. Codes become one-hot slots, one for each code that training
saw: a code it never saw (mostly "unknown") has no slot, hence no untrained weight to speak for it. Of
times the places on circles are seen (cycles.py), and as numbers what passed since other times.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from nearnorm.models.data.schema import NO_TIMES, TimeColumns
from nearnorm.training.method.inputs.column_maps import NormalMap, RangeMap
from nearnorm.training.method.inputs.cycles import circles_of

FARTHEST = 1e30
"""Differences beyond it are cut: float32 ends at 3e38."""


class Preprocess(nn.Module):
    """Numbers [N, Dn] float64 and codes [N, Dc] int64 -> input [N, D] float32.

    `groups` [D, Dn + Dc] tells which column a slot belongs to: residuals of slots times it are
    residuals of columns.
    """

    plain: Tensor
    later: Tensor
    earlier: Tensor
    gaps: Tensor
    centre: Tensor
    indicated: Tensor
    slot_column: Tensor
    slot_code: Tensor
    groups: Tensor

    def __init__(
        self,
        numeric: np.ndarray,
        codes: np.ndarray,
        cardinalities: tuple[int, ...],
        transform: Literal["quantile", "minmax"],
        times: TimeColumns = NO_TIMES,
    ) -> None:
        super().__init__()
        self.columns = numeric.shape[1]
        """Dn."""
        plain = [j for j in range(self.columns) if j not in times.columns]
        later, earlier = ([pair[i] for pair in times.since] for i in (0, 1))
        values = np.concatenate([numeric[:, plain], numeric[:, later] - numeric[:, earlier]], axis=1)
        present = [np.sort(column[~np.isnan(column)]) for column in values.T]
        # the lower median is a value that occurs: differences from it are exact where it matters
        centre = [float(v[(len(v) - 1) // 2]) if len(v) else 0.0 for v in present]
        centred = [
            # what the graph will see
            (column - middle).clip(-FARTHEST, FARTHEST).astype(np.float32).astype(np.float64)
            for column, middle in zip(present, centre, strict=True)
        ]
        self.map = NormalMap(centred) if transform == "quantile" else RangeMap(centred)
        missing = np.isnan(values[:, : len(plain)])
        indicated = np.flatnonzero(missing.any(0) & ~missing.all(0))
        # a birth or an opening is what others count from: its own weekday says nothing
        told_by_clock = [j for j in times.columns if j not in earlier]
        circles = circles_of(numeric, told_by_clock, bounded=transform == "minmax")
        self.circles = nn.ModuleList(circles)
        gaps = [j for j in times.columns if 0 < np.isnan(numeric[:, j]).sum() < len(numeric)]
        slots = [
            (column, code)
            for column, cardinality in enumerate(cardinalities)
            for code in _codes_seen(codes[:, column], cardinality)
        ]
        owners = [
            *plain,
            *earlier,
            *(plain[i] for i in indicated),
            *(column for circle in circles for column in circle.columns.tolist() for _ in range(2)),
            *gaps,
            *(self.columns + column for column, _ in slots),
        ]
        groups = torch.zeros(len(owners), self.columns + len(cardinalities))
        groups[range(len(owners)), owners] = 1.0
        for name, places in (("plain", plain), ("later", later), ("earlier", earlier), ("gaps", gaps)):
            self.register_buffer(name, torch.tensor(places, dtype=torch.int64))
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float64))
        self.register_buffer("indicated", torch.tensor(indicated, dtype=torch.int64))
        self.register_buffer("slot_column", torch.tensor([s[0] for s in slots], dtype=torch.int64))
        self.register_buffer("slot_code", torch.tensor([s[1] for s in slots], dtype=torch.int64))
        self.register_buffer("groups", groups)

    @property
    def width(self) -> int:
        """D, the number of input slots."""
        return self.groups.shape[0]

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        return self.mapped(self.plain_rows(numeric, codes))

    def mapped(self, plain: Tensor) -> Tensor:
        """plain_rows -> input, both [N, D]."""
        numbers = len(self.centre)
        if not numbers:
            return plain
        return torch.cat([self.map(plain[:, :numbers]), plain[:, numbers:]], dim=1)

    def plain_thresholds(self, column: np.ndarray, threshold: np.ndarray) -> np.ndarray:
        """Thresholds of input columns -> those of plain_rows, of any shape."""
        slot, asked = torch.from_numpy(column).flatten(), torch.from_numpy(threshold).double().flatten()
        number = slot < len(self.centre)
        asked[number] = self.map.inverse(slot[number], asked[number])
        return asked.float().reshape(column.shape).numpy()

    def plain_rows(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """[N, D]: the input before numbers are mapped, the same to the last digit in whatever batch."""
        parts = []
        if len(self.centre):
            values = numeric[:, self.plain]
            if len(self.later):
                values = torch.cat([values, numeric[:, self.later] - numeric[:, self.earlier]], dim=1)
            centred = (values - self.centre).clamp(-FARTHEST, FARTHEST).to(torch.float32)
            present = centred == centred
            parts.append(torch.where(present, centred, 0.0))
            if len(self.indicated):
                parts.append(1.0 - present[:, self.indicated].to(torch.float32))
        parts += [circle(numeric) for circle in self.circles]
        if len(self.gaps):
            parts.append(torch.isnan(numeric[:, self.gaps]).to(torch.float32))
        if len(self.slot_code):
            parts.append((codes[:, self.slot_column] == self.slot_code).to(torch.float32))
        return torch.cat(parts, dim=1)


def _codes_seen(codes: np.ndarray, cardinality: int) -> list[int]:
    """Codes that occur, of a column where more than one does."""
    seen = np.flatnonzero(np.bincount(codes, minlength=cardinality))
    return [int(code) for code in seen] if len(seen) > 1 else []
