"""Columns outside the model, from a request to whoever reviews its event, on both databases; and nowhere
else."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
import sqlalchemy as sa

from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.events import events
from nearnorm.service.ledger.tables.feedback.labels import labels
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE
from tests.service.bundles import KEPT, make_bundle
from tests.service.feedback.test_claims import claim
from tests.service.feedback.test_queue import page
from tests.service.running import home_with, serving
from tests.service.scoring.test_bulk import post as post_stream
from tests.service.scoring.test_bulk import stream
from tests.service.waiting import until

HOSTILE = {
    "long": "é" * 10_000,
    "HTML": "<script>alert(1)</script>",
    "right to left": "\u202egpj.exe",
    "zero": "a\x00b",
    "formula": "=1+1",
}


@pytest.fixture
def settings(tmp_path: Path, url: str | sa.URL) -> Settings:
    home = home_with(tmp_path / "home", make_bundle(tmp_path / "kept", features=KEPT))
    text = url if isinstance(url, str) else url.render_as_string()
    return Settings(home=home, database_url=text, audit_rate=1.0)


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    with serving(create_app(settings)) as client:
        yield client


def score(client: httpx.Client, *records: dict[str, Any], **more: Any) -> list[str]:
    body = {"records": list(records), "ids": [f"tx-{i}" for i in range(len(records))], **more}
    answer = client.post("/score", json=body)
    assert answer.status_code == 200, answer.text
    assert "warnings" not in answer.json()
    return [result["event_id"] for result in answer.json()["results"]]


def whole(client: httpx.Client) -> dict[str, dict[str, str] | None]:
    return {item["event_id"]: item.get("kept") for item in claim(client, "ann", 200)}


def test_the_queue_masks_what_is_kept_and_a_claim_shows_it(client: httpx.Client) -> None:
    beside = {"merchant": "Café Müller", "invoice": 4711, "note": "nobody keeps it"}
    first, second = score(client, STRANGE | beside, RECORD)
    until(lambda: len(page(client)["queue"]) == 2)
    masked = {item["event_id"]: item.get("kept") for item in page(client)["queue"]}
    assert masked == {first: {"merchant": "Caf…er", "invoice": "4…"}, second: None}
    assert whole(client) == {first: {"merchant": "Café Müller", "invoice": "4711"}, second: None}


def test_what_waits_for_a_second_opinion_is_shown_with_it(client: httpx.Client) -> None:
    (event_id,) = score(client, RECORD | {"merchant": "Café Müller"})
    until(lambda: page(client)["queue"])
    label = {"event_id": event_id, "label": "anomaly", "analyst": "ann"}  # which the model does not say
    client.post("/feedback", json={"labels": [label]}).raise_for_status()
    (item,) = claim(client, "ann", 200)
    assert (item["why"], item["kept"]) == ("second_opinion", {"merchant": "Café Müller"})


def test_every_way_in_keeps_the_same(client: httpx.Client, ledger: Ledger) -> None:
    records = [STRANGE | {"amount": 1e12 + i, "merchant": f"m{i}", "invoice": str(i)} for i in range(3)]
    score(client, *records)
    score(client, *(record | {"amount": str(record["amount"])} for record in records))
    columns = {name: [record[name] for record in records] for name in records[0]}
    for padding in ("", " " * 10_000, " " * 300_000):
        body = json.dumps({"columns": columns}) + padding
        client.post("/score", content=body, headers={"Content-Type": "application/json"}).raise_for_status()
    many = pa.Table.from_pylist(records)
    assert post_stream(client, stream(many)).status_code == 200
    large = pa.Table.from_pylist([r | {"note": "x" * 60_000} for r in records])
    assert post_stream(client, stream(large)).status_code == 200

    def found() -> list[tuple[str, str]]:
        with ledger.read() as connection:
            query = sa.select(events.c.record, events.c.kept).order_by(events.c.event_id)
            return [(json.loads(r)["amount"], k) for r, k in connection.execute(query)]

    until(lambda: len(found()) == 7 * 3)
    assert {amount: json.loads(text) for amount, text in found()} == {
        record["amount"]: {"merchant": record["merchant"], "invoice": record["invoice"]} for record in records
    }
    assert all(text for _, text in found())


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_is_kept_as_text_and_costs_no_score(client: httpx.Client, value: str) -> None:
    (event_id,) = score(client, STRANGE | {"merchant": value})
    until(lambda: page(client)["queue"])
    found = whole(client)[event_id]
    assert found is not None
    shown = found["merchant"].removesuffix("… (cut)")
    assert value.startswith(shown)
    assert len(json.dumps(found, ensure_ascii=False).encode()) <= 2_048 + 2


def test_half_a_character_costs_no_score_either(client: httpx.Client) -> None:
    record = json.dumps(STRANGE | {"merchant": "x\ud800"})
    body = f'{{"records": [{record}]}}'
    answer = client.post("/score", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    until(lambda: page(client)["queue"])
    assert list(whole(client).values()) == [{"merchant": "x\ufffd"}]


def test_a_label_that_comes_with_a_record_keeps_nothing_of_it_and_warns_of_nothing(
    client: httpx.Client, ledger: Ledger
) -> None:
    label = {"record": STRANGE | {"merchant": "Café Müller"}, "label": "anomaly", "analyst": "ann"}
    answer = client.post("/feedback", json={"labels": [label], "strict": True})
    assert answer.status_code == 201, answer.text
    assert "warnings" not in answer.json()
    with ledger.read() as connection:
        assert "Müller" not in str(connection.execute(sa.select(labels)).all())


def test_what_is_kept_goes_with_its_event(client: httpx.Client, ledger: Ledger) -> None:
    score(client, STRANGE | {"merchant": "Café Müller"})
    until(lambda: page(client)["queue"])
    assert client.post("/forget", json={"record_id": "tx-0"}).json()["events"] == 1
    with ledger.read() as connection:
        assert connection.execute(sa.select(events.c.kept)).all() == []


def test_what_is_kept_is_in_no_log_no_metric_and_no_problem(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {"merchant": "Café Müller", "invoice": "DE-0815"}
    score(client, STRANGE | secret)
    refused, odd = (
        client.post("/score", json={"records": [RECORD | secret | more], "ids": ["tx"], "strict": True})
        for more in ({"amount": "x"}, {"what": 1})
    )
    label = {"record": secret, "label": "anomaly"}
    texts = [refused.text, odd.text, client.post("/feedback", json={"labels": [label]}).text]
    texts += [client.get(path).text for path in ("/metrics", "/readyz", "/drift", "/models", "/audit")]
    for text in (*texts, caplog.text):
        assert "Müller" not in text
        assert "DE-0815" not in text
