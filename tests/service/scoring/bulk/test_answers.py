"""A request read in the bulk process gets, byte for byte, the answer of one read in the event loop."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.times import TimeFormat
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.scoring import direct, endpoint
from nearnorm.service.scoring.bulk.messages import ReadBody, RowsRead, Schema, as_array
from nearnorm.service.scoring.bulk.process import BulkWork
from nearnorm.service.settings import Settings
from tests.service.bundles import PAYMENTS
from tests.service.running import home_with, serving
from tests.service.scoring.test_bulk import post as post_stream
from tests.service.scoring.test_bulk import stream
from tests.service.scoring.test_endpoint import RECORD

NOVEL = RECORD | {"amount": 1e12}
RECORDS: list[Any] = [
    RECORD,
    NOVEL,
    RECORD | {"amount": 1e12, "channel": "post"},
    RECORD | {"epoch": None},
    RECORD | {"country": "Atlantis"},
    RECORD | {"amount": "61.5"},
    RECORD | {"amount": "x"},
    {},
    {"amount": 1.0, "channel": "web", "colour": "red"},
    7,
]
_value = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10),
    st.floats(-1e13, 1e13),
    st.sampled_from(("DE", "1", "é\n", "")),
)
_record = st.one_of(
    st.sampled_from(RECORDS),
    st.dictionaries(st.sampled_from((*RECORD, "colour", "transaction id")), _value),
)
_options = st.fixed_dictionaries(
    {},
    optional={
        "explain": st.booleans(),
        "strict": st.booleans(),
        "model": st.sampled_from(("default", "fraud", "nobody")),
    },
)


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, other_bundle: Bundle
) -> Iterator[httpx.Client]:
    """Every row is kept; one record is known to be an anomaly; what is novel is so usual that it alerts no
    longer. There are two models."""
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    store = ModelStore(home / "models")
    store.activate(store.publish(other_bundle.path), by="test", model="fraud")
    with serving(create_app(Settings(home=home, audit_rate=1.0))) as client:
        for model in ("default", "fraud"):
            novel = {"records": [NOVEL | {"channel": "post"}] * 100, "model": model}
            client.post("/score", json=novel).raise_for_status()
        label = {"record": RECORD | {"country": "FR"}, "label": "anomaly"}
        client.post("/feedback", json={"labels": [label]}).raise_for_status()
        yield client


def both(client: httpx.Client, body: bytes) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
    """Status and body of the answers, read in the event loop and in the bulk process."""

    def sent() -> tuple[int, bytes]:
        answer = client.post("/score", content=body, headers={"Content-Type": "application/json"})
        return answer.status_code, re.sub(rb'"[0-9A-Z]{26}"', b'"an event"', answer.content)

    inline = sent()
    with pytest.MonkeyPatch.context() as patch:
        for way in (direct, endpoint):
            patch.setattr(way, "takes_long", lambda *_: True)
        return inline, sent()


@pytest.mark.parametrize(
    "options", [{}, {"explain": True}, {"strict": True}, {"ids": list(range(len(RECORDS)))}]
)
def test_records_are_answered_alike(client: httpx.Client, options: dict[str, Any]) -> None:
    (status, inline), bulk = both(client, json.dumps({"records": RECORDS} | options).encode())
    assert (status, inline) == bulk
    assert status == 200
    assert b'"an event"' in inline


def test_a_verdict_of_analysts_is_told_alike(client: httpx.Client) -> None:
    inline, bulk = both(client, json.dumps({"records": [RECORD, RECORD | {"country": "FR"}] * 300}).encode())
    assert inline == bulk
    assert inline[1].count(b"matched_feedback") == 300


@pytest.mark.parametrize("values", [RECORD, NOVEL, RECORD | {"amount": None}, RECORD | {"country": 5}])
def test_columns_are_answered_alike(client: httpx.Client, values: dict[str, Any]) -> None:
    columns = {name: [RECORD[name], value] * 400 for name, value in values.items()}
    for more in ({}, {"ids": [f"tx-{i}" for i in range(800)]}, {"explain": True}):
        inline, bulk = both(client, json.dumps({"columns": columns} | more).encode())
        assert inline == bulk
        assert inline[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b'{"records":[]}',
        b'{"records":[{}],"columns":{}}',
        b'{"records":[{}],"model":"nobody"}',
        b'{"records":[{}],"ids":["a","b"]}',
        b'{"records":[{"amount":NaN}]}',
        b'{"columns":{"amount":[1],"channel":["web","web"]}}',
        b'{"records":[{"amount":' + b"1" * 500 + b"}]}",
    ],
)
def test_mistakes_are_told_alike(client: httpx.Client, body: bytes) -> None:
    inline, bulk = both(client, body)
    assert inline == bulk


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(_record, min_size=1, max_size=6),
    options=_options,
    named=st.booleans(),
    across=st.booleans(),
)
def test_whatever_is_sent_is_answered_alike(
    client: httpx.Client, records: list[Any], options: dict[str, Any], named: bool, across: bool
) -> None:
    request: dict[str, Any] = dict(options)
    if across:
        rows = [record if isinstance(record, dict) else {} for record in records]
        request["columns"] = {name: [row.get(name) for row in rows] for name in RECORD}
    else:
        request["records"] = records
    if named:
        request["ids"] = [f"tx-{i}" for i in range(len(records))]
    inline, bulk = both(client, json.dumps(request).encode())
    assert inline == bulk


def test_a_stream_of_thousands_of_rows_names_each_rows_own_event(client: httpx.Client) -> None:
    amounts = [float(i) for i in range(3_000)]
    table = pa.table({"amount": amounts, "channel": ["web"] * len(amounts)})
    answer = pa.ipc.open_stream(post_stream(client, stream(table, 1_000)).content).read_all()
    for place in (0, 255, 256, 1_700, 2_999):
        event = answer["event_id"][place].as_py()
        label = {"event_id": event, "label": "anomaly"}
        receipt = client.post("/feedback", json={"labels": [label]}).json()["receipts"][0]
        record = {"amount": amounts[place], "channel": "web"}
        result = client.post("/score", json={"records": [record]}).json()["results"][0]
        assert result["matched_feedback"]["feedback_id"] == receipt["feedback_id"]


NIGHTLY = FeatureSchema(
    features=(
        Feature(name="at", kind=Kind.TIME, nullable=False, format=TimeFormat.ISO),
        Feature(name='a "quoted" name', kind=Kind.NUMERIC),
        Feature(name="code", kind=Kind.CODE, categories=("1", "2")),
    )
)


@pytest.mark.parametrize(
    ("schema", "request_"),
    [
        (PAYMENTS, {"records": RECORDS}),
        (PAYMENTS, {"columns": {name: [value] * 9 for name, value in RECORD.items()}}),
        (
            NIGHTLY,
            {
                "records": [
                    {"at": "2026-03-01T02:00:00Z", "code": 1},
                    {"at": "soon"},
                    {"at": 1.7e9, "code": "3"},
                ]
            },
        ),
        (NIGHTLY, {"columns": {"at": ["2026-03-01 02:00", None, "soon"], 'a "quoted" name': [1, 2, 3]}}),
    ],
)
def test_the_process_reads_by_the_very_schema(schema: FeatureSchema, request_: dict[str, Any]) -> None:
    body = json.dumps(request_).encode()
    encoder = Encoder(schema, 100)
    encoded = encoder.encode(encoder.decode(body))
    job = ReadBody(None, "default", None, {"default": "v1"}, {"v1": Schema(schema.model_dump_json(), 100)})
    read, arrays = BulkWork().reply(job, [as_array(body)])
    assert isinstance(read, RowsRead)
    np.testing.assert_array_equal(arrays[0], encoded.rows.numeric)
    np.testing.assert_array_equal(arrays[1], encoded.rows.codes)
    assert (read.count, read.errors, read.unknown) == (encoded.count, len(encoded.errors), encoded.unknown)
    assert (arrays[3].tolist() if read.some else None) == encoded.kept
