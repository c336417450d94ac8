"""POST /score: one raw ASGI endpoint in front of the routes, because it is the hot one.

It shares errors, metrics and models with every other route, and decodes, scores and answers with
nothing in between.
"""

import time

import msgspec
from msgspec import UnsetType
from starlette.types import Message, Receive, Scope, Send

from service.answers import answer
from service.desk import NOTHING, Desk
from service.errors import (
    PROBLEM,
    BodyTooLarge,
    InternalError,
    MethodNotAllowed,
    ServiceError,
    UnsupportedMedia,
    problem_body,
)
from service.logs import log
from service.metrics import Metrics
from service.settings import Settings
from service.slots import LoadedModel, Scores, Slots, joined
from service.wire import Envelope

PATH = "/score"
JSON = b"application/json"
_encode = msgspec.json.Encoder().encode


class ClientGoneError(Exception):
    """The client hung up before its request was whole."""


class ScoreEndpoint:
    """Answers what is sent to /score. It shares everything with the routes, except their way to here."""

    def __init__(self, slots: Slots, desk: Desk, settings: Settings, metrics: Metrics) -> None:
        self._slots = slots
        self._desk = desk
        self._max_body = settings.max_body_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status, headers = 200, [(b"content-type", JSON)]
        try:
            payload = await self._answer(scope, receive)
        except ServiceError as error:
            if error.__cause__ is not None:
                log.error("batch failed", exc_info=error.__cause__)
            status, headers, payload = problem_response(error)
        except ClientGoneError:
            return
        except Exception as error:
            log.error("request failed", path=PATH, exc_info=error)
            status, headers, payload = problem_response(InternalError("see the service's log"))
        headers.append((b"content-length", b"%d" % len(payload)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})
        self._metrics.request(scope["method"], PATH, status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        if scope["method"] != "POST":
            raise MethodNotAllowed("this route answers POST", headers={"Allow": "POST"})
        _check_headers(scope["headers"], self._max_body)
        self._desk.keyring.admit(scope["headers"], "score")
        message = await receive()
        body = message.get("body", b"")
        if message.get("more_body") or message["type"] == "http.disconnect":
            body = await _whole(message, receive, self._max_body)
        elif len(body) > self._max_body:
            raise _too_large(self._max_body)
        model, request = self._decode(body)
        encoded = model.encoder.encode(request)
        scores: Scores | None = None
        if len(encoded.rows):
            parts = await model.batcher.submit(encoded.rows)
            scores = parts[0] if len(parts) == 1 else joined(parts)
        model.meter.row_errors += len(encoded.errors)
        ids = None if isinstance(request.ids, UnsetType) else request.ids
        noted = self._desk.note(model, encoded, scores, ids) if scores else NOTHING
        if scores and model.watched.take(len(encoded.rows), time.monotonic()):
            model.drift.observe(encoded.rows, scores.outputs, scores.start, noted.event_ids)
        return _encode(answer(model, request, encoded, scores, noted))

    def _decode(self, body: bytes) -> tuple[LoadedModel, Envelope]:
        """The request by the schema of the model that it names."""
        model = self._slots.first()
        request = model.encoder.decode(body)
        if request.model != model.ref.name:
            model = self._slots.get(request.model)
            request = model.encoder.decode(body)
        return model, request


def problem_response(error: ServiceError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body that tell of an error."""
    headers = [(b"content-type", PROBLEM.encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return error.status, headers, problem_body(error)


def _check_headers(headers: list[tuple[bytes, bytes]], max_body: int) -> None:
    kind = JSON
    for name, value in headers:
        if name == b"content-type":
            kind = value
        elif name == b"content-length" and int(value) > max_body:
            raise _too_large(max_body)
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise UnsupportedMedia(f"content encoding {value.decode('latin-1')!r} is not read: send it plain")
    if kind != JSON and kind.partition(b";")[0].strip().lower() != JSON:
        raise UnsupportedMedia(f"content type {kind.decode('latin-1')!r} is not read: send application/json")


async def _whole(message: Message, receive: Receive, max_body: int) -> bytes:
    """The body that begins with `message`. Raises BodyTooLarge as soon as it is known."""
    chunks, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if size > max_body:
            raise _too_large(max_body)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


def _too_large(max_body: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is larger than {max_body} bytes: send fewer rows a request",
        headers={"Connection": "close"},
    )
