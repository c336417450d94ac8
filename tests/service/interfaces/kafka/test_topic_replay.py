"""A topic through another version, beside the answers that it got: by a real broker of each kind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pyarrow as pa
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.interfaces.kafka.replay import ReplayTopics, replay_topic
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.retraining.rescoring.replay import ReplayedRows, report
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, score, stored
from tests.service.bundles import make_bundle
from tests.service.interfaces.kafka.brokers import Reader, make_topics, noida, send, tansu
from tests.service.interfaces.kafka.streaming import streaming
from tests.service.running import home_with, serving

MESSAGES = 40


class Answered(NamedTuple):
    """A topic that was answered by the champion, whose answers are `said`; and the challenger's version."""

    settings: Settings
    brokers: str
    said: dict[str, dict[str, Any]]
    version: str


@pytest.fixture(scope="module", params=["noida", "tansu"])
def answered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bundle: Bundle
) -> Iterator[Answered]:
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    settings = Settings(home=home, audit_rate=1.0)
    records = [RECORD | {"amount": 30.0 * n, "country": "DE" if n % 3 else "FR"} for n in range(MESSAGES)]
    batch = pa.RecordBatch.from_pylist([STRANGE, RECORD])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    many = b"\n".join(json.dumps(record).encode() for record in (RECORD, STRANGE, {"amount": "much"}))
    with {"noida": noida, "tansu": tansu}[request.param]() as brokers:
        make_topics(brokers, "records", "answers", "empty", "others")
        with serving(create_app(settings)) as service:
            with streaming(settings, StreamOptions(brokers, "records", "answers")):
                for n, record in enumerate(records):
                    send(brokers, "records", [json.dumps(record).encode()], [b"%d" % n], n % 4)
                send(brokers, "records", [b"{no json", many, sink.getvalue().to_pybytes()], partition=1)
                reader = Reader(brokers, "answers")
                answers = reader.read(MESSAGES + 3)
                reader.close()
            said = {one["event_id"]: one for one in map(lone, answers) if "score" in one}
            _label(service, said)
        challenger = make_bundle(tmp_path_factory.mktemp("bundle") / "challenger", seed=6)
        yield Answered(settings, brokers, said, ModelStore(home / "models").publish(challenger.path))


def lone(message: Any) -> dict[str, Any]:
    value = message.value()
    found: dict[str, Any] = json.loads(value) if value.startswith(b"{") else {}
    return found


def _label(service: httpx.Client, said: dict[str, dict[str, Any]]) -> None:
    names = sorted(said, key=lambda name: -said[name]["score"])
    given = [{"event_id": name, "label": "anomaly", "analyst": "mei"} for name in names[:5]]
    given += [{"event_id": name, "label": "normal", "analyst": "mei"} for name in names[-5:]]
    stored(label(service, *given))


def replayed(answered: Answered, answers: str = "answers", limit: int = 10_000) -> ReplayedRows:
    ledger = Ledger.at(None, answered.settings.home)
    try:
        topics = ReplayTopics(answered.brokers, "records", answers)
        return replay_topic(ledger, answered.settings, answered.version, topics, "default", limit)
    finally:
        ledger.close()


def test_every_answered_row_stands_beside_what_the_challenger_says(
    answered: Answered, tmp_path: Path
) -> None:
    found = replayed(answered)
    # each single record, two of the lines and the two of the Arrow stream; what could not be read is told
    assert len(found.old.event_id) == MESSAGES + 4
    assert found.unfit == 2
    rows = {name: i for i, name in enumerate(found.old.event_id)}
    for name, said in answered.said.items():
        assert found.old.percentile[rows[name]] == said["percentile"]
        assert found.old.anomaly[rows[name]] == said["anomaly"]
        assert found.old.version[rows[name]] == said["model"]["version"] != answered.version
    home = home_with(tmp_path, ModelStore(answered.settings.home / "models").open(answered.version))
    with serving(create_app(Settings(home=home))) as service:
        for n in (0, 7, 39):
            record = RECORD | {"amount": 30.0 * n, "country": "DE" if n % 3 else "FR"}
            [row] = [i for i, given in enumerate(found.old.record_id) if given == str(n)]
            expected = score(service, record)
            assert found.score[row] == pytest.approx(expected["score"], abs=1e-6)
            assert found.percentile[row] == pytest.approx(expected["percentile"], abs=1e-3)


def test_counts_and_flips_of_confirmed_records_are_of_these_rows(answered: Answered) -> None:
    found = replayed(answered)
    told = report(found)
    was, now = found.old.anomaly, found.anomaly
    assert (told.rows, told.traffic.of) == (len(was), len(was))
    assert (told.traffic.up, told.traffic.down) == (int((now & ~was).sum()), int((was & ~now).sum()))
    assert told.anomalies.of >= 5
    assert told.normals.of >= 5
    assert len(told.flips) == told.anomalies.up + told.anomalies.down + told.normals.up + told.normals.down


def test_only_the_newest_messages_are_taken_from_every_partition(answered: Answered) -> None:
    found = replayed(answered, limit=8)
    offsets = [name.split(":")[1:3] for name in found.old.event_id if name.count(":") == 2]
    assert {partition for partition, _ in offsets} <= {"0", "1", "2", "3"}
    assert len(offsets) <= 8


def test_a_topic_that_has_no_answers_or_is_not_there_is_named(answered: Answered) -> None:
    with pytest.raises(NearnormError, match="none of the newest messages has an answer there"):
        replayed(answered, answers="empty")
    with pytest.raises(NearnormError, match="no topic 'nowhere'"):
        replayed(answered, answers="nowhere")
