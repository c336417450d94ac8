"""What becomes of a message that cannot be scored: a dead letter, or an answer that says why."""

import msgspec
from aiokafka import ConsumerRecord

from nearnorm.service.interfaces.kafka.answers.answers import EVENT_ID, TopicAnswer
from nearnorm.service.interfaces.kafka.messages.names import message_name
from nearnorm.service.records.shapes import RowProblem

_json = msgspec.json.Encoder().encode


def dead_letter(record: ConsumerRecord, problem: RowProblem) -> TopicAnswer:
    """The message as it was, its key and its value, so that it can be sent again; `problem` and where it came
    from stand in the headers."""
    name = message_name(record.topic, record.partition, record.offset)
    headers = [
        *record.headers,
        (EVENT_ID, name.encode()),
        ("topic", record.topic.encode()),
        ("partition", b"%d" % record.partition),
        ("offset", b"%d" % record.offset),
        ("problem", _json(problem)),
    ]
    return TopicAnswer(record, record.value, headers, "dead_letter")


def error_answer(record: ConsumerRecord, problem: RowProblem) -> TopicAnswer:
    """On the topic of answers, where nobody takes dead letters."""
    name = message_name(record.topic, record.partition, record.offset)
    said = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "event_id": name,
        "error": problem,
    }
    return TopicAnswer(record, _json(said), [(EVENT_ID, name.encode())], "refused")
