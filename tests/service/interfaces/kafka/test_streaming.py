"""Records by a topic, answers by another: with transactions (noida) and without (tansu)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pyarrow as pa
import pytest
from confluent_kafka import Message
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, score, stored
from tests.service.interfaces.kafka.brokers import Reader, headers_of, make_topics, noida, send, tansu
from tests.service.interfaces.kafka.registry import Registry, running_registry
from tests.service.interfaces.kafka.streaming import metric, streaming
from tests.service.running import home_with, serving
from tests.service.waiting import until

NUMBERS = ("score", "percentile", "anomaly", "prototype", "distance", "reconstruction_error")


class Running(NamedTuple):
    """A streamer on brokers, a service on the same home, and the registry that the streamer asks."""

    home: Path
    brokers: str
    streamer: httpx.Client
    service: httpx.Client
    registry: Registry
    is_exactly_once: bool
    answers: Reader
    dead: Reader

    def ask(
        self, sent: list[bytes | None], keys: list[bytes | None] | None = None, partition: int = 0
    ) -> list[Message]:
        """The answers to messages that are sent now, each of which has one."""
        send(self.brokers, "records", sent, keys, partition)
        return self.answers.read(len(sent))


@pytest.fixture(scope="module", params=["with transactions", "without transactions"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bundle: Bundle
) -> Iterator[Running]:
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    is_exactly_once = request.param == "with transactions"
    with noida() if is_exactly_once else tansu() as brokers, running_registry() as registry:
        make_topics(brokers, "records", "answers", "verdicts", "dead")
        settings = Settings(home=home, audit_rate=1.0, schema_registry=registry.url)
        options = StreamOptions(brokers, "records", "answers", "verdicts", "dead")
        with serving(create_app(settings)) as service, streaming(settings, options) as streamer:
            answers, dead = Reader(brokers, "answers"), Reader(brokers, "dead")
            yield Running(home, brokers, streamer, service, registry, is_exactly_once, answers, dead)
            answers.close()
            dead.close()


def told(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.value() or b"")
    return found


def as_json(*records: dict[str, Any]) -> list[bytes | None]:
    return [json.dumps(record).encode() for record in records]


def test_a_record_gets_what_score_says_of_it_and_where_it_stood(running: Running) -> None:
    answers = running.ask(as_json(RECORD, STRANGE), [b"tx-1", b"tx-2"], partition=1)
    for answer, record, key in zip(answers, (RECORD, STRANGE), (b"tx-1", b"tx-2"), strict=True):
        said, scored = told(answer), score(running.service, record)
        assert {name: said[name] for name in NUMBERS} == {name: scored[name] for name in NUMBERS}
        assert answer.key() == key
        assert said["id"] == key.decode()
        assert said["event_id"] == f"records:1:{said['offset']}" == headers_of(answer)["event_id"]
        assert (said["topic"], said["partition"], said["kept"]) == ("records", 1, True)
        assert said["model"] == running.service.post("/score", json={"records": [RECORD]}).json()["model"]


def test_whether_answers_go_in_transactions_is_told(running: Running) -> None:
    assert metric(running.streamer, "nearnorm_stream_exactly_once") == float(running.is_exactly_once)
    assert running.streamer.get("/readyz").json()["problems"] == []


def test_answers_keep_the_order_of_a_partition_however_records_are_read(running: Running) -> None:
    typed, loose = json.dumps(RECORD).encode(), json.dumps(RECORD | {"amount": "61.5", "beside": 1}).encode()
    lines = b"\n".join([typed, loose])
    sent: list[bytes | None] = [(typed, loose, lines)[n % 3] for n in range(300)]
    answers = running.ask(sent, partition=2)
    offsets = [told(answer)["offset"] for answer in answers]
    assert offsets == list(range(offsets[0], offsets[0] + 300))
    assert [("results" in told(answer)) for answer in answers] == [n % 3 == 2 for n in range(300)]


def test_a_message_may_hold_many_records_a_line_each(running: Running) -> None:
    lines = b"\n".join([json.dumps(RECORD).encode(), json.dumps(RECORD | {"amount": "much"}).encode(), b""])
    [answer] = running.ask([lines], [b"hour 7"])
    said = told(answer)
    name = f"records:0:{said['offset']}"
    assert said["event_id"] == name
    assert [row["event_id"] for row in said["results"]] == [f"{name}:0", f"{name}:1"]
    assert said["results"][0]["score"] == score(running.service, RECORD)["score"]
    assert said["results"][1]["error"]["field"] == "amount"
    assert answer.key() == b"hour 7"


def test_a_message_may_be_an_arrow_stream_and_so_is_its_answer(running: Running) -> None:
    batch = pa.RecordBatch.from_pylist([RECORD, STRANGE])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    [answer] = running.ask([sink.getvalue().to_pybytes()], partition=3)
    headers = headers_of(answer)
    assert (headers["topic"], headers["partition"]) == ("records", "3")
    rows = pa.ipc.open_stream(answer.value()).read_all().to_pylist()
    name = f"records:3:{headers['offset']}"
    assert [row["event_id"] for row in rows] == [f"{name}:0", f"{name}:1"]
    assert [row["score"] for row in rows] == [score(running.service, r)["score"] for r in (RECORD, STRANGE)]


def test_a_poison_message_becomes_a_dead_letter_and_the_next_is_answered(running: Running) -> None:
    dead = metric(running.streamer, 'nearnorm_stream_messages_total{outcome="dead_letter"}')
    poison = [b"{not json", None, json.dumps(RECORD | {"amount": "much"}).encode()]
    send(running.brokers, "records", poison, [b"p1", b"p2", b"p3"])
    [answer] = running.ask(as_json(RECORD), [b"after"])
    assert told(answer)["id"] == "after"
    letters = running.dead.read(3)
    assert [(letter.key(), letter.value()) for letter in letters] == list(
        zip([b"p1", b"p2", b"p3"], poison, strict=True)
    )
    headers = [headers_of(letter) for letter in letters]
    first = told(answer)["offset"] - 3
    assert [said["event_id"] for said in headers] == [f"records:0:{first + n}" for n in range(3)]
    problems = [json.loads(said["problem"]) for said in headers]
    assert [said["type"].rpartition(":")[2] for said in problems] == [
        "malformed-body",
        "malformed-body",
        "invalid-value",
    ]
    assert problems[2]["field"] == "amount"
    assert metric(running.streamer, 'nearnorm_stream_messages_total{outcome="dead_letter"}') == dead + 3


AVRO = {
    "type": "record",
    "name": "Payment",
    "fields": [
        {"name": "amount", "type": "double"},
        {"name": "epoch", "type": "long"},
        {"name": "country", "type": ["null", "string"]},
        {"name": "channel", "type": {"type": "enum", "name": "Channel", "symbols": ["web", "shop"]}},
    ],
}


def test_avro_in_a_registrys_wire_format_is_read_and_the_registry_asked_once(running: Running) -> None:
    client = SchemaRegistryClient({"url": running.registry.url})
    serialize = AvroSerializer(client, json.dumps(AVRO))
    record = {name: RECORD[name] for name in ("amount", "epoch", "country", "channel")}
    value = serialize(record, SerializationContext("records", MessageField.VALUE))
    running.registry.asked.clear()
    answers = running.ask([value, value])
    assert [told(answer)["score"] for answer in answers] == [score(running.service, record)["score"]] * 2
    assert len(running.registry.asked) == 1


def test_json_in_a_registrys_wire_format_is_read(running: Running) -> None:
    schema = Schema(json.dumps({"title": "Payment", "type": "object"}), "JSON")
    client = SchemaRegistryClient({"url": running.registry.url})
    value = JSONSerializer(schema, client)(RECORD, SerializationContext("records", MessageField.VALUE))
    [answer] = running.ask([value])
    assert told(answer)["score"] == score(running.service, RECORD)["score"]


def test_while_the_registry_does_not_answer_the_topic_waits_and_says_why(running: Running) -> None:
    client = SchemaRegistryClient({"url": running.registry.url})
    serialize = AvroSerializer(client, json.dumps(AVRO | {"name": "Later"}))
    record = {name: RECORD[name] for name in ("amount", "epoch", "country", "channel")}
    value = serialize(record, SerializationContext("records", MessageField.VALUE))
    running.registry.is_down = True
    send(running.brokers, "records", [value], [b"late"])
    until(lambda: "schema registry" in running.streamer.get("/readyz").text)
    assert metric(running.streamer, "nearnorm_stream_oldest_seconds") > 0
    running.registry.is_down = False
    assert [message.key() for message in running.answers.read(1)] == [b"late"]
    until(lambda: running.streamer.get("/readyz").json()["problems"] == [])


def test_an_answer_is_labelled_by_its_event_id(running: Running) -> None:
    [answer] = running.ask(as_json(STRANGE | {"amount": 901.0}), [b"odd"])
    name = told(answer)["event_id"]
    seen = running.service.get(f"/events/{name}").json()
    assert (seen["id"], seen["record"]["amount"]) == ("odd", 901.0)
    [receipt] = stored(label(running.service, {"event_id": name, "label": "anomaly"}))
    assert running.service.get(f"/feedback/{receipt}").json()["status"]


def test_a_verdict_that_comes_by_its_topic_is_feedback(running: Running) -> None:
    record = STRANGE | {"amount": 902.0}
    [answer] = running.ask(as_json(record))
    verdict = {"event_id": told(answer)["event_id"], "label": "normal", "analyst": "mei", "comment": "seen"}
    count = metric(running.streamer, 'nearnorm_stream_verdicts_total{outcome="stored"}')
    send(running.brokers, "verdicts", as_json(verdict), partition=1)
    until(lambda: metric(running.streamer, 'nearnorm_stream_verdicts_total{outcome="stored"}') == count + 1)
    receipts = running.service.get("/feedback", params={"analyst": "mei"}).json()["receipts"]
    assert [receipt["label"] for receipt in receipts][:1] == ["normal"]
    [again] = running.ask(as_json(record))
    assert told(again)["matched_feedback"]["label"] == "normal"


def test_a_verdict_that_does_not_fit_becomes_a_dead_letter(running: Running) -> None:
    send(running.brokers, "verdicts", as_json({"event_id": "records:0:0", "label": "odd"}), [b"v"])
    [letter] = running.dead.read(1)
    said = json.loads(headers_of(letter)["problem"])
    assert "none was stored" in said["detail"]
    assert (letter.key(), headers_of(letter)["topic"]) == (b"v", "verdicts")


def test_another_version_serves_without_a_rebalance(running: Running, other_bundle: Bundle) -> None:
    dealt = metric(running.streamer, "nearnorm_stream_rebalances_total")
    first = told(running.ask(as_json(RECORD))[0])["model"]["version"]
    store = ModelStore(running.home / "models")
    other = store.publish(other_bundle.path)
    store.activate(other, by="test")
    until(lambda: told(running.ask(as_json(RECORD))[0])["model"]["version"] == other)
    assert other != first
    assert metric(running.streamer, "nearnorm_stream_rebalances_total") == dealt


def test_nothing_waits_and_nothing_was_answered_twice(running: Running) -> None:
    until(lambda: metric(running.streamer, "nearnorm_stream_lag_messages") == 0)
    assert metric(running.streamer, "nearnorm_stream_oldest_seconds") == 0
    assert metric(running.streamer, "nearnorm_stream_answered_again_total") == 0
    named = [headers_of(answer)["event_id"] for answer in running.answers.seen]
    assert len(named) == len(set(named)) > 300
