"""A time is the same on every way in."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.models.data.files.read import read_table
from nearnorm.models.data.records import records
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.tables import to_arrays
from nearnorm.models.data.times import TimeFormat
from nearnorm.service.records.arrow_stream import read_stream
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder

MOMENTS = [datetime(2026, 1, 31, 10, 0, second, tzinfo=UTC) for second in range(3)]
SECONDS = [1_769_853_600.0 + 3_600 + second for second in range(3)]  # on the clocks of Berlin


def schema(form: TimeFormat = TimeFormat.ISO, zone: str = "Europe/Berlin") -> FeatureSchema:
    return FeatureSchema(
        features=(
            Feature(name="amount", kind=Kind.NUMERIC),
            Feature(name="at", kind=Kind.TIME, format=form, zone=zone),
            Feature(name="country", kind=Kind.CATEGORICAL, categories=("DE",)),
        )
    )


def encoded(form: TimeFormat, **request: Any) -> Encoded:
    encoder = Encoder(schema(form), 10_000)
    return encoder.encode(encoder.decode(json.dumps(request).encode()))


SPELLED: dict[TimeFormat, list[Any]] = {
    TimeFormat.ISO: [m.isoformat() for m in MOMENTS],
    TimeFormat.DMY: [m.strftime("%d.%m.%Y 11:%M:%S") for m in MOMENTS],
    TimeFormat.EPOCH_MS: [int(m.timestamp() * 1_000) for m in MOMENTS],
    TimeFormat.EPOCH_S: [str(m.timestamp()) for m in MOMENTS],
}


@pytest.mark.parametrize(("form", "sent"), SPELLED.items())
def test_json_reads_times_alike_in_records_and_in_columns_of_any_size(
    form: TimeFormat, sent: list[Any]
) -> None:
    found = encoded(form, records=[{"amount": 1.0, "at": at, "country": "DE"} for at in sent])
    assert found.rows.numeric[:, 1].tolist() == SECONDS
    assert encoded(form, records=[{"amount": 1, "at": sent[0]}]).rows.numeric.tolist() == [[1.0, SECONDS[0]]]
    loose = encoded(form, records=[{"amount": "1", "at": at, "country": "DE"} for at in sent])
    assert loose.rows.numeric[:, 1].tolist() == SECONDS
    for times in (1, 500):
        columns = {"amount": [1.0] * 3 * times, "at": sent * times}
        assert encoded(form, columns=columns).rows.numeric[:, 1].tolist() == SECONDS * times


@pytest.mark.parametrize("form", SPELLED)
def test_a_value_that_is_no_time_is_its_rows_error_and_a_missing_one_is_imputed(form: TimeFormat) -> None:
    sent = [SPELLED[form][0], "soon", None]
    for request in (
        {"records": [{"amount": 1.0, "at": at, "country": "DE"} for at in sent]},
        {"columns": {"amount": [1.0] * 3, "at": sent, "country": ["DE"] * 3}},
        {"columns": {"amount": [1.0] * 3_000, "at": sent * 1_000, "country": ["DE"] * 3_000}},
    ):
        found = encoded(form, **request)
        assert found.errors[1].field == "at"
        assert f"a time such as {form.example} was expected, not 'soon'" in found.errors[1].detail
        assert found.imputed[2] == ["at"]
        assert found.rows.numeric[0, 1] == SECONDS[0]
        assert len(found.rows) == found.count - len(found.errors)


ARROW = [
    pa.array(MOMENTS, pa.timestamp("us", "UTC")),
    pa.array(MOMENTS, pa.timestamp("ns", "America/New_York")),
    pa.array([m.replace(tzinfo=None, hour=11) for m in MOMENTS], pa.timestamp("ms")),
    pa.array([m.isoformat() for m in MOMENTS]),
]


@pytest.mark.parametrize("column", ARROW, ids=lambda column: str(column.type))
def test_arrow_parquet_csv_and_frames_read_times_as_json_does(column: pa.Array, tmp_path: Path) -> None:
    table = pa.table({"amount": [1.0] * 3, "at": column, "country": ["DE"] * 3})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    sent, _ = read_stream(sink.getvalue().to_pybytes(), schema(), 10)
    pq.write_table(table, tmp_path / "a.parquet")
    table.to_pandas().to_csv(tmp_path / "a.csv", index=False)
    framed = pa.Table.from_pandas(pd.DataFrame(table.to_pandas()))
    stored, written = read_table(str(tmp_path / "a.parquet")), read_table(str(tmp_path / "a.csv"))
    for read in (sent, stored, written, framed):
        arrays = to_arrays(read, schema())
        assert (arrays.numeric[:, 1].tolist(), arrays.errors) == (SECONDS, {})


@pytest.mark.parametrize("form", SPELLED)
def test_a_record_that_was_read_is_read_again_as_the_same(form: TimeFormat) -> None:
    found = encoded(form, records=[{"amount": 1.0, "at": at, "country": "DE"} for at in SPELLED[form]])
    encoder = Encoder(schema(form), 10)
    kept = [encoder.record(found, place) for place in range(3)]
    assert kept[0]["at"] == "2026-01-31T11:00:00"
    assert kept == records(schema(form), found.rows.numeric, found.rows.codes, {})
    assert encoded(form, records=kept).rows.numeric.tolist() == found.rows.numeric.tolist()


def test_dates_and_times_of_day_are_times_too_and_durations_are_none() -> None:
    day = pa.array([20_484], pa.int32()).cast(pa.date32())
    assert to_arrays(pa.table({"at": day}), schema()).numeric[0, 1] == 20_484 * 86_400
    clock = pa.array([36_000], pa.time32("s"))
    assert to_arrays(pa.table({"at": clock}), schema(TimeFormat.CLOCK)).numeric[0, 1] == 36_000
    lasted = pa.array([1], pa.duration("s"))
    assert to_arrays(pa.table({"at": lasted}), schema()).errors[0].field == "at"
    assert np.isnan(to_arrays(pa.table({"at": pa.array([None], pa.timestamp("s"))}), schema()).numeric[0, 1])
