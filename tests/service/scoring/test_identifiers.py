"""What an identifier column of a record holds is the row's id, in its answer and with its event."""

from typing import Any

import httpx
import pyarrow as pa
import pytest

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
