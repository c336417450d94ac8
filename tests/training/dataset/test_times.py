import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nearnorm.models.data.times import TimeFormat
from nearnorm.models.errors import DataError
from nearnorm.training.dataset.load import load
from nearnorm.training.dataset.recipe import ColumnOverride
from nearnorm.training.dataset.times import parse_time

DAYS = [dt.datetime(2024, 1, 1) + dt.timedelta(days=i) for i in range(600)]


def column(texts: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts).dictionary_encode()])


@pytest.mark.parametrize(
    "form",
    ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%SZ"],
)
def test_iso_texts_order_the_rows_by_time(form: str) -> None:
    times = parse_time(column([day.strftime(form) for day in DAYS[::-1]]), "when")
    assert times.tolist() == list(range(600))[::-1]


def test_texts_with_offsets_order_the_rows_by_the_moment() -> None:
    texts = ["2024-01-01T12:00:00+02:00", "2024-01-01T09:00:00-07:00", "2024-01-01T11:00:00Z"]
    assert parse_time(column(texts), "when").tolist() == [0, 2, 1]


def test_epoch_numbers_that_are_texts_order_the_rows_as_numbers() -> None:
    assert parse_time(column(["1000000000", "999999999", "1000000000.5"]), "when").tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "text", ["31.01.2024", "01/31/2024", "31-Jan-2024", "Jan 31, 2024", "2024-1-9", "mon", "2024-02-30", ""]
)
def test_texts_of_any_other_form_are_refused_by_their_row_with_the_mend(text: str) -> None:
    with pytest.raises(DataError, match=r"time column 'when': row 2 holds .*: give ISO 8601"):
        parse_time(column(["2024-01-31", text]), "when")


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-01-31T10:00:00Z", "2024-01-31T10:00:00"],
        ["2024-01-31", "1706700000"],
    ],
)
def test_mixed_forms_are_refused_with_a_row_of_each(texts: list[str]) -> None:
    with pytest.raises(DataError, match=r"mixes forms: row 1 holds .* and row 2 .*: give ISO 8601"):
        parse_time(column(texts), "when")


def test_seconds_beside_milliseconds_are_refused() -> None:
    with pytest.raises(DataError, match="in several units"):
        parse_time(column(["1706700000", "1706700000000"]), "when")


def test_what_is_no_time_at_all_is_refused() -> None:
    with pytest.raises(DataError, match=r"time column 'when', row 1: .*give ISO 8601"):
        parse_time(pa.chunked_array([pa.array([[1], [2]])]), "when")


def test_times_of_a_date_type_and_numbers_keep_their_order() -> None:
    stamps = parse_time(pa.chunked_array([pa.array([2, 1, 3], pa.timestamp("s"))]), "when")
    numbers = parse_time(pa.chunked_array([pa.array([0.2, 0.1, 0.3])]), "when")
    np.testing.assert_array_equal(np.argsort(stamps), np.argsort(numbers))


def test_nanoseconds_that_floats_do_not_tell_apart_order_the_rows() -> None:
    ticks = [1_700_000_000_000_000_003, 1_700_000_000_000_000_001, 1_700_000_000_000_000_002]
    for column in (pa.array(ticks), pa.array(ticks, pa.timestamp("ns"))):
        assert parse_time(pa.chunked_array([column]), "when").tolist() == [2, 0, 1]


def loaded(folder: Path, texts: list[str], override: ColumnOverride | None = None) -> list[float]:
    """What orders rows by a column of such texts."""
    rows = [f"{text},{place}.5," for place, text in enumerate(texts)]
    (folder / "rows.csv").write_text("\n".join(["when,amount,label", *rows]) + "\n")
    told = {} if override is None else {"when": override}
    time = load(str(folder / "rows.csv"), "label", told, "when").time
    assert time is not None
    return time.tolist()  # type: ignore[no-any-return]


def test_regional_forms_order_the_rows_where_day_and_month_cannot_change_places(tmp_path: Path) -> None:
    earlier, later = loaded(tmp_path, ["31.01.2026 10:00", "01.02.2026 09:00"])
    assert later - earlier == 23 * 3_600
    with pytest.raises(DataError, match=r"could be written as dmy or mdy: say by format .*\[schema.when\]"):
        loaded(tmp_path, ["01/02/2026", "02/01/2026"])
    days = loaded(tmp_path, ["01/02/2026", "02/01/2026"], ColumnOverride(kind="time", format=TimeFormat.MDY))
    assert days[0] < days[1]
