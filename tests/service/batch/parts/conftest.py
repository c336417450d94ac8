"""A small lake of payments: a folder a day, some rows refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.batch import BatchScorer, scorer
from nearnorm.models.bundle.bundle import Bundle
from tests.service.bundles import draw

DAYS, ROWS = 6, 400
COUNTRIES = np.array([None, "Atlantis", "DE", "FR", "NL", "7", "true"], object)


def payments(day: int) -> pa.Table:
    """The row 5 of each has no amount, which it must have."""
    numeric, codes = draw(ROWS, seed=100 + day)
    amounts = numeric[:, 0].tolist()
    amounts[5] = None
    return pa.table(
        {
            "id": [f"{day}-{i}" for i in range(ROWS)],
            "amount": amounts,
            "epoch": pa.array(numeric[:, 1], from_pandas=True),
            "new device": pa.array(numeric[:, 2].astype(object) == 1),
            "country": np.array([None, "Atlantis", "DE", "FR", "NL", "7", "true"], object)[
                codes[:, 0]
            ].tolist(),
            "channel": np.array(["web", "shop"], object)[codes[:, 1] - 2].tolist(),
            "unused": ["x"] * ROWS,
        }
    )


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for day in range(DAYS):
        folder = tmp_path / "lake" / f"day={day}"
        folder.mkdir(parents=True)
        pq.write_table(payments(day), folder / "a.parquet", row_group_size=100)
    return tmp_path / "lake"


@pytest.fixture(scope="module")
def score(bundle: Bundle) -> BatchScorer:
    return scorer(bundle.path, keep=["id", "day"])
