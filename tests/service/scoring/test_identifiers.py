"""What an identifier column of a record holds is the row's id, in its answer and with its event."""

from typing import Any

import httpx
import pyarrow as pa
import pytest

from nearnorm.service.errors import MalformedBody
from nearnorm.service.records.encoder import Encoder
from tests.service.bundles import PAYMENTS
from tests.service.scoring.test_bulk import post as post_stream
from tests.service.scoring.test_bulk import stream
from tests.service.scoring.test_endpoint import RECORD
from tests.service.waiting import until

NAME = "transaction id"
ALERT = RECORD | {"amount": 1e12}


def scored(client: httpx.Client, **body: Any) -> Any:
    return client.post("/score", json=body).raise_for_status().json()["results"]


@pytest.mark.parametrize("more", [{}, {"colour": "red"}], ids=["typed", "with a field nobody knows"])
def test_a_record_is_answered_with_its_own_id(client: httpx.Client, more: dict[str, str]) -> None:
    records = [RECORD | {NAME: given} | more for given in ("tx-1", 77, 78.0, None)] + [RECORD | more]
    results = scored(client, records=records)
    assert [result.get("id") for result in results] == ["tx-1", 77, 78, None, None]
    columns = {name: [RECORD[name]] * 2 for name in RECORD} | {NAME: ["tx-1", None]}
    assert scored(client, columns=columns)["id"] == ["tx-1", None]


def test_a_stream_is_answered_with_its_own_ids(client: httpx.Client) -> None:
    body = stream(pa.Table.from_pylist([RECORD | {NAME: "tx-1"}, RECORD]))
    answer = pa.ipc.open_stream(post_stream(client, body).content).read_all()
    assert answer.column("id").to_pylist() == ["tx-1", None]


def test_ids_that_are_given_stand_above_those_of_the_records(client: httpx.Client) -> None:
    (result,) = scored(client, records=[RECORD | {NAME: "tx-1"}], ids=["mine"])
    assert result["id"] == "mine"


@pytest.mark.parametrize("given", ["", "x" * 201, "mei@bank.example", 1.5, True, 2**63, ["tx"], {"a": 1}])
def test_what_is_no_id_or_a_persons_address_is_not_kept(client: httpx.Client, given: object) -> None:
    (result,) = scored(client, records=[RECORD | {NAME: given}])
    assert "id" not in result
    assert "score" in result


@pytest.mark.parametrize(
    "value", [b"1e999", b'"\xff"', b"[" * 300 + b"]" * 300], ids=["huge", "bytes", "deep"]
)
@pytest.mark.parametrize("typed", [True, False])
def test_what_no_reader_takes_in_an_identifier_column_costs_no_row(value: bytes, typed: bool) -> None:
    encoder, amount = Encoder(PAYMENTS, 10), b"61.5" if typed else b'"61.5"'
    record = b'{"amount":%b,"channel":"web","transaction id":%%b}' % amount
    columns = b'{"amount":[%b,2],"channel":["web","web"],"transaction id":[%%b,7]}' % amount
    for body in (
        b'{"records":[%b,%b]}' % (record % value, record % b"7"),
        b'{"columns":%b}' % (columns % value),
    ):
        try:
            found = encoder.encode(encoder.decode(body))
        except MalformedBody:  # on the way that reads every cell it is no JSON
            assert not typed
            continue
        assert len(found.rows) == 2
        assert found.ids == [None, 7]
    with_one = b'{"columns":%b}' % (columns % b"1").replace(b"[1,7]", value)
    try:
        assert encoder.encode(encoder.decode(with_one)).ids is None
    except MalformedBody:
        assert not typed


def test_an_analyst_finds_the_alert_by_the_id_of_its_record(client: httpx.Client) -> None:
    (result,) = scored(client, records=[ALERT | {NAME: "tx-4711"}])
    assert result["anomaly"]

    def offered() -> list[str]:
        queue = client.get("/queue", params={"limit": 200}).json()["queue"]
        return [item["event_id"] for item in queue if item.get("id") == "tx-4711"]

    until(offered)
    assert offered() == [result["event_id"]]
    label = {"record_id": "tx-4711", "label": "anomaly", "analyst": "mei"}
    client.post("/feedback", json={"labels": [label]}).raise_for_status()
