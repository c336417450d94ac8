"""The payments sample as frames, and one detector fitted on it."""

import warnings
from typing import Any, TypeVar

import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nearnorm import NearnormDetector
from nearnorm.detector.mistakes import NearnormWarning
from nearnorm.detector.outlier import SklearnOutlier
from tests.training.conftest import PAYMENTS
from tests.training.samples import QUICK

Estimator = TypeVar("Estimator", NearnormDetector, SklearnOutlier)

SMALL: dict[str, Any] = {"members": 1, "trees": 0, "embedding": 2, "prototypes": 2, "joint_epochs": 1} | {
    "representation_epochs": 1
}
"""Parameters of fits whose quality nobody looks at."""


FEW_TREES: dict[str, Any] = {**QUICK, "trees": 4, "forests": 1}


def quick() -> NearnormDetector:
    return NearnormDetector(**FEW_TREES)


def small(**changes: Any) -> NearnormDetector:
    return NearnormDetector(**{"contamination": 0.1, **SMALL, **changes})


def quietly(detector: Estimator, *given: Any, **more: Any) -> Estimator:
    """Fit, and let it say what it finds odd about small data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NearnormWarning)
        return detector.fit(*given, **more)


@pytest.fixture(scope="session")
def rows() -> pa.Table:
    """Every kind of column, and `label`: all that are labelled, and some that are not."""
    every = pq.read_table(PAYMENTS)
    return pa.concat_tables([every.filter(pc.is_valid(every.column("label"))), every.slice(0, 300)])


@pytest.fixture(scope="session")
def payments(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["label"])


@pytest.fixture(scope="session")
def labels(rows: pa.Table) -> pd.Series:
    """1, 0 and NaN."""
    found: pd.Series = rows.column("label").to_pandas()
    return found


@pytest.fixture(scope="session")
def detector(payments: pa.Table, labels: pd.Series) -> NearnormDetector:
    return quietly(quick(), payments, labels)
