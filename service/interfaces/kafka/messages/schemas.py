"""A schema registry's wire format: a zero byte, four bytes of a schema's id, then JSON or Avro by it.

The registry is asked once for every id. While it does not answer, the topic waits: what nobody can read yet
is no mistake of its sender's.
"""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeVar

import fastavro
import httpx

from nearnorm.service.background import Background
from nearnorm.service.errors import InvalidRequest, MalformedBody

T = TypeVar("T")

MAGIC = b"\0"
ASKING = "asking the schema registry"
RETRY_SECONDS = 1.0
_HEAD = 5
_SECONDS = 10.0
_ACCEPT = {"accept": "application/vnd.schemaregistry.v1+json, application/json"}

Held = bytes | dict[str, Any] | None
"""What a message holds: text or an Arrow stream, or the record that Avro made of it."""
Reader = Callable[[bytes], Any]


class RegistryUnavailable(Exception):
    """The registry does not answer now."""


async def when_it_answers(background: Background, ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` finds once the registry answers; until then `background` tells that it does not."""
    while True:
        try:
            found = await ask()
        except RegistryUnavailable as error:
            background.waits(ASKING, str(error))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            background.works(ASKING)
            return found


class Schemas:
    """What the registry at `url` knows; None: there is none."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=_SECONDS) if url else None
        self._readers: dict[int, Reader] = {}

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def opened(self, message: bytes | None) -> Held:
        """What is in the wire format, else the message as it is. Raises as `value` does."""
        if message is None or not message.startswith(MAGIC):
            return message
        found: Held = await self.value(message)
        return found

    async def value(self, message: bytes) -> Any:  # noqa: ANN401 - whatever the schema says
        """JSON as bytes, Avro as what it says. Raises MalformedBody, InvalidRequest, RegistryUnavailable."""
        if self._client is None:
            raise InvalidRequest(
                "the message is in a schema registry's wire format: set NEARNORM_SCHEMA_REGISTRY"
            )
        if len(message) < _HEAD:
            raise MalformedBody("the message ends within its schema's id")
        number = int.from_bytes(message[1:_HEAD])
        read = self._readers.get(number)
        if read is None:
            read = self._readers[number] = await self._reader(number)
        try:
            return read(message[_HEAD:])
        except Exception as error:  # of many kinds, by what the bytes are taken for
            detail = str(error) or type(error).__name__
            raise MalformedBody(f"the message is not by its schema {number}: {detail}") from None

    async def _reader(self, number: int) -> Reader:
        found = await self._ask(number)
        kind = found.get("schemaType", "AVRO")
        if kind == "JSON":
            return bytes
        if kind != "AVRO":
            raise InvalidRequest(f"schema {number} is of the type {kind}: send JSON or Avro")
        if found.get("references"):
            raise InvalidRequest(f"schema {number} refers to others: register it as one")
        return _avro(json.loads(found["schema"]))

    async def _ask(self, number: int) -> dict[str, Any]:
        assert self._client is not None  # noqa: S101 - `value` has looked
        address = f"{str(self._url).rstrip('/')}/schemas/ids/{number}"
        try:
            answer = await self._client.get(address, headers=_ACCEPT)
        except httpx.HTTPError as error:
            raise RegistryUnavailable(f"the schema registry does not answer: {error}") from None
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise InvalidRequest(f"the schema registry knows no schema {number}")
        if answer.status_code != httpx.codes.OK:
            raise RegistryUnavailable(f"the schema registry answers {answer.status_code}")
        found: dict[str, Any] = answer.json()
        return found


def _avro(schema: str | dict[str, Any]) -> Reader:
    parsed = fastavro.parse_schema(schema)

    def read(payload: bytes) -> object:
        stream = io.BytesIO(payload)
        found = fastavro.schemaless_reader(stream, parsed)
        if stream.read(1):
            raise ValueError("bytes are left over")
        if not isinstance(found, dict):
            raise ValueError("it holds no record")
        return {name: _plain(value) for name, value in found.items()}

    return read


def _plain(value: object) -> object:
    """As JSON would say it."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value
