"""y: 1 an anomaly, 0 normal, NaN or None nobody has looked."""

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nearnorm.detector.mistakes import InvalidInput
from nearnorm.training.dataset.labels import ANOMALY, NORMAL, UNLABELLED, to_learn_from


def read_labels(y: Any, rows: int) -> np.ndarray:  # noqa: ANN401
    """Labels [N] int8 as training reads them; no `y` at all leaves every row unlabelled.

    Where every row has one, 0 says no more than that a row is not known to be an anomaly: training learns
    what is normal from rows that nobody has looked at. Raises InvalidInput.
    """
    if y is None:
        return np.full(rows, UNLABELLED, np.int8)
    values = _floats(y)
    if len(values) != rows:
        raise InvalidInput(f"X has {rows} rows, and y has {len(values)} labels: give one a row")
    wrong = np.flatnonzero(~(np.isnan(values) | (values == ANOMALY) | (values == NORMAL)))
    if len(wrong):
        value = f"{values[wrong[0]]:g}"
        mend = ": of scikit-learn's -1 and 1 make (y == -1).astype(int)" if value == "-1" else ""
        raise InvalidInput(
            f"y: row {wrong[0] + 1} holds {value}: a label is 1 (anomaly), 0 (normal) or NaN (unlabelled)"
            f"{mend}"
        )
    labels = np.where(np.isnan(values), UNLABELLED, values).astype(np.int8)
    if len(labels) and (labels == ANOMALY).all():
        raise InvalidInput("y is 1 in every row: normal is learnt from rows that are no anomalies")
    return to_learn_from(labels)


def _floats(y: Any) -> np.ndarray:  # noqa: ANN401
    pandas = sys.modules.get("pandas")
    try:
        if pandas is not None and isinstance(y, (pandas.Series, pandas.DataFrame)):
            y = y.to_numpy(object, na_value=None)
        if isinstance(y, (pa.Array, pa.ChunkedArray)) or hasattr(y, "__arrow_c_stream__"):
            column = pa.chunked_array(y)
        else:
            values = np.asarray(y)
            if values.ndim == 2 and values.shape[1] == 1:
                values = values[:, 0]
            if values.ndim != 1:
                raise InvalidInput(f"y has {values.ndim} dimensions: give one label a row")
            column = pa.chunked_array([pa.array(values, from_pandas=True)])
        if not (pa.types.is_null(column.type) or pa.types.is_boolean(column.type)):
            pc.add(column.slice(0, 0), 0.0)  # numbers alone: texts would be read as numbers
        found: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy()
    except (pa.ArrowException, TypeError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            "y holds other values than numbers: a label is 1 (anomaly), 0 (normal) or NaN (unlabelled), as "
            'of words by (y == "fraud").astype(int)'
        ) from None
    return found
