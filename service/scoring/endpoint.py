"""POST /score: one endpoint in front of the routes, because it is the hot one.

It shares errors, metrics and models with every other route, and decodes, scores and answers with nothing
in between. It is reached as an ASGI application, and without ASGI by `visit` (see http/fast_path): the same
steps, once awaited and once called back.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from msgspec import Struct, UnsetType
from starlette.types import Receive, Scope, Send

from nearnorm.service.access.keyring import Caller, Keyring
from nearnorm.service.access.quota import Meter
from nearnorm.service.errors import (
    InternalError,
    MethodNotAllowed,
    ServiceError,
    UnsupportedMedia,
    problem_response,
    raw_response,
)
from nearnorm.service.http.body import (
    ARROW,
    JSON,
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
from nearnorm.service.logs import log
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.records.encoder import Encoded, Rows
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.scoring.explain import Explanation, Reasons
from nearnorm.service.scoring.json_answer import answered
from nearnorm.service.scoring.long_reads import (
    INLINE_ARROW_BYTES,
    INLINE_BYTES,
    LongReads,
    takes_long,
)
from nearnorm.service.scoring.remember import NOTHING, Memory, Remembered
from nearnorm.service.serving.batcher import Entry, overloaded
from nearnorm.service.serving.explaining import ScoredRows
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import BATCH_ROWS, Registry
from nearnorm.service.serving.results import Scores, joined
from nearnorm.service.settings import Settings
from nearnorm.service.verdict.reasons import Explained

PATH = "/score"


INLINE_RESULTS = 2_000
"""Rows up to which an answer is written in the event loop."""
_OVERLOADED = raw_response(overloaded())


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
    ) -> None:
        self._registry = registry
        self._keyring = keyring
        self._rules = rules
        self.check_site = rules.check_plain  # of the fast path; `_answer` checks what comes by ASGI
        self._memory = memory
        self._max_body = settings.max_body_bytes
        self._metrics = metrics
        self.long_reads = LongReads()
        self._arrow: Any = None  # imported with the first stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        try:
            content, payload = await self._answer(scope, receive)
            status, headers = 200, [(b"content-type", content)]
        except ClientGoneError:
            return
        except Exception as error:
            status, headers, payload = problem_of(error, scope["headers"])
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

    def check_room(self) -> None:
        """Raises Overloaded before the body is read: what is refused must cost little."""
        if self._registry.is_full:
            raise overloaded()

    def decode(self, body: bytes) -> tuple[LoadedModel, Envelope]:
        """The request by the schema of the model that it names, and that model."""
        model = self._registry.first()
        request = model.encoder.decode(body)
        if request.model != model.ref.name:
            model = self._registry.get(request.model)
            request = model.encoder.decode(body)
        return model, request

    def asked(self, model: LoadedModel, request: Envelope, encoded: Encoded, caller: Caller) -> Asked:
        """What is to be scored. Raises RateLimited."""
        if not isinstance(request.records, UnsetType):
            request.records = []  # they are in the arrays: the next request is decoded into the same memory
        if not isinstance(request.columns, UnsetType):
            request.columns = {}
        _counted(model, encoded, caller.meter)
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
        noted = self._note(model, encoded, scores, parts, request, asked.caller)
        return answered(model, request, encoded, scores, noted, reasons)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        if scope["method"] != "POST":
            raise MethodNotAllowed("this route answers POST", headers={"Allow": "POST"})
        self._rules.check(scope)
        caller, most = self.admit(scope["headers"])
        kind = kind_of(scope["headers"])
        check_size(size_of_body(scope["headers"]), most)
        known = ("model", "explain") if kind.content == ARROW else ()  # JSON says so itself
        query = query_of(scope["query_string"].decode("latin-1"), known)
        self.check_room()
        body = await read_body(receive, kind, most)
        if kind.content == ARROW:
            return await self._answer_arrow(scope, query, body, receive, caller)
        model, request, encoded = await self._read(body)
        asked = self.asked(model, request, encoded, caller)
        parts = await scored_rows(asked.model, asked.encoded, receive)
        scores = _whole(asked.encoded, parts)
        reasons = await _explained(asked.model, asked.encoded, scores) if asked.request.explain else None
        model, request, encoded = asked.model, asked.request, asked.encoded
        noted = self._note(model, encoded, scores, parts, request, caller.name)
        payload = await _written(encoded, lambda: answered(model, request, encoded, scores, noted, reasons))
        scope[SERVED] = asked.model.ref.version, noted.event_ids.values()
        return JSON, payload

    async def _read(self, body: bytes) -> tuple[LoadedModel, Envelope, Encoded]:
        if len(body) > INLINE_BYTES:

            def read() -> tuple[LoadedModel, Envelope, Encoded]:
                model, request = self.decode(body)
                return model, request, model.encoder.encode(request)

            return await self.long_reads.run(read)
        model, request = self.decode(body)
        if takes_long(request, len(body)):
            return model, request, await self.long_reads.run(lambda: model.encoder.encode(request))
        return model, request, model.encoder.encode(request)

    async def _answer_arrow(
        self, scope: Scope, query: Mapping[str, str], body: bytes, receive: Receive, caller: Caller
    ) -> tuple[bytes, bytes]:
        arrow = await self._with_arrow()
        explain = flag(query, "explain")
        named = query.get("model")
        model = self._registry.get(named) if named else self._registry.first()
        encoded = await self._read_arrow(lambda: arrow.read(body, model.encoder), body)
        _counted(model, encoded, caller.meter)
        parts = await scored_rows(model, encoded, receive)
        scores = _whole(encoded, parts)
        reasons = await _explained(model, encoded, scores) if explain else None
        noted = self._note(model, encoded, scores, parts, None, caller.name)
        scope[SERVED] = model.ref.version, noted.event_ids.values()
        return ARROW, await _written(encoded, lambda: arrow.write(model, encoded, scores, noted, reasons))

    async def _with_arrow(self) -> Any:  # noqa: ANN401 - a module
        """What reads and writes Arrow. Its import takes two tenths of a second: not in the event loop.

        Raises UnsupportedMedia.
        """
        if self._arrow is None:
            try:
                self._arrow = await asyncio.to_thread(import_module, "nearnorm.service.scoring.arrow")
            except ModuleNotFoundError:
                raise UnsupportedMedia("Arrow is not read here: install the extra arrow") from None
        return self._arrow

    async def _read_arrow(self, read: Callable[[], Encoded], body: bytes) -> Encoded:
        return await self.long_reads.run(read) if len(body) > INLINE_ARROW_BYTES else read()

    def _note(
        self,
        model: LoadedModel,
        encoded: Encoded,
        scores: Scores | None,
        parts: Sequence[Scores],
        request: Envelope | None,
        caller: str,
    ) -> Remembered:
        if scores is None:
            return NOTHING
        ids = None if request is None or isinstance(request.ids, UnsetType) else request.ids
        noted = self._memory.note(model, encoded, scores, ids, caller)
        show_to_drift(model, parts, noted.event_ids)
        return noted


class DirectScore:
    """One request without ASGI. It is answered once, whatever happens."""

    __slots__ = ("_asked", "_caller", "_endpoint", "_entry", "_headers", "_reading", "_reply", "_started")

    def __init__(self, endpoint: ScoreEndpoint, headers: Headers, size: int, reply: Reply) -> None:
        self._started = time.perf_counter()
        self._endpoint, self._headers, self._reply = endpoint, headers, reply
        self._reading: asyncio.Future[Encoded] | None = None
        self._entry: Entry[Rows, Scores] | Entry[ScoredRows, list[Explained]] | None = None
        try:
            endpoint.check_site(headers)
            self._caller, most = endpoint.admit(headers)
            check_size(size, most)
            endpoint.check_room()
        except Exception as error:
            self._end(*problem_of(error, headers))

    def read(self, body: bytes) -> None:
        try:
            model, request = self._endpoint.decode(body)
            if takes_long(request, len(body)):
                self._reading = self._endpoint.long_reads.run(lambda: model.encoder.encode(request))
                self._reading.add_done_callback(lambda done: self._encoded(model, request, done))
                return
            encoded = model.encoder.encode(request)
        except Exception as error:
            self._end(*problem_of(error, self._headers))
            return
        self._take(model, request, encoded)

    def _encoded(self, model: LoadedModel, request: Envelope, done: "asyncio.Future[Encoded]") -> None:
        self._reading = None
        if done.cancelled():
            return
        try:
            encoded = done.result()
        except Exception as error:
            self._end(*problem_of(error, self._headers))
            return
        self._take(model, request, encoded)

    def _take(self, model: LoadedModel, request: Envelope, encoded: Encoded) -> None:
        try:
            self._asked = self._endpoint.asked(model, request, encoded, self._caller)
            if len(encoded.rows):
                self._entry = model.batcher.put(encoded.rows, self._scored)
                return
        except Exception as error:
            self._end(*problem_of(error, self._headers))
            return
        self._scored([])

    def gone(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.withdraw()

    def _scored(self, outcome: list[Scores] | Exception) -> None:
        self._entry = None
        try:
            if isinstance(outcome, Exception):
                raise outcome
            asked = self._asked
            scores = _whole(asked.encoded, outcome)
            if asked.request.explain and scores is not None:
                self._explain(outcome, scores)
                return
            payload = self._endpoint.answer(asked, outcome, scores)
        except Exception as error:
            self._end(*problem_of(error, self._headers))
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
                self._end(*problem_of(error, self._headers))
                return
            self._end(200, [(b"content-type", JSON)], payload)

        self._entry = asked.model.explaining.put(explanation.scored, explained)

    def _end(self, status: int, headers: Headers, payload: bytes) -> None:
        self._reply(status, headers, payload)
        self._endpoint.count(status, time.perf_counter() - self._started)


async def _written(encoded: Encoded, write: Callable[[], bytes]) -> bytes:
    """The answer; that of thousands of rows takes tens of milliseconds, and is written in another thread."""
    return await asyncio.to_thread(write) if encoded.count > INLINE_RESULTS else write()


def problem_of(error: Exception, headers: Headers) -> tuple[int, Headers, bytes]:
    """Status, headers and body of an error; mistakes of ours are logged."""
    if not isinstance(error, ServiceError):
        log.error("request failed", path=PATH, exc_info=error, **request_ids(headers))
        error = InternalError("see the service's log")
    elif error.__cause__ is not None:
        log.error("batch failed", exc_info=error.__cause__, **request_ids(headers))
    return problem_response(error)


def _counted(model: LoadedModel, encoded: Encoded, meter: Meter | None) -> None:
    if meter is not None:
        meter.rows(encoded.count)
    model.meter.row_errors += len(encoded.errors)


def _whole(encoded: Encoded, parts: Sequence[Scores]) -> Scores | None:
    """One request's scores; None where there are none."""
    if len(parts) == 1:
        return parts[0]
    return joined(encoded.rows, parts) if parts else None


async def scored_rows(model: LoadedModel, encoded: Encoded, receive: Receive) -> Sequence[Scores]:
    if not len(encoded.rows):
        return []
    waiting = model.batcher.submit(encoded.rows)
    if model.batcher.rows > BATCH_ROWS:  # it will take a while: look whether anybody still listens
        await _unless_gone(waiting, receive)
    return await waiting


async def _explained(model: LoadedModel, encoded: Encoded, scores: Scores | None) -> Reasons | None:
    if scores is None:
        return None
    explanation = Explanation.of(scores)
    return explanation.reasons(model, encoded, await model.explaining.submit(explanation.scored))


def show_to_drift(model: LoadedModel, parts: Sequence[Scores], event_ids: Mapping[int, str]) -> None:
    """Batches that nobody has shown to drift yet, and which events of them are kept, by row."""
    for part in parts:
        if not part.batch.watched:
            model.watch(part.batch)
    if not event_ids:
        return
    ahead, first, stop = iter(parts), 0, 0
    for index, event_id in event_ids.items():  # in the order of rows
        while index >= stop:
            part = next(ahead)
            first, stop = stop, stop + len(part)
        part.batch.event_ids[part.start + index - first] = event_id


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
