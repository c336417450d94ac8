"""Which columns of a frame are which of the training data's."""

from collections.abc import Sequence

import pyarrow as pa

from nearnorm.detector.mistakes import InvalidInput
from nearnorm.models.data.frames import Frame


def by_names(frame: Frame, wanted: Sequence[str], named: bool, scored: Sequence[str]) -> pa.Table:
    """The columns of a frame to be scored: by name, in any order, where both have names, else by place.

    `wanted` are those of the training data, `scored` those that have to be there. Raises InvalidInput.
    """
    table = frame.table
    if frame.names is None or not named:
        if table.num_columns != len(wanted):
            raise InvalidInput(
                f"X has {table.num_columns} features, but NearnormDetector is expecting {len(wanted)} "
                "features as input"
            )
        return table.rename_columns(list(wanted))
    unseen = sorted(set(table.column_names).difference(wanted))
    absent = [name for name in scored if name not in table.column_names]
    if unseen or absent:
        told = [f"unseen at fit time: {_listed(unseen)}"] * bool(unseen)
        told += [f"seen at fit time, yet now missing: {_listed(absent)}"] * bool(absent)
        raise InvalidInput(
            f"The feature names should match those that were passed during fit ({'; '.join(told)})"
        )
    return table


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
