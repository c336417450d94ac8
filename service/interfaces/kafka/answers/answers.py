"""Scores -> answers to messages: each carries topic, partition and offset, and an event_id made of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

import msgspec
from aiokafka import ConsumerRecord
from msgspec import Struct

from nearnorm.service.errors import TYPE_PREFIX, BodyTooLarge, ServiceError
from nearnorm.service.http.body import ARROW
from nearnorm.service.interfaces.kafka.messages.groups import MessageGroup
from nearnorm.service.interfaces.kafka.messages.names import row_name
from nearnorm.service.records.shapes import RowProblem
from nearnorm.service.scoring.answer_parts import Remembered
from nearnorm.service.scoring.json_answer import result_lines
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.results import Scores

Headers = list[tuple[str, bytes]]
Outcome = Literal["answered", "refused", "dead_letter"]
EVENT_ID = "event_id"
MOST_ANSWER_BYTES = 1_000_000
"""Brokers take a mebibyte in one message, unless they are told otherwise."""
_KEPT = b'"kept":true,'
"""That people can look at it, and label it by its event_id."""
_json = msgspec.json.Encoder().encode


class TopicAnswer(Struct, eq=False):
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
    written = (
        _as_arrow(facts, group, scores, noted)
        if group.is_arrow
        else _as_json(facts, group, scores, noted, refuse)
    )
    for answer in written:
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
    topic, model = group.messages[0].record.topic.encode(), _json(facts.ref)
    for message, place in zip(group.messages, group.starts, strict=False):
        record = message.record
        if place in errors and not message.many:
            yield refuse(record, errors[place])
            continue
        name = b"%b:%d:%d" % (topic, record.partition, record.offset)
        if message.many:
            span = range(place, place + message.count)
            marks = [mark - place for mark in kept if mark in span] if kept else []
            said = b'"results":[%b]}' % _rows(name, lines[place : span.stop], marks)
        else:
            said = b"%b%b" % (_KEPT, lines[place][1:]) if place in kept else lines[place][1:]
        value = b'{"topic":"%b","partition":%d,"offset":%d,"event_id":"%b","model":%b,%b' % (
            topic,
            record.partition,
            record.offset,
            name,
            model,
            said,
        )
        yield TopicAnswer(record, value, [(EVENT_ID, name)])


def _rows(name: bytes, lines: Sequence[bytes], kept: Iterable[int]) -> bytes:
    """Results with their event_id, and commas between them: joined at once, a quarter of the time that
    writing each takes. `kept` are rows."""
    pieces = [b',{"event_id":"%b:' % name] * (3 * len(lines))
    pieces[1::3] = _numbers(len(lines))
    pieces[2::3] = [line[1:] for line in lines]
    for row in kept:
        pieces[3 * row + 1] += _KEPT
    return b"".join(pieces)[1:]


@lru_cache(64)
def _numbers(count: int) -> list[bytes]:
    """How the event_ids of so many rows end; messages mostly have as many as the last."""
    return [b'%d",' % number for number in range(count)]


def _as_arrow(
    facts: ModelFacts, group: MessageGroup, scores: Scores | None, noted: Remembered
) -> Iterator[TopicAnswer]:
    """As /score answers a stream; what tells where it came from stands in the headers."""
    from nearnorm.service.scoring.arrow import answer_rows, as_stream

    names = [message.name for message in group.messages]
    every = [
        row_name(name, row)
        for message, name in zip(group.messages, names, strict=True)
        for row in range(message.count)
    ]
    named = {row: every[place] for row, place in enumerate(group.encoded.places())}
    rows = answer_rows(facts, group.encoded, scores, Remembered(named, noted.matched), None)
    for message, name, start in zip(group.messages, names, group.starts, strict=False):
        record = message.record
        headers: Headers = [
            (EVENT_ID, name.encode()),
            ("topic", record.topic.encode()),
            ("partition", b"%d" % record.partition),
            ("offset", b"%d" % record.offset),
            ("content-type", ARROW),
        ]
        value = as_stream(rows.slice(start, message.count))
        yield TopicAnswer(record, value, headers)
