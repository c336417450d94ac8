"""What a message holds, read without a broker."""

import asyncio
import json
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from nearnorm.service.errors import ServiceError
from nearnorm.service.interfaces.kafka.messages.groups import grouped
from nearnorm.service.interfaces.kafka.messages.messages import MessageRows, read
from nearnorm.service.interfaces.kafka.messages.schemas import Schemas
from nearnorm.service.records.encoder import Encoder
from tests.service.asking import RECORD
from tests.service.bundles import PAYMENTS

ENCODER = Encoder(PAYMENTS, 100)


def record(value: bytes | None, key: bytes | None = None, offset: int = 7) -> ConsumerRecord:
    return ConsumerRecord("records", 2, offset, 1_700_000_000_000, 0, key, value, None, 0, 0, ())


def rows(value: bytes | dict[str, Any] | None, key: bytes | None = None) -> MessageRows:
    return read(record(None, key), value, ENCODER)


def as_json(**changed: Any) -> bytes:
    return json.dumps(RECORD | changed).encode()


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (None, "malformed-body", "no value"),
        (b"", "malformed-body", "no value"),
        (b"{not json", "malformed-body", "no JSON"),
        (as_json() + b"," + as_json(), "malformed-body", "no JSON"),
        (as_json() + b"\n{", "malformed-body", "no JSON"),
        (b"\n".join([as_json()] * 101), "too-many-rows", "100 are allowed"),
        (b"\xff\xff\xff\xffnothing", "malformed-body", "no Arrow stream"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(value: bytes | None, kind: str, says: str) -> None:
    with pytest.raises(ServiceError, match=says) as refused:
        rows(value)
    assert refused.value.name == kind


def test_a_registrys_wire_format_is_refused_where_there_is_no_registry() -> None:
    with pytest.raises(ServiceError, match="NEARNORM_SCHEMA_REGISTRY"):
        asyncio.run(Schemas(None).opened(b"\0\0\0\0\1[]"))


@pytest.mark.parametrize("held", [as_json(), RECORD], ids=["JSON", "what Avro says"])
def test_a_key_that_is_too_long_for_an_id_is_refused(held: bytes | dict[str, Any]) -> None:
    with pytest.raises(ServiceError, match="the key has 201 characters"):
        rows(held, b"k" * 201)


def test_a_key_that_is_no_text_is_the_id_in_hexadecimal_digits() -> None:
    assert rows(as_json(), b"\xff\x00").id == "ff00"


def test_a_record_may_be_spread_over_lines() -> None:
    found = rows(json.dumps(RECORD, indent=2).encode())
    assert (found.many, found.count, found.name) == (False, 1, "records:2:7")


def test_rows_of_one_kind_are_read_together_and_keep_their_message() -> None:
    typed, loose = rows(as_json(), b"a"), rows(as_json(amount="61.5"), b"b")
    lines = rows(as_json() + b"\n" + as_json(amount=7.0))
    groups = grouped([typed, loose, lines], ENCODER)
    assert [group.encoded.count for group in groups] == [3, 1]
    assert [groups[0].event_id(n) for n in range(3)] == ["records:2:7", "records:2:7:0", "records:2:7:1"]
    assert groups[0].encoded.ids == ["a", None, None]
    assert [(message.many, message.count) for message in groups[0].messages] == [(False, 1), (True, 2)]
    assert groups[0].starts == [0, 1, 3]


def test_more_rows_than_a_request_may_have_are_read_message_by_message() -> None:
    large = rows(b"\n".join([as_json()] * 60))
    assert [group.encoded.count for group in grouped([large, large], ENCODER)] == [60, 60]


def test_two_messages_of_the_same_key_are_two_records() -> None:
    [group] = grouped([rows(as_json(), b"a"), rows(as_json(), b"a")], ENCODER)
    assert group.encoded.ids == ["a", "a"]
