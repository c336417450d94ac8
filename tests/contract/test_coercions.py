"""What a value becomes, line by line of the table in docs/api.md, on every way in."""

import io
import json
import re
from collections.abc import Callable
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
from nearnorm.models.data.tables import Arrays, to_arrays
from nearnorm.models.data.times import TimeFormat
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.scoring import arrow

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text(encoding="utf-8")
LINE = r"^\| ((?:numeric|boolean|categorical|code|time|id|ignored)[a-z0-9 ]*) \| `(.*)` \| (.*) \|$"
COERCIONS = re.findall(LINE, PAGE, flags=re.M)
CATEGORIES = (" DE", "DE", "", "7", "7.5", "true", "5411", "05411", "005411", "A7", "A7.0")
MISSING, ERROR, NOTHING = "missing", "error", "nothing"


def schema_of(spoken: str) -> FeatureSchema:
    """A feature x as the table speaks of it, beside another one."""
    kind = Kind(spoken.split()[0])
    feature = Feature(
        name="x",
        kind=kind,
        categories=CATEGORIES if kind in (Kind.CATEGORICAL, Kind.CODE) else (),
        missing=("NA",) if spoken.endswith("with marks") else (),
        width=5 if spoken.endswith("of 5 digits") else 0,
        format=TimeFormat(spoken.removeprefix("time in ")) if kind is Kind.TIME else None,
    )
    return FeatureSchema(features=(feature, Feature(name="other", kind=Kind.NUMERIC)))


def encoded_becomes(encoder: Encoder, encoded: Encoded) -> object:
    if encoded.errors:
        assert encoded.errors[0].field == "x"
        return ERROR
    record = encoder.record(encoded, 0)
    if "x" not in record:
        return NOTHING
    assert not encoded.unknown
    assert encoded.imputed == ({0: ["x"]} if record["x"] is None else {})
    return MISSING if record["x"] is None else record["x"]


def arrays_become(schema: FeatureSchema, arrays: Arrays) -> object:
    if arrays.errors:
        assert arrays.errors[0].field == "x"
        return ERROR
    record = records(schema, arrays.numeric, arrays.codes, {})[0]
    if "x" not in record:
        return NOTHING
    assert not arrays.unknown.any()
    return MISSING if record["x"] is None else record["x"]


def by_json(schema: FeatureSchema, body: str) -> object:
    encoder = Encoder(schema, max_rows=10)
    return encoded_becomes(encoder, encoder.encode(encoder.decode(body.encode())))


def as_record(schema: FeatureSchema, sent: str, folder: Path) -> object:
    return by_json(schema, f'{{"records": [{{"x": {sent}, "other": 1}}]}}')


def as_columns(schema: FeatureSchema, sent: str, folder: Path) -> object:
    return by_json(schema, f'{{"columns": {{"x": [{sent}], "other": [1]}}}}')


def as_table(sent: str) -> pa.Table:
    value: Any = json.loads(sent)
    return pa.table({"x": [value], "other": [1.0]})


def as_arrow(schema: FeatureSchema, sent: str, folder: Path) -> object:
    table, sink = as_table(sent), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    encoder = Encoder(schema, max_rows=10)
    try:
        return encoded_becomes(encoder, arrow.rows_of_stream(sink.getvalue(), encoder))
    except InvalidRequest as refused:  # a whole column of what cannot be read
        return ERROR if refused.field == "x" else refused


def as_parquet(schema: FeatureSchema, sent: str, folder: Path) -> object:
    pq.write_table(as_table(sent), folder / "a.parquet")
    return arrays_become(schema, to_arrays(read_table(str(folder / "a.parquet")), schema))


def as_csv(schema: FeatureSchema, sent: str, folder: Path) -> object:
    value: Any = json.loads(sent)
    text = sent if not isinstance(value, str) else value
    (folder / "a.csv").write_text(f"x,other\n{'' if value is None else text},1\n")
    names = [feature.name for feature in schema.categorical]
    return arrays_become(schema, to_arrays(read_table(str(folder / "a.csv"), names), schema))


def as_frame(schema: FeatureSchema, sent: str, folder: Path) -> object:
    value: Any = json.loads(sent)
    frame = pd.DataFrame({"x": pd.Series([value]), "other": [1.0]})
    return arrays_become(schema, to_arrays(pa.Table.from_pandas(frame), schema))


Way = Callable[[FeatureSchema, str, Path], object]


def can_hold(way: Way, spoken: str, sent: str) -> bool:
    """Whether there is such a value on that way in."""
    value: Any = json.loads(sent)
    if way in (as_arrow, as_parquet, as_frame):  # there is no integer of more than 64 bits
        return not (isinstance(value, int) and abs(value) >= 2**63)
    if way is as_csv:  # all is text, and nothing a list
        spelled_alike = schema_of(spoken).features[0].kind is not Kind.CATEGORICAL and value != float("inf")
        return not isinstance(value, (list, dict)) and (
            spelled_alike or isinstance(value, str) or value is None
        )
    return True


@pytest.mark.parametrize(
    ("spoken", "sent", "becomes", "way"),
    [
        (*coercion, way)
        for coercion in COERCIONS
        for way in (as_record, as_columns, as_arrow, as_parquet, as_frame, as_csv)
        if can_hold(way, *coercion[:2])
    ],
)
def test_a_value_becomes_what_the_table_says_on_every_way_in(
    spoken: str, sent: str, becomes: str, way: Way, tmp_path: Path
) -> None:
    found = way(schema_of(spoken), sent, tmp_path)
    if becomes in (MISSING, ERROR, NOTHING):
        in_a_file = way is as_csv and becomes != NOTHING and sent in ('""', '"NaN"')
        assert found == (MISSING if in_a_file else becomes)
        return
    expected = MISSING if way is as_csv and sent == '""' else json.loads(becomes.strip("`"))
    assert found == expected
    assert type(found) is type(expected)


def test_the_table_has_every_kind() -> None:
    assert len(COERCIONS) >= 60
    assert {spoken.split()[0] for spoken, _, _ in COERCIONS} == {str(kind) for kind in Kind}


def test_a_category_that_training_never_saw_is_spelled_alike_however_a_code_came() -> None:
    schema = schema_of("code")
    encoder = Encoder(schema, max_rows=10)
    for sent in ("9999", '"9999"', "9999.0", '" 9999.0"'):
        encoded = encoder.encode(encoder.decode(f'{{"records": [{{"x": {sent}, "other": 1}}]}}'.encode()))
        assert encoded.unknown == {0: {"x": "9999"}}
    sink = io.BytesIO()
    table = pa.table({"x": np.array([9999.0]), "other": [1.0]})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    assert arrow.rows_of_stream(sink.getvalue(), encoder).unknown == {0: {"x": "9999"}}
