"""Streams with a known shift: rows of a population, redrawn so that one feature has a given PSI."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tests.service.reference import Codes, Floats, Traffic

MOST_ROWS = 200_000
MOST_CATEGORIES = 500


@dataclass(frozen=True)
class Population:
    """Rows that everything is drawn from. categories[i]: how many the i-th code column has."""

    name: str
    rows: Traffic
    categories: list[int]

    def draw(self, rng: np.random.Generator, rows: int) -> Traffic:
        return self.rows.take(rng.integers(len(self.rows), size=rows))


def generated(rows: int = MOST_ROWS) -> Population:
    """25 numeric columns of five shapes with 3% missing, 5 code columns with rare and unknown codes."""
    rng = np.random.default_rng(7)
    shapes: list[Callable[[], Floats]] = [
        lambda: rng.normal(size=rows),
        lambda: rng.lognormal(size=rows),
        lambda: rng.poisson(2, rows).astype(float),
        lambda: (rng.random(rows) < 0.1).astype(float),
        lambda: np.where(rng.random(rows) < 0.7, 0.0, rng.exponential(size=rows)),
    ]
    numeric = np.column_stack([shapes[i % 5]() for i in range(25)])
    numeric[rng.random(numeric.shape) < 0.03] = np.nan
    p = np.array([0.01, 0.001, 0.5, 0.25, 0.12, 0.06, 0.03, 0.02, 0.01, 0.005, 0.005])
    codes = rng.choice(len(p), p=p / p.sum(), size=(rows, 5))
    return Population("generated", Traffic(numeric, codes), [9] * 5)


def known_sets(folder: Path | None) -> Iterator[Population]:
    """The Parquet files of a folder, as training would type them, labels left out; none where it is None."""
    for path in sorted(folder.glob("*/*.parquet") if folder else ()):
        table = pq.read_table(path)
        numeric: list[Floats] = []
        codes: list[Codes] = []
        categories: list[int] = []
        for column_name in table.column_names:
            if column_name in ("label", "anomaly_class", "y"):
                continue
            values = table[column_name].to_pandas()
            if values.dtype.kind in "bifu":
                column = values.to_numpy(np.float64)
                if np.nanmin(column) < np.nanmax(column):
                    numeric.append(column)
            else:
                found, known = values.factorize()
                if 1 < len(known) <= MOST_CATEGORIES:
                    codes.append(np.where(found < 0, 0, found + 2))
                    categories.append(len(known))
        rows = table.num_rows
        chosen = np.random.default_rng(0).permutation(rows)[:MOST_ROWS]
        traffic = Traffic(
            np.column_stack(numeric) if numeric else np.zeros((rows, 0)),
            np.column_stack(codes) if codes else np.zeros((rows, 0), np.int64),
        )
        yield Population(
            path.stem if path.stem != "data" else path.parent.name, traffic.take(chosen), categories
        )


def tilted(cells: NDArray[np.int64], psi: float) -> Floats | None:
    """Weights [N] under which the shares of these cells have that PSI to the unweighted ones.

    None where no exponential tilt reaches it, as when one cell holds nearly all rows.
    """
    count = np.bincount(cells)
    p, place = count / count.sum(), np.arange(len(count)) / max(len(count) - 1, 1)
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _psi(p, place, middle) < psi else (low, middle)
    if abs(_psi(p, place, high) - psi) > 0.01:
        return None
    weights: Floats = np.exp(high * place)[cells]
    weights /= weights.sum()
    return weights


def _psi(p: Floats, place: Floats, tilt: float) -> float:
    q = p * np.exp(tilt * place)
    q = q / q.sum()
    held = p > 0
    return float(((q - p)[held] * np.log(q[held] / p[held])).sum())
