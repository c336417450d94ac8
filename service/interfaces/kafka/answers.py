"""Scores -> answers to messages: each carries topic, partition and offset, and an event_id made of them."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import msgspec
from aiokafka import ConsumerRecord

from nearnorm.service.errors import TYPE_PREFIX, BodyTooLarge, ServiceError
from nearnorm.service.http.body import ARROW
from nearnorm.service.interfaces.kafka.groups import MessageGroup
from nearnorm.service.interfaces.kafka.messages import MessageRows
from nearnorm.service.records.shapes import Envelope, RowProblem
from nearnorm.service.scoring.answer_parts import Remembered
from nearnorm.service.scoring.codec import ARROW_CODEC, import_codec
from nearnorm.service.scoring.json_answer import result_lines
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.results import Scores

Headers = list[tuple[str, bytes]]
Outcome = Literal["answered", "refused", "dead_letter"]
EVENT_ID = "event_id"
MOST_ANSWER_BYTES = 1_000_000
"""Brokers take a mebibyte in one message, unless they are told otherwise."""
_json = msgspec.json.Encoder().encode


class TopicAnswer(NamedTuple):
    """What is written for a message: on the topic of answers, or as a dead letter."""

    record: ConsumerRecord
    value: bytes | None
    headers: Headers
    outcome: Outcome = "answered"


Refuse = Callable[[ConsumerRecord, RowProblem], TopicAnswer]
"""What becomes of a message that cannot be answered."""


def answers(
    facts: ModelFacts, group: MessageGroup, scores: Scores | None, noted: Remembered, refuse: Refuse
) -> Iterator[TopicAnswer]:
    """In the order of the group's messages. A lone record with a mistake is refused, and so is a message
    whose answer would be too large; among several records a mistake is its row's own `error`."""
    written = [_as_arrow(facts, group, scores, noted)] if group.is_arrow else None
    for answer in written or _as_json(facts, group, scores, noted, refuse):
        size = len(answer.value or b"")
        if size > MOST_ANSWER_BYTES and answer.outcome == "answered":
            problem = BodyTooLarge(
                f"the answer has {size:,} bytes, and {MOST_ANSWER_BYTES:,} go into a message: send fewer rows"
            )
            yield refuse(answer.record, told(problem))
        else:
            yield answer


def told(error: ServiceError) -> RowProblem:
    """An error as a row's problem."""
    return RowProblem(TYPE_PREFIX + error.name, error.title, error.detail, error.field)


def _as_json(
    facts: ModelFacts, group: MessageGroup, scores: Scores | None, noted: Remembered, refuse: Refuse
) -> Iterator[TopicAnswer]:
    places, errors = group.encoded.places(), group.encoded.errors
    kept = {places[index] for index in noted.event_ids}
    lines = result_lines(facts, group.encoded, scores, Remembered({}, noted.matched))
    model = _json(facts.ref)
    for message, span in group.spans():
        place = span.start
        if message.many:
            rows = [
                b'{"event_id":"%b",%b%b' % (group.event_ids[i].encode(), _kept(i in kept), lines[i][1:])
                for i in range(span.start, span.stop)
            ]
            value = b'%b"results":[%b]}' % (_head(message, model), b",".join(rows))
        elif place in errors:
            yield refuse(message.record, errors[place])
            continue
        else:
            value = b"%b%b%b" % (_head(message, model), _kept(place in kept), lines[place][1:])
        yield TopicAnswer(message.record, value, [(EVENT_ID, message.name.encode())])


def _kept(is_kept: bool) -> bytes:
    """That people can look at it, and label it by its event_id."""
    return b'"kept":true,' if is_kept else b""


def _head(message: MessageRows, model: bytes) -> bytes:
    record = message.record
    return b'{"topic":"%b","partition":%d,"offset":%d,"event_id":"%b","model":%b,' % (
        record.topic.encode(),
        record.partition,
        record.offset,
        message.name.encode(),
        model,
    )


def _as_arrow(
    facts: ModelFacts, group: MessageGroup, scores: Scores | None, noted: Remembered
) -> TopicAnswer:
    """As /score answers a stream; what tells where it came from stands in the headers."""
    codec, places = import_codec(ARROW_CODEC), group.encoded.places()
    named = dict(enumerate(group.event_ids[place] for place in places))
    value = codec.write(facts, Envelope(), group.encoded, scores, Remembered(named, noted.matched), None)
    message = group.messages[0]
    record = message.record
    headers: Headers = [
        (EVENT_ID, message.name.encode()),
        ("topic", record.topic.encode()),
        ("partition", b"%d" % record.partition),
        ("offset", b"%d" % record.offset),
        ("content-type", ARROW),
    ]
    return TopicAnswer(record, value, headers)
