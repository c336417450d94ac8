"""POST /score: one raw ASGI endpoint in front of the routes, because it is the hot one.

It shares errors, metrics and models with every other route, and decodes, scores and answers with
nothing in between.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from msgspec import UnsetType
from starlette.types import Receive, Scope, Send

from service.answers import answered
from service.batcher import overloaded
from service.bodies import ARROW, JSON, ClientGoneError, kind_of, read_body
from service.desk import NOTHING, Desk, Noted
from service.encode import Encoded
from service.errors import (
    InternalError,
    MethodNotAllowed,
    ServiceError,
    UnsupportedMedia,
    problem_response,
    raw_response,
)
from service.logs import log
from service.metrics import Metrics
from service.quotas import Meter
from service.requests import SERVED, request_ids
from service.scores import Scores, joined
from service.settings import Settings
from service.slots import BATCH_ROWS, LoadedModel, Slots
from service.wire import Envelope, Id

PATH = "/score"


_TURNED_AWAY = raw_response(overloaded())


class ScoreEndpoint:
    """Answers what is sent to /score. It shares everything with the routes, except their way to here."""

    def __init__(self, slots: Slots, desk: Desk, settings: Settings, metrics: Metrics) -> None:
        self._slots = slots
        self._desk = desk
        self._max_body = settings.max_body_bytes
        self._max_rows = settings.max_rows
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        try:
            content, payload = await self._answer(scope, receive)
            status, headers = 200, [(b"content-type", content)]
        except ServiceError as error:
            if error.__cause__ is not None:
                log.error("batch failed", exc_info=error.__cause__, **request_ids(scope["headers"]))
            status, headers, payload = problem_response(error)
        except ClientGoneError:
            return
        except Exception as error:
            log.error("request failed", path=PATH, exc_info=error, **request_ids(scope["headers"]))
            status, headers, payload = problem_response(InternalError("see the service's log"))
        headers.append((b"content-length", b"%d" % len(payload)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})
        self._metrics.request(scope["method"], PATH, status, time.perf_counter() - started)

    def turned_away(self, target: bytes) -> bytes | None:
        """The answer to a request before it is read, while the queues are full.

        With three times what can be scored, a third of the time went into reading what is refused.
        """
        if not self._slots.shut or target.partition(b"?")[0] != PATH.encode():
            return None
        self._metrics.request("POST", PATH, 429, 0.0)
        return _TURNED_AWAY

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        if scope["method"] != "POST":
            raise MethodNotAllowed("this route answers POST", headers={"Allow": "POST"})
        meter, most = self._desk.keyring.admit(scope["headers"], "score").meter, self._max_body
        if meter is not None:
            meter.rows(0)  # who is over it already is told so before anything is read
            most = meter.body_bytes(most)
        kind = kind_of(scope["headers"], most)
        if self._slots.shut:
            raise overloaded()  # before the body is read: what is refused must cost little
        body = await read_body(receive, kind, most)
        if kind.content == ARROW:
            return await self._answer_arrow(scope, body, receive, meter)
        model, request = self._decode(body)
        encoded = model.encoder.encode(request)
        if meter is not None:
            meter.rows(encoded.count)
        ids = None if isinstance(request.ids, UnsetType) else request.ids
        scores, noted = await self._score(model, encoded, ids, receive)
        scope[SERVED] = model.ref.version, noted.event_ids.values()
        return JSON, answered(model, request, encoded, scores, noted)

    async def _answer_arrow(
        self, scope: Scope, body: bytes, receive: Receive, meter: Meter | None
    ) -> tuple[bytes, bytes]:
        try:
            from service import arrow
        except ModuleNotFoundError:
            raise UnsupportedMedia("Arrow is not read here: install the extra arrow") from None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("model")
        model = self._slots.get(asked[-1]) if asked else self._slots.first()
        encoded = arrow.read(body, model.encoder.schema, self._max_rows)
        if meter is not None:
            meter.rows(encoded.count)
        scores, noted = await self._score(model, encoded, None, receive)
        scope[SERVED] = model.ref.version, noted.event_ids.values()
        return ARROW, arrow.write(model, encoded, scores, noted)

    async def _score(
        self, model: LoadedModel, encoded: Encoded, ids: list[Id] | None, receive: Receive
    ) -> tuple[Scores | None, Noted]:
        model.meter.row_errors += len(encoded.errors)
        if not len(encoded.rows):
            return None, NOTHING
        waiting = model.batcher.submit(encoded.rows)
        if model.batcher.rows > BATCH_ROWS:  # it will take a while: look whether anybody still listens
            await _unless_gone(waiting, receive)
        parts = await waiting
        scores = parts[0] if len(parts) == 1 else joined(encoded.rows, parts)
        noted = self._desk.note(model, encoded, scores, ids)
        _tell_drift(model, parts, noted.event_ids)
        return scores, noted

    def _decode(self, body: bytes) -> tuple[LoadedModel, Envelope]:
        """The request by the schema of the model that it names."""
        model = self._slots.first()
        request = model.encoder.decode(body)
        if request.model != model.ref.name:
            model = self._slots.get(request.model)
            request = model.encoder.decode(body)
        return model, request


def _tell_drift(model: LoadedModel, parts: Sequence[Scores], event_ids: Mapping[int, str]) -> None:
    """Batches that nobody has shown to drift yet, and which events of them are kept, by row."""
    first = 0
    for part in parts:
        if not part.batch.watched:
            model.watch(part.batch)
        for index, event_id in event_ids.items():
            if first <= index < first + len(part):
                part.batch.event_ids[part.start + index - first] = event_id
        first += len(part)


async def _unless_gone(waiting: "asyncio.Future[list[Scores]]", receive: Receive) -> None:
    """Return when the answer is there; raise ClientGoneError, and take the request back, when nobody is."""
    gone = asyncio.ensure_future(receive())
    both: set[asyncio.Future[Any]] = {waiting, gone}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise ClientGoneError
    finally:
        gone.cancel()
