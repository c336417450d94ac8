"""The numbers of a whole history: records in any order, sorted by time within each key.

In memory are 8 bytes a record for its time, its id, every column that is counted from and every number, and
16 for the order; what is kept is of one key at a time.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
from msgspec import Struct

from nearnorm.models.aggregates.counting import AHEAD, Ended
from nearnorm.models.aggregates.declaration import SECOND, Aggregates, KeyColumn
from nearnorm.models.aggregates.events import LARGEST_AMOUNT, NO_VALUE, NOT_SUMMED, name_digest
from nearnorm.models.aggregates.key_events import KeyedEvent, KeyEvents, Row
from nearnorm.models.data.tables import RowError, by_distinct, to_arrays
from nearnorm.models.errors import DataError

MISSING_KEY = 0


class EventHistory(Struct, frozen=True, eq=False):
    """N records: `times` [N] in microseconds since 1970, `ids`, and each of `keys` and `names` [N] digests,
    each of `amounts` [N] numbers; by their columns."""

    times: np.ndarray
    ids: np.ndarray
    keys: Mapping[str, np.ndarray]
    amounts: Mapping[str, np.ndarray]
    names: Mapping[str, np.ndarray]


def read_history(tables: Iterable[pa.Table], aggregates: Aggregates, source: str) -> EventHistory:
    """Of tables that have the columns `aggregates.used`. Raises DataError naming the column and the row."""
    numbers: list[np.ndarray] = []
    digests: dict[str, list[np.ndarray]] = {name: [] for name in sorted(aggregates.texts)}
    start = 0
    for table in tables:
        errors: dict[int, RowError] = {}
        found = to_arrays(table.select([f.name for f in aggregates.measured.features]), aggregates.measured)
        errors |= found.errors
        for name, parts in digests.items():
            column = table.column(name)
            parts.append(by_distinct(column, name, name_digest, MISSING_KEY, np.uint64, errors))
        for row in np.flatnonzero(digests[aggregates.id][-1] == MISSING_KEY).tolist():
            errors.setdefault(row, RowError(aggregates.id, NO_VALUE))
        amounts = np.nan_to_num(found.numeric[:, 1:], nan=0.0)
        for row, column in np.argwhere(np.abs(amounts) > LARGEST_AMOUNT).tolist():
            errors.setdefault(row, RowError(aggregates.sums[column], NOT_SUMMED))
        if errors:
            row = min(errors)
            raise DataError(f"{source}: row {start + row + 1}, {errors[row].field}: {errors[row].detail}")
        numbers.append(np.concatenate([found.numeric[:, :1], amounts], axis=1))
        start += table.num_rows
    whole, named = np.concatenate(numbers), {name: np.concatenate(parts) for name, parts in digests.items()}
    return EventHistory(
        times=np.rint(whole[:, 0] * SECOND).astype(np.int64),
        ids=named[aggregates.id],
        keys={key.name: named[key.name] for key in aggregates.keys},
        amounts={name: whole[:, 1 + place] for place, name in enumerate(aggregates.sums)},
        names={name: named[name] for name in aggregates.distincts},
    )


def history_numbers(
    history: EventHistory, aggregates: Aggregates, now: int, ended: Ended = lambda name, kept: None
) -> np.ndarray:
    """The numbers of each record, [N, as many as are declared] float64, NaN where missing. `now` as for
    `count`; `ended` is told what is kept of each key after its last event."""
    found = np.full((len(history.times), len(aggregates.features)), np.nan)
    for column in aggregates.keys:
        for rows in _by_key(history.keys[column.name], history.times):
            kept = KeyEvents(column)
            for row, event in zip(rows.tolist(), _events(history, column, rows), strict=True):
                numbers: Row = [None] * len(aggregates.features)
                kept.read(event.time, numbers)
                for number in column.numbers:
                    value = numbers[number.place]
                    if value is not None:
                        found[row, number.place] = value
                if event.time <= now + AHEAD:
                    kept.count(event)
            ended((column.name, int(history.keys[column.name][rows[0]])), kept)
    return found


def as_columns(numbers: np.ndarray, aggregates: Aggregates) -> dict[str, pa.Array]:
    """By name, as columns of a table: whole numbers where they are such, null where one is missing."""
    columns = {}
    for place, (name, one) in enumerate(aggregates.features.items()):
        column = pa.array(numbers[:, place], mask=np.isnan(numbers[:, place]))
        columns[name] = column.cast(pa.int64()) if one.function.is_whole else column
    return columns


def _by_key(keys: np.ndarray, times: np.ndarray) -> Iterator[np.ndarray]:
    """The places of each key's records, in the order of their times."""
    order = np.lexsort((times, keys))
    sorted_keys = keys[order]
    bounds = np.concatenate([[0], np.flatnonzero(sorted_keys[1:] != sorted_keys[:-1]) + 1, [len(keys)]])
    for place in range(len(bounds) - 1):
        rows = order[bounds[place] : bounds[place + 1]]
        if len(rows) and keys[rows[0]] != MISSING_KEY:
            yield rows


def _events(history: EventHistory, column: KeyColumn, rows: np.ndarray) -> Iterator[KeyedEvent]:
    """The key's events, with what is kept of them."""
    times, ids = history.times[rows].tolist(), history.ids[rows].tolist()
    amounts = {name: history.amounts[name][rows].tolist() for name in column.sums}
    names = {name: history.names[name][rows].tolist() for name in column.distincts}
    for at in range(len(rows)):
        yield KeyedEvent(
            times[at],
            ids[at],
            (),
            {name: values[at] for name, values in amounts.items()},
            {name: values[at] for name, values in names.items()},
        )
