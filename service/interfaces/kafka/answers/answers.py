"""Scores -> answers to messages: each carries topic, partition and offset, and an event_id made of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec
from aiokafka import ConsumerRecord

from nearnorm.service.errors import TYPE_PREFIX, BodyTooLarge, ServiceError
from nearnorm.service.http.body import ARROW
from nearnorm.service.interfaces.kafka.messages.groups import MessageGroup
from nearnorm.service.interfaces.kafka.messages.messages import MessageRows
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
    model = _json(facts.ref)
    for message, span in group.spans():
        place = span.start
        if message.many:
            marks = [place - span.start for place in kept if span.start <= place < span.stop] if kept else []
            value = b'%b"results":[%b]}' % (_head(message, model), _rows(message, lines[span], marks))
        elif place in errors:
            yield refuse(message.record, errors[place])
            continue
        else:
            value = b"%b%b%b" % (_head(message, model), _kept(place in kept), lines[place][1:])
        yield TopicAnswer(message.record, value, [(EVENT_ID, message.name.encode())])


def _rows(message: MessageRows, lines: Sequence[bytes], kept: Iterable[int]) -> bytes:
    """Results with their event_id, and commas between them: joined at once, a quarter of the time that
    writing each takes. `kept` are rows."""
    pieces = [b',{"event_id":"%b:' % message.name.encode()] * (3 * len(lines))
    pieces[1::3] = _numbers(len(lines))
    pieces[2::3] = [line[1:] for line in lines]
    for row in kept:
        pieces[3 * row + 1] += _kept(True)
    return b"".join(pieces)[1:]


@lru_cache(64)
def _numbers(count: int) -> list[bytes]:
    """How the event_ids of so many rows end; messages mostly have as many as the last."""
    return [b'%d",' % number for number in range(count)]


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
) -> Iterator[TopicAnswer]:
    """As /score answers a stream; what tells where it came from stands in the headers."""
    from nearnorm.service.scoring.arrow import answer_rows, as_stream

    names, places = group.event_ids, group.encoded.places()
    named = {row: names.of(place) for row, place in enumerate(places)}
    rows = answer_rows(facts, group.encoded, scores, Remembered(named, noted.matched), None)
    for message, span in group.spans():
        record = message.record
        headers: Headers = [
            (EVENT_ID, message.name.encode()),
            ("topic", record.topic.encode()),
            ("partition", b"%d" % record.partition),
            ("offset", b"%d" % record.offset),
            ("content-type", ARROW),
        ]
        value = as_stream(rows.slice(span.start, span.stop - span.start))
        yield TopicAnswer(record, value, headers)
