"""POST /score: one endpoint in front of the routes, because it is the hot one.

It shares errors, metrics and models with every other route, and decodes, scores and answers with nothing
in between. It is reached as an ASGI application, and without ASGI by `visit`: the same steps, once awaited
and once called back.
"""

import asyncio
import time

from starlette.types import Receive, Scope, Send

from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.access.keyring import Caller, Keyring
from nearnorm.service.background import Background
from nearnorm.service.errors import MethodNotAllowed, raw_response
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
from nearnorm.service.http.middleware.request_log import SERVED
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.scoring import json_lines
from nearnorm.service.scoring.bulk.lane import BulkLane
from nearnorm.service.scoring.bulk.requests import Body, BulkRequests
from nearnorm.service.scoring.codec import ARROW_CODEC, LINES_CODEC, Codec, import_codec
from nearnorm.service.scoring.direct import DirectScore
from nearnorm.service.scoring.json_answer import answered
from nearnorm.service.scoring.long_bodies import INLINE_BYTES, body_takes_long, takes_long
from nearnorm.service.scoring.named_line import line_in
from nearnorm.service.scoring.problems import PATH, error_answer
from nearnorm.service.scoring.remember import Memory
from nearnorm.service.scoring.steps import ScoreSteps, empty
from nearnorm.service.serving.batcher import overloaded
from nearnorm.service.serving.registry import Registry
from nearnorm.service.settings import Settings

_OVERLOADED = raw_response(overloaded())


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
        self._metrics = metrics
        self._arrow: Codec | None = None  # imported with the first stream
        self.lane = BulkLane(background)
        bulk = BulkRequests(registry, memory, self.lane)
        self.steps = ScoreSteps(registry, keyring, rules, memory, settings.max_body_bytes, metrics, bulk)

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
            status, headers, payload = error_answer(error, scope["headers"])
        headers.append((b"content-length", b"%d" % len(payload)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})
        self._metrics.request(scope["method"], PATH, status, time.perf_counter() - started)

    def visit(self, headers: Headers, size: int, reply: Reply) -> DirectScore:
        """A request that comes without ASGI: a POST of `size` bytes of JSON."""
        return DirectScore(self.steps, headers, size, reply)

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
        self.steps.count(429, 0.0)
        return _OVERLOADED

    def capacity(self, line: str | None) -> int:
        """How many more requests there is room for now, in one line or (None) in any."""
        return self._registry.capacity(line)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        steps = self.steps
        if scope["method"] != "POST":
            raise MethodNotAllowed("this route answers POST", headers={"Allow": "POST"})
        self._rules.check(scope)
        caller, most = steps.admit(scope["headers"])
        kind = kind_of(scope["headers"])
        check_size(size_of_body(scope["headers"]), most)
        known = () if kind.content == JSON else ("model", "explain")  # JSON says so itself
        query = query_of(scope["query_string"].decode("latin-1"), known)
        steps.check_room(caller.name)
        body = await read_body(receive, kind, most)
        if steps.has_lines:
            named = line_in(body) if kind.content == JSON else query.get("model")
            await steps.take_turn(steps.line_of(named, caller.lines), caller, len(body))
        if kind.content != JSON:
            codec = ARROW_CODEC if kind.content == ARROW else LINES_CODEC
            sent = Body(body, codec, query.get("model") or DEFAULT_MODEL, flag(query, "explain"))
            return kind.content, await self._answer_by_codec(scope, sent, caller, receive)
        if len(body) > INLINE_BYTES:
            return JSON, await steps.answer_bulk(scope, Body(body), caller, receive)
        model, request = await steps.decoded(body, caller.lines)
        if takes_long(request, len(body)):
            return JSON, await steps.answer_bulk(scope, Body(body), caller, receive)
        encoded = model.encoder.encode(request)
        empty(request)
        return JSON, await steps.answer_rows(scope, model, request, encoded, answered, caller, receive)

    async def _answer_by_codec(self, scope: Scope, sent: Body, caller: Caller, receive: Receive) -> bytes:
        if body_takes_long(sent):
            return await self.steps.answer_bulk(scope, sent, caller, receive)
        codec = json_lines if sent.codec == LINES_CODEC else await self._with_arrow()
        model = await self._registry.bring(sent.named or DEFAULT_MODEL, caller.lines)
        options, encoded = codec.read(sent.content, model.encoder)
        options.explain = sent.explain
        return await self.steps.answer_rows(scope, model, options, encoded, codec.write, caller, receive)

    async def _with_arrow(self) -> Codec:
        """What reads and writes Arrow. Its import takes two tenths of a second: not in the event loop.

        Raises UnsupportedMedia.
        """
        if self._arrow is None:
            self._arrow = await asyncio.to_thread(import_codec, ARROW_CODEC)
        return self._arrow

    async def close(self) -> None:
        """End the bulk process, where there is one."""
        await self.lane.close()
