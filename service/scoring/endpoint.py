"""POST /score: one endpoint in front of the routes, because it is the hot one.

It shares errors, metrics and models with every other route, and decodes, scores and answers with nothing
in between. It is reached as an ASGI application, and without ASGI by `visit` (see http/fast_path): the same
steps, once awaited and once called back.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import msgspec
from msgspec import Struct, UnsetType
from msgspec.structs import astuple
from starlette.types import Receive, Scope, Send

from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.access.keyring import Caller, Keyring
from nearnorm.service.background import Background
from nearnorm.service.errors import (
    ColdModel,
    InternalError,
    MethodNotAllowed,
    ServiceError,
    UnknownModel,
    problem_response,
    raw_response,
)
from nearnorm.service.http.body import (
    ARROW,
    JSON,
    NDJSON,
    ClientGoneError,
    Headers,
    check_size,
    kind_of,
    read_body,
    size_of_body,
)
from nearnorm.service.http.connection.fast_path import Reply
from nearnorm.service.http.middleware.cross_site import CrossSiteRules
from nearnorm.service.http.middleware.query import flag, query_of
from nearnorm.service.http.middleware.request_log import SERVED, request_ids
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.logs import log
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.records import lines
from nearnorm.service.records.columns import ColumnRequest
from nearnorm.service.records.encoded import Encoded, Rows
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.scoring import json_lines
from nearnorm.service.scoring.answer_parts import Reasons
from nearnorm.service.scoring.bulk.lane import BulkLane
from nearnorm.service.scoring.bulk.requests import Body, BulkAnswer, BulkRequests
from nearnorm.service.scoring.codec import ARROW_CODEC, LINES_CODEC, BodyOptions, Codec, Write, import_codec
from nearnorm.service.scoring.explain import Explanation
from nearnorm.service.scoring.json_answer import answered
from nearnorm.service.scoring.lanes import Lanes, line_in
from nearnorm.service.scoring.remember import Memory
from nearnorm.service.scoring.rows import counted, explained, remembered, scored_rows, whole
from nearnorm.service.serving.batcher import Entry, overloaded
from nearnorm.service.serving.explaining import ScoredRows
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import Registry
from nearnorm.service.serving.results import Scores
from nearnorm.service.settings import Settings
from nearnorm.service.verdict.reasons import Explained

PATH = "/score"
INLINE_BYTES = 2**18
"""Largest body of JSON that is read in the event loop, where its rows are typed."""
INLINE_LOOSE_BYTES = 2**16
"""The same where they are not: that takes ten times as long."""
INLINE_ARROW_BYTES = 2**17
INLINE_ROWS = 2_000
"""Rows up to which a JSON body is read and its answer written in the event loop."""
INLINE_LOOSE_ROWS = 500
"""The same of records that are not typed, and of JSON lines: one takes five microseconds, however short."""
_NAMING = b'"model"'
_ENDS = 200
"""Bytes at both ends of a body in which a model's name is looked for before it is read: to look through 14 kB
takes 25 microseconds, and who names one does so before or behind the rows."""
_OVERLOADED = raw_response(overloaded())


class _Named(Struct):
    """All that is read of a body, to know by whose schema it is to be read."""

    model: str = DEFAULT_MODEL


_read_name = msgspec.json.Decoder(_Named).decode


class Asked(Struct, eq=False):
    """What a JSON body asks for."""

    model: LoadedModel
    request: Envelope
    encoded: Encoded
    caller: str


class ScoreEndpoint:
    """Answers what is sent to /score. It shares everything with the routes, except their way to here."""

    path = PATH.encode()

    def __init__(
        self,
        registry: Registry,
        keyring: Keyring,
        rules: CrossSiteRules,
        memory: Memory,
        settings: Settings,
        metrics: Metrics,
        background: Background,
    ) -> None:
        self._registry = registry
        self._keyring = keyring
        self._rules = rules
        self.check_site = rules.check_plain  # of the fast path; `_answer` checks what comes by ASGI
        self._memory = memory
        self._max_body = settings.max_body_bytes
        self._metrics = metrics
        self._arrow: Codec | None = None  # imported with the first stream
        self.lanes = Lanes()
        self.lane = BulkLane(background)
        self.bulk = BulkRequests(registry, memory, self.lane)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        try:
            content, payload = await self._answer(scope, receive)
            status, headers = 200, [(b"content-type", content)]
            if content == NDJSON:  # its lines are rows' alone
                headers.append((b"nearnorm-model-version", scope[SERVED][0].encode()))
        except ClientGoneError:
            return
        except Exception as error:
            status, headers, payload = _error_answer(error, scope["headers"])
        headers.append((b"content-length", b"%d" % len(payload)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})
        self._metrics.request(scope["method"], PATH, status, time.perf_counter() - started)

    def visit(self, headers: Headers, size: int, reply: Reply) -> "DirectScore":
        """A request that comes without ASGI: a POST of `size` bytes of JSON."""
        return DirectScore(self, headers, size, reply)

    @property
    def is_full(self) -> bool:
        """The queues are: requests are refused before they are read.

        With three times what can be scored, a third of the time went into reading what is refused.
        """
        return self._registry.is_full

    def lets_in(self, headers: Headers) -> bool:
        """Whether the queues, though they are full, take one more of whoever sends these headers."""
        caller = self._keyring.known(headers)
        return caller is not None and not self._registry.is_full_for(caller)

    def refuse_unread(self) -> bytes:
        """The answer to one that is not read; it is counted."""
        self.count(429, 0.0)
        return _OVERLOADED

    def count(self, status: int, seconds: float) -> None:
        self._metrics.request("POST", PATH, status, seconds)

    def admit(self, headers: Headers) -> tuple[Caller, int]:
        """Who sends it, and how large a body he may send."""
        caller, most = self._keyring.admit(headers, "score"), self._max_body
        if caller.meter is not None:
            caller.meter.rows(0)  # who is over it already is refused before anything is read
            most = caller.meter.body_bytes(most)
        return caller, most

    def capacity(self) -> int:
        """How many more requests there is room for now."""
        return self._registry.capacity

    def check_room(self, caller: str) -> None:
        """Raises Overloaded before the body is read: what is refused must cost little."""
        if self._registry.is_full_for(caller):
            raise overloaded()

    def decode(
        self, body: bytes, lines: SeenLines, likely: LoadedModel | None = None
    ) -> tuple[LoadedModel, Envelope]:
        """The request by the schema of the model that it names, one that is seen, and that model; `likely` is
        tried first.

        Raises ColdModel where it is not in memory."""
        named = _NAMING in body[:_ENDS] or _NAMING in body[-_ENDS:]
        model = likely or (self._named(body, lines) if named else self._registry.first(lines))
        request = model.encoder.decode(body)
        if request.model != model.ref.name:
            model = self._registry.get(request.model, lines)
            request = model.encoder.decode(body)
        return model, request

    async def decoded(self, body: bytes, lines: SeenLines) -> tuple[LoadedModel, Envelope]:
        """`decode`, once its model is in memory."""
        model = None
        while True:
            try:
                return self.decode(body, lines, model)
            except ColdModel as cold:
                model = await self._registry.bring(cold.model, lines)

    def _named(self, body: bytes, lines: SeenLines) -> LoadedModel:
        """The model that a body names, where it can be told before it is read by its schema: to read it by
        another one's first takes several times as long."""
        try:
            return self._registry.get(_read_name(body).model, lines)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UnknownModel):
            return self._registry.first(lines)  # who reads it by any schema says what is wrong with it

    async def take_turn(self, line: str) -> None:
        """Wait for a line's turn to be read, where several lines are asked."""
        if self.lanes.shared:
            await self.lanes.turn(line)

    def line_of(self, named: str | None, lines: SeenLines) -> str:
        """Whose turn a request takes: that of the line it names, if there is one that is seen."""
        return named if named is not None and self._registry.serves(named, lines) else DEFAULT_MODEL

    def asked(self, model: LoadedModel, request: Envelope, encoded: Encoded, caller: Caller) -> Asked:
        """What is to be scored. Raises RateLimited."""
        self.lanes.asked(model.ref.name)
        _empty(request)
        counted(model, encoded.count, len(encoded.errors), caller.meter)
        return Asked(model, request, encoded, caller.name)

    def answer(
        self,
        asked: Asked,
        parts: Sequence[Scores],
        scores: Scores | None,
        reasons: Reasons | None = None,
    ) -> bytes:
        """The answer's JSON. `scores` are all `parts`; None: no row has any."""
        model, request, encoded = asked.model, asked.request, asked.encoded
        noted = remembered(self._memory, model, encoded, scores, parts, asked.caller)
        return answered(model.facts, request, encoded, scores, noted, reasons)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        if scope["method"] != "POST":
            raise MethodNotAllowed("this route answers POST", headers={"Allow": "POST"})
        self._rules.check(scope)
        caller, most = self.admit(scope["headers"])
        kind = kind_of(scope["headers"])
        check_size(size_of_body(scope["headers"]), most)
        known = () if kind.content == JSON else ("model", "explain")  # JSON says so itself
        query = query_of(scope["query_string"].decode("latin-1"), known)
        self.check_room(caller.name)
        body = await read_body(receive, kind, most)
        if self.lanes.shared:
            named = line_in(body) if kind.content == JSON else query.get("model")
            await self.take_turn(self.line_of(named, caller.lines))
        if kind.content != JSON:
            codec = ARROW_CODEC if kind.content == ARROW else LINES_CODEC
            sent = Body(body, codec, query.get("model") or DEFAULT_MODEL, flag(query, "explain"))
            return kind.content, await self._answer_by_codec(scope, sent, caller, receive)
        if len(body) > INLINE_BYTES:
            return JSON, await self.answer_bulk(scope, Body(body), caller, receive)
        model, request = await self.decoded(body, caller.lines)
        if takes_long(request, len(body)):
            return JSON, await self.answer_bulk(scope, Body(body), caller, receive)
        encoded = model.encoder.encode(request)
        _empty(request)
        return JSON, await self.answer_rows(scope, model, request, encoded, answered, caller, receive)

    async def _answer_by_codec(self, scope: Scope, sent: Body, caller: Caller, receive: Receive) -> bytes:
        if _body_takes_long(sent):
            return await self.answer_bulk(scope, sent, caller, receive)
        codec = json_lines if sent.codec == LINES_CODEC else await self._with_arrow()
        model = await self._registry.bring(sent.named or DEFAULT_MODEL, caller.lines)
        options, encoded = codec.read(sent.content, model.encoder)
        options.explain = sent.explain
        return await self.answer_rows(scope, model, options, encoded, codec.write, caller, receive)

    async def answer_rows(
        self,
        scope: Scope,
        model: LoadedModel,
        options: BodyOptions,
        encoded: Encoded,
        write: Write,
        caller: Caller,
        receive: Receive,
    ) -> bytes:
        """Rows that were read in the event loop, of whatever body; `write` writes the answer.

        Raises RateLimited, ClientGoneError and what `write` does."""
        self.lanes.asked(model.ref.name)
        counted(model, encoded.count, len(encoded.errors), caller.meter)
        parts = await scored_rows(model, encoded, caller.name, receive)
        scores = whole(encoded, parts)
        reasons = await explained(model, encoded, scores, caller.name) if options.explain else None
        noted = remembered(self._memory, model, encoded, scores, parts, caller.name)
        scope[SERVED] = model.ref.version, noted.event_ids.values()
        return write(model.facts, options, encoded, scores, noted, reasons)

    async def _with_arrow(self) -> Codec:
        """What reads and writes Arrow. Its import takes two tenths of a second: not in the event loop.

        Raises UnsupportedMedia.
        """
        if self._arrow is None:
            self._arrow = await asyncio.to_thread(import_codec, ARROW_CODEC)
        return self._arrow

    async def answer_bulk(self, scope: Scope, body: Body, caller: Caller, receive: Receive) -> bytes:
        """What takes long is read and written in the bulk process."""
        answer = await self.bulk.answer(body, caller, receive)
        scope[SERVED] = answer.version, answer.event_ids
        return answer.payload

    async def close(self) -> None:
        """End the bulk process, where there is one."""
        await self.lane.close()


class DirectScore:
    """One request without ASGI. It is answered once, whatever happens."""

    __slots__ = ("_asked", "_caller", "_endpoint", "_entry", "_headers", "_reply", "_started", "_task")

    def __init__(self, endpoint: ScoreEndpoint, headers: Headers, size: int, reply: Reply) -> None:
        self._started = time.perf_counter()
        self._endpoint, self._headers, self._reply = endpoint, headers, reply
        self._task: asyncio.Task[Any] | None = None
        self._entry: Entry[Rows, Scores] | Entry[ScoredRows, list[Explained]] | None = None
        try:
            endpoint.check_site(headers)
            self._caller, most = endpoint.admit(headers)
            check_size(size, most)
            endpoint.check_room(self._caller.name)
        except Exception as error:
            self._end(*_error_answer(error, headers))

    def read(self, body: bytes) -> None:
        lanes = self._endpoint.lanes
        if lanes.shared:
            line = self._endpoint.line_of(line_in(body), self._caller.lines)
            lanes.put(line, lambda: self._read(body))
        else:
            self._read(body)

    def _read(self, body: bytes) -> None:
        try:
            model, request = self._endpoint.decode(body, self._caller.lines)
        except ColdModel:
            self._task = asyncio.ensure_future(self._endpoint.decoded(body, self._caller.lines))
            self._task.add_done_callback(partial(self._decoded, body))
        except Exception as error:
            self._end(*_error_answer(error, self._headers))
        else:
            self._go_on(body, model, request)

    def _decoded(self, body: bytes, task: "asyncio.Task[tuple[LoadedModel, Envelope]]") -> None:
        self._task = None
        if task.cancelled():
            return
        try:
            model, request = task.result()
        except Exception as error:
            self._end(*_error_answer(error, self._headers))
            return
        self._go_on(body, model, request)

    def _go_on(self, body: bytes, model: LoadedModel, request: Envelope) -> None:
        try:
            if takes_long(request, len(body)):
                answer = asyncio.ensure_future(self._endpoint.bulk.answer(Body(body), self._caller))
                answer.add_done_callback(self._answered)
                self._task = answer
                return
            encoded = model.encoder.encode(request)
        except Exception as error:
            self._end(*_error_answer(error, self._headers))
            return
        self._take(model, request, encoded)

    def _answered(self, task: "asyncio.Task[BulkAnswer]") -> None:
        self._task = None
        if task.cancelled():
            return
        try:
            payload = task.result().payload
        except Exception as error:
            self._end(*_error_answer(error, self._headers))
            return
        self._end(200, [(b"content-type", JSON)], payload)

    def _take(self, model: LoadedModel, request: Envelope, encoded: Encoded) -> None:
        try:
            self._asked = self._endpoint.asked(model, request, encoded, self._caller)
            if len(encoded.rows):
                self._entry = model.batcher.put(encoded.rows, self._scored, self._caller.name)
                return
        except Exception as error:
            self._end(*_error_answer(error, self._headers))
            return
        self._scored([])

    def gone(self) -> None:
        if self._task is not None:
            self._task.cancel()
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.withdraw()

    def _scored(self, outcome: list[Scores] | Exception) -> None:
        self._entry = None
        try:
            if isinstance(outcome, Exception):
                raise outcome
            asked = self._asked
            scores = whole(asked.encoded, outcome)
            if asked.request.explain and scores is not None:
                self._explain(outcome, scores)
                return
            payload = self._endpoint.answer(asked, outcome, scores)
        except Exception as error:
            self._end(*_error_answer(error, self._headers))
            return
        self._end(200, [(b"content-type", JSON)], payload)

    def _explain(self, parts: Sequence[Scores], scores: Scores) -> None:
        """Answer once the lane for explanations has come to it."""
        asked, explanation = self._asked, Explanation.of(scores)

        def explained(outcome: list[list[Explained]] | Exception) -> None:
            self._entry = None
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                reasons = explanation.reasons(asked.model, asked.encoded, outcome)
                payload = self._endpoint.answer(asked, parts, scores, reasons)
            except Exception as error:
                self._end(*_error_answer(error, self._headers))
                return
            self._end(200, [(b"content-type", JSON)], payload)

        self._entry = asked.model.explaining.put(explanation.scored, explained, asked.caller)

    def _end(self, status: int, headers: Headers, payload: bytes) -> None:
        self._reply(status, headers, payload)
        self._endpoint.count(status, time.perf_counter() - self._started)


def takes_long(request: Envelope, size: int) -> bool:
    """Whether a decoded request of `size` bytes has many rows, or goes cell by cell and has many of them."""
    if type(request) is Envelope:
        records = request.records
        many = not isinstance(records, UnsetType) and len(records) > INLINE_LOOSE_ROWS
        return many or size > INLINE_LOOSE_BYTES
    if size <= 2 * INLINE_ROWS:  # a row takes two bytes at least
        return False
    if not isinstance(request.records, UnsetType):
        return len(request.records) > INLINE_ROWS
    columns = request.sent if isinstance(request, ColumnRequest) else astuple(cast("Struct", request.columns))
    return any(not isinstance(column, UnsetType) and len(column) > INLINE_ROWS for column in columns)


def _body_takes_long(sent: Body) -> bool:
    """The same of a body that is not decoded yet."""
    if sent.codec == ARROW_CODEC:
        return len(sent.content) > INLINE_ARROW_BYTES
    return len(sent.content) > INLINE_LOOSE_BYTES or lines.count(sent.content) > INLINE_LOOSE_ROWS


def _empty(request: Envelope) -> None:
    """What was sent is in the arrays: the next request is decoded into the same memory."""
    if not isinstance(request.records, UnsetType):
        request.records = []
    if not isinstance(request.columns, UnsetType):
        request.columns = {}


def _error_answer(error: Exception, headers: Headers) -> tuple[int, Headers, bytes]:
    """Status, headers and body of an error."""
    return problem_response(to_service_error(error, PATH, headers))


def to_service_error(error: Exception, path: str, headers: Headers) -> ServiceError:
    """What a caller is told of an error; mistakes of ours are logged."""
    if not isinstance(error, ServiceError):
        log.error("request failed", path=path, exc_info=error, **request_ids(headers))
        return InternalError("see the service's log")
    if error.__cause__ is not None:
        log.error("batch failed", exc_info=error.__cause__, **request_ids(headers))
    return error
