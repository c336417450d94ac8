"""Verdicts by a topic, on a replica without brokers."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.errors import ServiceError
from nearnorm.service.interfaces.kafka.messages.schemas import Schemas
from nearnorm.service.interfaces.kafka.meters import StreamMeters
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.interfaces.kafka.verdicts import TopicVerdicts, as_request, decoded
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.replica import Replica
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD
from tests.service.running import home_with


@pytest.fixture
def settings(tmp_path: Path, bundle: Bundle) -> Settings:
    return Settings(home=home_with(tmp_path, bundle))


OPTIONS = StreamOptions("nobody:9092", "records", "answers", verdicts="verdicts")


NOBODY: Any = None
"""No producer: what is refused goes to the log alone."""


def message(document: Any, offset: int = 0, seconds_ago: float = 60.0) -> ConsumerRecord:
    at = round((time.time() - seconds_ago) * 1000)
    return ConsumerRecord("verdicts", 0, offset, at, 0, None, json.dumps(document).encode(), None, 0, 0, ())


def taking(settings: Settings, *messages: ConsumerRecord) -> tuple[StreamMeters, int]:
    """The meters after so many messages, and how many labels the ledger has then."""
    meters = StreamMeters()

    async def take() -> int:
        replica = Replica(settings)
        async with replica.running(is_listening=False):
            verdicts = TopicVerdicts(replica, OPTIONS, Schemas(None), meters)
            for one in messages:
                assert await verdicts.is_done_with(one, NOBODY, lambda: True)
            with replica.services.ledger.read() as connection:
                return len(labels.newest(connection, "default", None, None, 100, None))

    return meters, asyncio.run(take())


LABEL = {"record": RECORD, "label": "anomaly", "analyst": "mei"}


def test_a_verdict_that_is_read_twice_is_stored_once(settings: Settings) -> None:
    sent = message(LABEL)
    meters, stored = taking(settings, sent, sent)
    assert stored == 1
    assert meters.verdicts == {"stored": 2, "refused": 0}


def test_a_topic_that_was_made_anew_has_verdicts_of_its_own(settings: Settings) -> None:
    _, stored = taking(settings, message(LABEL), message(LABEL, seconds_ago=30.0))
    assert stored == 2


def test_a_whole_body_of_feedback_is_a_verdict_too(settings: Settings) -> None:
    other = LABEL | {"analyst": "kim"}
    _, stored = taking(settings, message({"labels": [LABEL, other]}))
    assert stored == 2


def test_one_that_names_no_kept_event_is_refused_once_the_event_would_be_there(settings: Settings) -> None:
    meters, stored = taking(settings, message({"event_id": "records:0:9", "label": "normal"}))
    assert (meters.verdicts["refused"], stored) == (1, 0)


def test_what_is_no_verdict_is_refused_with_a_reason() -> None:
    with pytest.raises(ServiceError, match="no JSON"):
        decoded(b"{")
    with pytest.raises(ServiceError, match="one label as an object"):
        as_request([1], "default")
    with pytest.raises(ServiceError, match="preview"):
        as_request({"labels": [], "preview": True}, "default")


def test_labels_are_of_the_streamers_model_unless_they_say_otherwise() -> None:
    assert json.loads(as_request({"label": "normal"}, "cards"))["model"] == "cards"
    assert json.loads(as_request({"labels": [], "model": "other"}, "cards"))["model"] == "other"
