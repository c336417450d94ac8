"""A stream counts over windows: through a SIGKILL and doubled messages it has the numbers of the history."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from nearnorm.models.aggregates.declaration import Aggregates
from nearnorm.models.aggregates.history import as_columns, history_numbers, read_history
from nearnorm.service.ids import now_ms
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.interfaces.kafka.replay import ReplayTopics, replay_topic
from nearnorm.service.ledger.database import Ledger, ledger_url
from nearnorm.service.ledger.tables.events.events import events
from nearnorm.service.settings import Settings
from tests.chaos.streams import Streamer
from tests.service.asking import RECORD
from tests.service.bundles import make_bundle
from tests.service.counted import COUNTED
from tests.service.interfaces.kafka.brokers import Reader, headers_of, make_topics, noida, send
from tests.service.interfaces.kafka.registry import running_registry
from tests.service.interfaces.kafka.streaming import metric, streaming
from tests.service.running import home_with

LATE = 30
DECLARED = Aggregates.of_table(
    COUNTED["aggregates"] | {"format": "epoch s", "late": f"{LATE}s"}, "schema.toml"
)
BEGIN = 1_700_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {"aggregates": DECLARED.model_dump(mode="json")}
    bundle = make_bundle(tmp_path_factory.mktemp("bundle") / "b", config=config)
    return home_with(tmp_path_factory.mktemp("home"), bundle)


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    with noida() as address:
        yield address


def history() -> list[dict[str, Any]]:
    """As they come: up to LATE out of order, one in ten twice."""
    rng = random.Random(0)  # noqa: S311 - for a made history
    records = [
        {
            "payment": f"p{i}",
            "at": BEGIN + i * 7,
            "card": f"c{rng.randrange(5)}",
            "paid": rng.randrange(9_999) / 100,
        }
        for i in range(400)
    ]
    records += [record for record in records if rng.random() < 0.1]
    return sorted(records, key=lambda record: (record["at"] + rng.randrange(LATE), rng.random()))


def message(record: dict[str, Any]) -> bytes:
    return json.dumps(RECORD | {"epoch": 9, "amount": 9} | record).encode()


def test_history_through_a_stream_that_is_killed_gives_the_batchs_numbers(home: Path, brokers: str) -> None:
    make_topics(brokers, "records", "answers")
    came = history()
    keys: list[bytes | None] = [record["payment"].encode() for record in came]
    sent: list[bytes | None] = [message(record) for record in came]
    streamer = Streamer(home, "noida", brokers, audit_rate="1")
    try:
        streamer.start()
        send(brokers, "records", sent[:250], keys[:250])
        streamer.answers_again()
        send(brokers, "records", sent[250:], keys[250:])
        streamer.kill()
        streamer.start()
        Reader(brokers, "answers").read(len(came))
        streamer.answers_again()
    finally:
        streamer.close()

    table = pa.Table.from_pylist(came)
    numbers = history_numbers(read_history([table], DECLARED, "history"), DECLARED, now_ms() * 1_000)
    columns = {name: column.to_pylist() for name, column in as_columns(numbers, DECLARED).items()}
    ledger = Ledger(ledger_url(None, home))
    with ledger.read() as connection:
        found = connection.execute(sa.select(events.c.source, events.c.record_id, events.c.record)).all()
    ledger.close()
    assert len(found) == len(came)
    for source, record_id, record in found:
        place = int(source.split(":")[2])
        assert record_id == came[place]["payment"]
        seen = json.loads(record)
        assert {name: seen[name] for name in columns} == {
            name: column[place] for name, column in columns.items()
        }
    assert max(columns["epoch"]) > 20


def test_what_cannot_be_counted_is_a_dead_letter_that_names_the_field(home: Path, brokers: str) -> None:
    make_topics(brokers, "more", "scores", "dead")
    good = {"payment": "q", "at": BEGIN, "card": "q", "paid": 1.0}
    options = StreamOptions(brokers, "more", "scores", None, "dead", group="other")
    with (
        running_registry() as registry,
        streaming(Settings(home=home, schema_registry=registry.url), options) as port,
    ):
        send(
            brokers,
            "more",
            [
                message(good),
                message(good | {"at": "soon"}),
                message(good) + b"\n" + message(good | {"payment": None}),
                b"{",
                b"\xff\xff\xff\xff",
                message(good) + b"\n" + message(good | {"at": BEGIN + 60}),
                message(good).replace(b"1.0", b"1e400"),
                b"[1]",
                message(good | {"payment": "never counted", "at": BEGIN + 60}),
            ],
            [*[None] * 8, b"k" * 201],
        )
        answers, dead = Reader(brokers, "scores").read(2), Reader(brokers, "dead").read(7)
        problems = [json.loads(headers_of(letter)["problem"]) for letter in dead]
        assert [problem.get("field") for problem in problems] == [
            *("at", "payment", None, None, "paid", None, "key")
        ]
        assert problems[1]["detail"].startswith("row 2: payment: the value is missing")
        assert "send JSON" in problems[3]["detail"]
        assert problems[5]["detail"] == "a record is a JSON object"
        assert dead[0].value() == message(good | {"at": "soon"}), "as it came"
        assert len(json.loads(answers[1].value() or b"")["results"]) == 2
        assert metric(port, 'nearnorm_stream_counted_total{outcome="counted"}') == 2
        assert metric(port, 'nearnorm_stream_counted_total{outcome="again"}') == 1


def test_a_replay_of_a_topic_gives_records_the_numbers_that_they_were_answered_with(
    tmp_path: Path, brokers: str
) -> None:
    counted = COUNTED["aggregates"]
    declared = counted | {"format": "epoch s", "features": {"amount": counted["features"]["amount"]}}
    home = home_with(tmp_path / "home", make_bundle(tmp_path / "b", config={"aggregates": declared}))
    make_topics(brokers, "once", "then")
    paid = [{"payment": f"r{n}", "at": BEGIN + 60 * n, "card": "r", "paid": 21.0} for n in range(9)]
    sent: list[bytes | None] = [json.dumps(RECORD | one).encode() for one in (*paid, paid[2])]
    settings = Settings(home=home)
    with streaming(settings, StreamOptions(brokers, "once", "then", group="replayed")):
        send(brokers, "once", sent)
        Reader(brokers, "then").read(len(sent))
    ledger, topics = Ledger(ledger_url(None, home)), ReplayTopics(brokers, "once", "then")
    version = settings.open_store().versions()[0]
    found, again = (
        replay_topic(ledger, settings, version, topics, "default", 100) for _ in range(2)
    )  # nothing is counted
    ledger.close()
    assert len(set(found.old.score)) == len(paid)
    for replayed in (found, again):
        assert list(replayed.score) == pytest.approx(list(found.old.score), abs=1e-6)
